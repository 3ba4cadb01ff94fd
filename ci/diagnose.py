# SPDX-License-Identifier: Apache-2.0
"""What a hung process tree on this host is doing: the `diagnose` hook of ci.process.run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from ci import procfs
from ci.errors import VexciError
from ci.process import Limits, run

DEBUGGER_SECONDS = 20.0


def diagnose(process: psutil.Process, folder: Path) -> tuple[Path, ...]:
    """Write command lines, states, kernel stacks, open files, last log lines and, where gdb or py-spy is installed,
    user-space stacks of the tree under `process` into `folder`. Returns the files, index.txt first.

    Use as `diagnose=lambda p: diagnose(p, run.file("hang", "name"))`. Nothing is killed here. A debugger that
    fails or hangs is named in its own file; the rest is still gathered.
    """
    files = list(procfs.collect([process.pid], folder, _logs(process.pid)))
    for stat in procfs.members([process.pid]):
        files += _user_stacks(stat, folder)
    return tuple(files)


def _logs(pid: int) -> list[Path]:
    """Where standard output and standard error of a process go, as far as these are ordinary files."""
    found: list[Path] = []
    for number in (1, 2):
        try:
            path = Path(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue  # it ended, or it is not ours to look at; the process file says which
        if path.is_absolute() and path.is_file() and path not in found:
            found.append(path)
    return found


def _debuggers(stat: procfs.Stat) -> list[tuple[str, list[str]]]:
    """Which debuggers can look at this process. One in uninterruptible sleep cannot be attached to: the debugger
    would wait with it."""
    if stat.state in "DZX":
        return []
    found: list[tuple[str, list[str]]] = []
    if (gdb := shutil.which("gdb")) is not None:
        words = [gdb, "--nx", "--quiet", "--batch", "-iex", "set debuginfod enabled off", "-p", str(stat.pid), "-ex", "thread apply all bt"]
        found.append(("gdb", words))
    if stat.comm.startswith("python") and (spy := shutil.which("py-spy")) is not None:
        found.append(("py-spy", [spy, "dump", "--pid", str(stat.pid)]))
    return found


def _user_stacks(stat: procfs.Stat, folder: Path) -> list[Path]:
    written = []
    for name, words in _debuggers(stat):
        log = folder / f"{name}-{stat.pid}.txt"
        try:
            run(words, limits=Limits(DEBUGGER_SECONDS), log=log, what=name)
        except VexciError as error:
            with open(log, "a") as file:
                file.write(f"\n{name}: {error.message}\n")
        written.append(log)
    return written
