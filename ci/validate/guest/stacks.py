# SPDX-License-Identifier: Apache-2.0
"""Reads what a stuck process is doing, and ends process groups."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .machine import throwaway


def _read(path: str, limit: int = 16384) -> str:
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read(limit)
    except OSError as error:
        return f"({error.strerror})"


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name (state first); empty where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="backslashreplace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def state_of(pid: int) -> str:
    """The state letter (`D` uninterruptible, `Z` dead); empty where the process is gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def processes() -> list[int]:
    """Ids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pids: Iterable[int], table: dict[int, list[str]]) -> list[int]:
    """Ids of all living processes that these started, directly or not, in a table of all processes' fields as `_stat` gives them."""
    children: dict[int, list[int]] = {}
    for process, fields in table.items():
        if fields:
            children.setdefault(int(fields[1]), []).append(process)
    found: list[int] = []
    todo = list(pids)
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def members(marker: str) -> list[int]:
    """Ids of the processes whose environment holds VEXCI_SUITE=<marker>: what this suite started."""
    wanted = f"VEXCI_SUITE={marker}".encode()
    found = []
    for pid in processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile, or a kernel thread
        if wanted in environment:
            found.append(pid)
    return found


def stacks(pids: list[int]) -> str:
    """Kernel stacks of these processes, of all that they started, and of whatever else sleeps uninterruptibly.

    /proc is walked once: in a guest that is starved of time each walk takes seconds, and the host waits for a word of this one.
    """
    _show_blocked()
    table = {pid: _stat(pid) for pid in processes()}
    blocked = [pid for pid, fields in table.items() if fields[:1] == ["D"]]
    wanted = dict.fromkeys([*pids, *descendants(pids, table), *blocked])
    parts = []
    for pid in wanted:
        for task in sorted(_tasks(pid)):
            base = f"/proc/{pid}/task/{task}"
            command = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip() or _read(f"{base}/comm").strip()
            state = next((line for line in _read(f"{base}/status").splitlines() if line.startswith("State:")), "State: gone")
            parts.append(
                f"== {pid}/{task}: {command}\n{state}\nwchan: {_read(f'{base}/wchan')}\n"
                f"syscall: {_read(f'{base}/syscall').strip()}\n{_read(f'{base}/stack')}"
            )
    return "\n".join(parts)


def _tasks(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _show_blocked() -> None:
    """Ask the kernel to log all blocked tasks (sysrq-w); the console keeps it."""
    if not throwaway():
        return
    with suppress(OSError):  # no sysrq here: the stacks that we read say it for our own processes
        Path("/proc/sysrq-trigger").write_text("w")


def kill_group(pid: int) -> None:
    """SIGKILL to a process's group."""
    with suppress(ProcessLookupError):  # all of it is gone already
        os.killpg(pid, signal.SIGKILL)
