# SPDX-License-Identifier: Apache-2.0
"""Cache entries and records are whole or absent."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci import store
from ci.errors import DiskFull, InfrastructureError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))


def leftovers_in(cache: Path) -> list[Path]:
    return list(cache.rglob(".making-*"))


def test_an_entry_that_failed_to_be_made_is_absent(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_text("…")
        raise ValueError("no")

    with pytest.raises(ValueError):
        store.cached("things", "k", make)
    assert not (tmp_path / "cache" / "things" / "k").exists() and not leftovers_in(tmp_path)


def test_a_full_disk_is_said_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InfrastructureError, match="the disk is full"):
        store.cached("things", "k", make)
    assert not leftovers_in(tmp_path)


def test_the_way_out_of_a_full_disk_is_for_the_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, sealed = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only file system")
    in_cache = store.disk_error(full, tmp_path / "cache" / "kernels")
    assert "'./inv clean --cache'" in in_cache.hint and "VEXCI_CACHE" in in_cache.hint
    beside = store.disk_error(full, tmp_path / "project" / ".build")
    assert (
        "'./inv clean' removes what builds made" in beside.hint and "'./inv clean --cache' the cache, which lies on the same" in beside.hint
    )
    monkeypatch.setenv("VEXCI_CACHE", "/proc")  # another file system than the project's
    elsewhere = store.disk_error(full, tmp_path / "project" / ".build")
    assert isinstance(elsewhere, DiskFull) and "--cache" not in elsewhere.hint and "VEXCI_CACHE" not in elsewhere.hint
    assert "make it writable: builds and records are kept beside the manifest" in store.disk_error(sealed, tmp_path / "project").hint


def test_two_at_once_make_an_entry_once(tmp_path: Path) -> None:
    made = []
    gate = threading.Barrier(2)

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "x").write_text("x")

    def ask() -> None:
        gate.wait()
        assert (store.cached("things", "k", make) / "x").read_text() == "x"

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_an_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "a" / "file"
    store.atomic_write(target, "long old content")
    store.atomic_write(target, "new")
    assert target.read_text() == "new" and list(target.parent.iterdir()) == [target]


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_different_lists_of_parts_never_share_a_hash(one: list[str], other: list[str]) -> None:
    encodable = [[p.encode("utf-8", "ignore").decode() for p in parts] for parts in (one, other)]
    assert (store.sha256_text(*encodable[0]) == store.sha256_text(*encodable[1])) == (encodable[0] == encodable[1])


def test_a_record_whose_process_is_gone_reads_as_interrupted(tmp_path: Path) -> None:
    folder = store.RunFolder(tmp_path)
    folder.write_record({"verdict": "running", "process": "1-1"})
    assert json.loads((tmp_path / ".runs/latest/record.json").read_text())["verdict"] == "running"
    assert [r["verdict"] for r in store.read_records(tmp_path)] == ["interrupted"]
