# SPDX-License-Identifier: Apache-2.0
"""What /proc tells about a process tree. Standard library only: it also runs inside guests, in the payload of ci/bench.

Nothing here touches a file system other than /proc and /sys, so that looking at a hang does not hang. A read that could
block (a process whose memory map is locked) happens in a thread that is given up after a deadline.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

READ_SECONDS = 2.0
LOG_TAIL_LINES = 40
_TICKS = os.sysconf("SC_CLK_TCK")
FUSE_CONNECTIONS = Path("/sys/fs/fuse/connections")


@dataclass(frozen=True)
class Stat:
    """One process from /proc/PID/stat (proc(5)). `cpu` is in seconds and includes children that were waited for."""

    pid: int
    comm: str
    state: str
    parent: int
    session: int
    cpu: float


def parse_stat(text: str) -> Stat:
    """Read one /proc/PID/stat line; the name in parentheses may itself hold spaces and parentheses."""
    head, _, tail = text.rpartition(")")
    pid, _, comm = head.partition("(")
    fields = tail.split()
    return Stat(int(pid), comm, fields[0], int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])) / _TICKS)


def stats() -> dict[int, Stat]:
    """All processes by pid. One that ends while we look is left out."""
    found: dict[int, Stat] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                stat = parse_stat(file.read())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and the look
        found[stat.pid] = stat
    return found


def members(leaders: Iterable[int], table: dict[int, Stat] | None = None) -> list[Stat]:
    """The leaders, everything in the sessions that they lead, and all descendants; sorted by pid.

    The session finds what was orphaned, the parents find what made a session of its own.
    """
    table = stats() if table is None else table
    wanted = set(leaders)
    chosen = {pid for pid, stat in table.items() if pid in wanted or stat.session in wanted}
    grew = True
    while grew:
        more = {pid for pid, stat in table.items() if stat.parent in chosen} - chosen
        chosen |= more
        grew = bool(more)
    return [table[pid] for pid in sorted(chosen)]


def read(path: str | Path) -> str:
    """A file of /proc or /sys as text; where it cannot be read, the reason in angle brackets."""
    answer: list[str] = []

    def look() -> None:
        try:
            answer.append(Path(path).read_bytes().replace(b"\0", b" ").decode(errors="backslashreplace").strip())
        except OSError as error:
            answer.append(f"<{error.strerror}>")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(READ_SECONDS)
    return answer[0] if answer else f"<no answer within {READ_SECONDS:g} s>"


def _descriptors(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = sorted(os.listdir(folder), key=int)
    except OSError as error:
        return [f"  <{error.strerror}>"]
    rows = []
    for name in names:
        try:
            rows.append(f"  {name} -> {os.readlink(f'{folder}/{name}')}")
        except OSError as error:
            rows.append(f"  {name} -> <{error.strerror}>")
    return rows


def _task(pid: int, task: str) -> list[str]:
    base = f"/proc/{pid}/task/{task}"
    lines = [f"task {task}  {read(f'{base}/comm')}", f"  wchan: {read(f'{base}/wchan')}", f"  syscall: {read(f'{base}/syscall')}"]
    return [*lines, "  stack:", *(f"    {row}" for row in read(f"{base}/stack").splitlines())]


def describe(stat: Stat) -> str:
    """One process in full: command line, status, open files, and each thread's kernel stack (needs root)."""
    pid = stat.pid
    lines = [f"pid {pid}  {stat.comm}  state {stat.state}", f"cmdline: {read(f'/proc/{pid}/cmdline')}", "", "status:"]
    lines += [f"  {row}" for row in read(f"/proc/{pid}/status").splitlines()]
    lines += ["", "file descriptors:", *_descriptors(pid), ""]
    try:
        tasks = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError as error:
        return "\n".join([*lines, f"threads: <{error.strerror}>", ""])
    for task in tasks:
        lines += [*_task(pid, task), ""]
    return "\n".join(lines)


def fuse_connections() -> str:
    """Requests that wait in each FUSE connection; not empty while a daemon does not answer."""
    if f" {FUSE_CONNECTIONS} " not in read("/proc/self/mountinfo"):
        return f"unknown: {FUSE_CONNECTIONS} is not mounted (mount -t fusectl fusectl {FUSE_CONNECTIONS})\n"
    rows = [f"connection {entry.name}: {read(entry / 'waiting')} waiting" for entry in sorted(FUSE_CONNECTIONS.iterdir())]
    return "\n".join(rows or ["no FUSE connection"]) + "\n"


def tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, or that it is empty."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 64 * 1024))
            text = file.read().decode(errors="backslashreplace")
    except OSError as error:
        return f"<{error.strerror}>"
    return "\n".join(text.splitlines()[-lines:]) if text.strip() else "<the log is empty>"


def collect(leaders: Iterable[int], folder: Path, logs: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Write what the process trees of `leaders` are doing into `folder`; returns the files, index.txt first.

    The index is written before anything is looked at in detail, and each file as soon as it is known, so that what
    was found survives the death of the collector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    leaders = list(leaders)
    processes = members(leaders)
    index = folder / "index.txt"
    rows = [f"{'pid':>8} {'parent':>8} state {'cpu s':>8} name"]
    rows += [f"{p.pid:>8} {p.parent:>8} {p.state:<5} {p.cpu:>8.2f} {p.comm}" for p in processes]
    if not processes:
        rows.append(f"none of the processes {leaders} is alive")
    index.write_text("\n".join([*rows, "", "logs:", *(f"{log}:\n{tail(log)}\n" for log in logs), ""]))
    written = [index]
    for stat in processes:
        path = folder / f"process-{stat.pid}.txt"
        path.write_text(describe(stat))
        written.append(path)
    for name, text in (("fuse.txt", fuse_connections()), ("mountinfo.txt", read("/proc/self/mountinfo") + "\n")):
        path = folder / name
        path.write_text(text)
        written.append(path)
    return tuple(written)
