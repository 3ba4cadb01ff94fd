# SPDX-License-Identifier: Apache-2.0
"""The case no-memory of the suite faults without a kernel that lets allocations fail: an injector that refuses the first calls, operations
on this machine's own file system, and file systems that answer wrongly when memory is short."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.validate.guest import memory, telling
from ci.validate.guest.context import Context, Failed, NotOffered, Plan
from ci.validate.guest.fileops import promise
from ci.validate.guest.machine import BORROWED

pytestmark = pytest.mark.unit
ENOUGH = 3  # the call with this number gets all the memory that it asks for
# Those that need no collection of vectors.
EVERYWHERE = [name for name in memory.OPERATIONS if name not in ("add", "search")]


class Short(memory.Injector):
    """Calls fail with `code` as long as their number is below ENOUGH; with `half` they do their work nevertheless."""

    def __init__(self, code: int = errno.ENOMEM, *, half: bool = False) -> None:
        self._code, self._half = code, half

    def call(self, number: int, act: Callable[[], object]) -> tuple[bool, OSError | None]:
        if number >= ENOUGH:
            act()
            return False, None
        if self._half:
            act()
        return True, OSError(self._code, os.strerror(self._code))


@pytest.fixture
def t(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv(BORROWED, "1")
    place = str(tmp_path)
    plan = Plan("faults", "x", "kernel-module", "", "", "", "ext4", (), place, place, True, "marker", 60.0, 20.0)
    context = Context(plan, telling.nowhere())
    promise(context, "kept", memory._SIZE)
    return context


@pytest.mark.parametrize("name", EVERYWHERE)
def test_an_operation_that_is_refused_whole_and_then_works_passes(t: Context, name: str) -> None:
    assert memory._each(t, Short(), name, memory.OPERATIONS[name], 10) == f"{name} {ENOUGH - 1} ({ENOUGH - 1})"


@pytest.mark.parametrize("name", ["create", "mkdir", "symlink", "link", "rename", "truncate", "setxattr", "unlink", "rmdir", "write"])
def test_what_says_that_it_failed_and_has_done_it_is_found(t: Context, name: str) -> None:
    with pytest.raises(Failed, match="expected"):
        memory._each(t, Short(half=True), name, memory.OPERATIONS[name], 10)


def test_another_error_than_the_lack_of_memory_is_found(t: Context) -> None:
    with pytest.raises(Failed, match="mkdir, whose allocation 1 failed: EROFS, expected success or ENOMEM"):
        memory._each(t, Short(errno.EROFS), "mkdir", memory.OPERATIONS["mkdir"], 10)


def test_fsync_may_say_that_the_bytes_are_lost(t: Context) -> None:
    assert memory._each(t, Short(errno.EIO), "fsync", memory.OPERATIONS["fsync"], 10) == "fsync 2 (2)"


def test_a_call_with_more_allocations_than_are_asked_for_says_so(t: Context) -> None:
    assert memory._each(t, Short(), "mkdir", memory.OPERATIONS["mkdir"], 2) == "mkdir the first 2 (2)"


def test_an_error_without_a_failed_allocation_is_found(t: Context) -> None:
    class Unasked(Short):
        def call(self, number: int, act: Callable[[], object]) -> tuple[bool, OSError | None]:
            return False, OSError(errno.ENOMEM, "no memory")

    with pytest.raises(Failed, match="no allocation had failed"):
        memory._each(t, Unasked(), "mkdir", memory.OPERATIONS["mkdir"], 10)


def test_nothing_is_injected_into_a_machine_that_is_no_guest(t: Context) -> None:
    with pytest.raises(Failed, match="not a throwaway guest"):
        memory.no_memory(t)


def test_a_kernel_without_failslab_is_a_skip_with_the_reason(t: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(BORROWED)
    monkeypatch.setattr(memory, "FAIL_NTH", str(tmp_path / "none"))
    with pytest.raises(NotOffered, match="it has no failslab"):
        memory.no_memory(t)


def test_settings_are_put_back(t: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder, values in memory.SETTINGS.items():
        (tmp_path / folder).mkdir()
        for name in values:
            (tmp_path / folder / name).write_text("before\n")
    (tmp_path / "fail-nth").write_text("0")
    for cache in ("vexfs_inode", *memory.SPARED):
        (tmp_path / "slab" / cache).mkdir(parents=True)
        (tmp_path / "slab" / cache / "failslab").write_text("0")
    (tmp_path / "slab" / "alias").symlink_to("vexfs_inode")
    monkeypatch.delenv(BORROWED)
    monkeypatch.setattr(memory, "SLABS", str(tmp_path / "slab"))
    monkeypatch.setattr(memory, "DEBUG", str(tmp_path))
    monkeypatch.setattr(memory, "FAIL_NTH", str(tmp_path / "fail-nth"))
    with memory.injector(t):
        assert (tmp_path / "failslab" / "ignore-gfp-wait").read_text() == "N"
        assert {path.parent.name for path in tmp_path.glob("slab/*/failslab") if path.read_text() == "1"} == {"vexfs_inode", "alias"}
    assert {path.read_text() for path in tmp_path.glob("slab/*/failslab")} == {"0"}
    assert {path.read_text() for path in tmp_path.glob("fail*/*")} == {"before"}
