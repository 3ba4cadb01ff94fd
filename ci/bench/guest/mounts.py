# SPDX-License-Identifier: Apache-2.0
"""Proves that a folder is the mounted file system that it should be, and not the folder underneath (failure modes P8, T1)."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ci.procfs import FUSE_CONNECTIONS

CONTROL_SECONDS = 5.0
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5)); `device` is `major:minor`."""

    id: int
    device: str
    point: str
    options: str
    filesystem: str
    source: str


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), text)


def parse(text: str) -> list[Mount]:
    """All mounts, in the kernel's order: of two at one point the later lies on top."""
    found = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        head, tail = left.split(), right.split()
        found.append(Mount(int(head[0]), head[2], _plain(head[4]), head[5], tail[0], _plain(tail[1])))
    return found


def at(point: Path) -> Mount | None:
    """What is mounted at `point` (an absolute path without links), or None. Never touches the file system itself."""
    mine = [m for m in parse(Path("/proc/self/mountinfo").read_text(errors="backslashreplace")) if m.point == str(point)]
    return mine[-1] if mine else None


def device(number: int) -> str:
    """A device number of stat(2) as mountinfo writes it, `major:minor`."""
    return f"{os.major(number)}:{os.minor(number)}"


class NotMounted(Exception):
    """The folder is not the expected mount; the message says what was seen instead."""


def prove(point: Path, filesystem: str, answered: str, below: str) -> Mount:
    """The mount at `point`, where every sign agrees; NotMounted otherwise.

    `answered` is the device that stat(2) of the folder gave, `below` that of its parent folder.
    """
    mount = at(point)
    if mount is None:
        raise NotMounted(f"nothing is mounted at {point}: the folder underneath answers")
    if mount.filesystem != filesystem:
        raise NotMounted(f"{point} is of type '{mount.filesystem}', expected '{filesystem}'")
    if answered != mount.device:
        raise NotMounted(f"{point} answers as device {answered}, but mountinfo says {mount.device}")
    if answered == below:
        raise NotMounted(f"{point} answers as device {answered}, which is that of the folder underneath")
    return mount


@contextmanager
def fuse_state(log: Path) -> Iterator[None]:
    """Inside, the kernel shows what waits in each FUSE connection (fusectl), also where nobody has mounted that; it is left as it was.

    Where it may not be mounted (in a user namespace) `log` has mount's own words, and the state stays unknown.
    """
    ours = FUSE_CONNECTIONS.is_dir() and at(FUSE_CONNECTIONS) is None and _told(["mount", "-t", "fusectl", "fusectl"], log)
    try:
        yield
    finally:
        if ours:
            _told(["umount"], log)


def _told(argv: list[str], log: Path) -> bool:
    """Run one command on the mount point of fusectl; whether it succeeded within its time."""
    with open(log, "ab") as file:
        words = [*argv, str(FUSE_CONNECTIONS)]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=CONTROL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            file.write(f"'{' '.join(words)}' did not end within {CONTROL_SECONDS:g} s\n".encode())
            return False
        return done.returncode == 0
