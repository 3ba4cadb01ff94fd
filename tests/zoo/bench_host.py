# SPDX-License-Identifier: Apache-2.0
"""This host in the place of a guest: real processes, real mounts, the real agent; only the transport is shorter."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ci import procfs
from ci.bench.jobs import Place
from ci.process import Limits, run, scratch_file
from ci.store import RunFolder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")


@dataclass(frozen=True)
class HostResult:
    """As a guest's result."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float


class HostGuest:
    """A `ci.guest.Guest` that is this machine."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], *, deadline: float, on_line: Callable[[str], None] | None = None) -> HostResult:
        self.commands.append(tuple(argv))
        errors = scratch_file("stderr")
        done = run(argv, limits=Limits(deadline), stderr=errors)
        return HostResult(done.returncode, done.text(), done.error_text(), done.seconds)

    def put(self, local: Path, remote: str) -> None:
        Path(remote).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, remote)

    def console_text(self) -> str:
        return ""

    def diagnose(self, folder: Path) -> tuple[Path, ...]:
        return procfs.collect([], folder)


def place(folder: Path) -> Place:
    """Everything of the harness below a folder of the test."""
    return Place(payload=str(folder / "guest" / "bench.pyz"), work=str(folder / "guest" / "work"))


def run_folder(folder: Path) -> RunFolder:
    return RunFolder(folder / "project")


def mounts_below(folder: Path) -> list[str]:
    """Mount points that are still there below a folder."""
    return [part.mountpoint for part in psutil.disk_partitions(all=True) if part.mountpoint.startswith(str(folder))]


def processes_with(text: str) -> list[int]:
    """Living processes that have `text` in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(text in word for word in process.info["cmdline"] or []):
            found.append(process.pid)
    return found
