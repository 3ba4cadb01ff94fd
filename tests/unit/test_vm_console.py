# SPDX-License-Identifier: Apache-2.0
"""What the console says of a guest's start, and what it only seems to say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ci import leftovers
from ci.errors import GuestPanic, InfrastructureError
from ci.vm import console
from ci.vm.registry import GuestFacts
from ci.vm.wait import trouble

pytestmark = pytest.mark.unit

NO_ROOT = b"[    2.1] Linux version 6.1\r\n[    2.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
CRASH = b"[    3.1] BUG: kernel NULL pointer dereference\r\n[    3.2][  T1] Kernel panic - not syncing: Fatal exception\r\n"
FAILED = "vexci-init: FAILED"


def facts(tmp_path: Path, content: bytes, qemu: str | None = None) -> GuestFacts:
    path = tmp_path / "console.log"
    path.write_bytes(content)
    alive = leftovers.owner_id(os.getpid()) if qemu is None else qemu
    return GuestFacts("id", "g", "u", "private", 1, alive, "", "", False, str(path), "image", "6.1", "tcg", "", "now")


def test_a_guest_that_boots_is_no_trouble(tmp_path: Path) -> None:
    assert trouble(facts(tmp_path, b"[    1.0] Linux version 6.1\r\nvexci-init: started\r\n"), FAILED) is None


def test_a_kernel_without_a_root_says_nothing_about_the_product(tmp_path: Path) -> None:
    found = trouble(facts(tmp_path, NO_ROOT), FAILED)
    assert isinstance(found, InfrastructureError)
    assert "VFS: Unable to mount root fs" in found.message
    assert "Linux version 6.1" in found.hint, "the console's tail is shown"


def test_a_kernel_that_crashes_while_it_boots_is_a_panic(tmp_path: Path) -> None:
    found = trouble(facts(tmp_path, CRASH), FAILED)
    assert isinstance(found, GuestPanic)
    assert "Kernel panic - not syncing: Fatal exception" in found.message


def test_a_guest_that_gives_up_is_reported_in_its_own_words(tmp_path: Path) -> None:
    found = trouble(facts(tmp_path, b"vexci-init: FAILED: cannot mount the modules from /dev/vdb\r\n"), FAILED)
    assert isinstance(found, InfrastructureError)
    assert "cannot mount the modules from /dev/vdb" in found.message


def test_a_qemu_that_is_gone_is_noticed_though_the_console_is_silent(tmp_path: Path) -> None:
    found = trouble(facts(tmp_path, b"", qemu="999999999-1"), FAILED)
    assert isinstance(found, InfrastructureError)
    assert "QEMU is gone" in found.message and "the console is empty" in found.hint


@pytest.mark.parametrize(
    "line",
    [
        "systemd[1]: Started panic.service - Kernel panic - not syncing: a name only",
        "[    5.0] comm: panic Not tainted",
        'echo "Kernel panic - not syncing: typed by a person"',
    ],
)
def test_a_line_that_only_mentions_a_panic_is_none(line: str) -> None:
    assert console.panic(f"{line}\n") is None


def test_control_sequences_of_terminals_are_taken_out() -> None:
    assert console.clean(b"\x1b[0;32m  OK  \x1b[0m] Started\x1b[K\r\n\xff") == "  OK  ] Started\n\\xff"


def test_a_follower_sees_each_line_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "console"
    follower = console.Follower(path)
    assert follower.new() == ""
    path.write_bytes(b"one\r\nKernel pan")
    assert follower.new() == "one\n"
    with open(path, "ab") as file:
        file.write(b"ic - not syncing: x\r\n")
    assert follower.new() == "Kernel panic - not syncing: x\n"
    assert follower.new() == ""
