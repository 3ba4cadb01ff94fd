# SPDX-License-Identifier: Apache-2.0
"""What is mounted where, from the kernel's own table, and the proof that a path is on it."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass

FUSE_SUPER_MAGIC = 0x65735546


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    device: int
    point: str
    type: str
    options: str


def parse(text: str) -> list[Mount]:
    """The mounts that a mountinfo text lists, in its order (proc(5))."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        major, minor = fields[2].split(":")
        found.append(Mount(os.makedev(int(major), int(minor)), unescape(fields[4]), right.split(" ")[0], fields[5]))
    return found


def unescape(text: str) -> str:
    r"""A path as mountinfo has it: blanks and the like are \ooo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def at(path: str) -> Mount | None:
    """The topmost mount exactly at `path`, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        hits = [mount for mount in parse(file.read()) if mount.point == path]
    return hits[-1] if hits else None


def magic(path: str) -> int:
    """`f_type` of statfs(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    kind: int = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long))[0]
    return kind & 0xFFFFFFFF


def problem(path: str, filesystem: str) -> str:
    """Why it is not proven that `filesystem` is mounted at `path`; empty where it is.

    Proven means: mountinfo lists it with that type, the path's st_dev is that mount's device and not that of the
    folder above, and statfs(2) does not answer what the folder above answers (for FUSE: answers FUSE's magic).
    """
    mount = at(path)
    if mount is None:
        return f"nothing is mounted at {path} (no line in mountinfo): a test would run on the underlying directory"
    if mount.type != filesystem:
        return f"{path} has a mount of type {mount.type}, expected {filesystem}"
    here, above = os.stat(path).st_dev, os.stat(os.path.dirname(path)).st_dev
    if here != mount.device:
        return f"st_dev of {path} is {here:#x}, mountinfo says {mount.device:#x}"
    if here == above:
        return f"st_dev of {path} is that of the folder above ({above:#x}): a test would run on the underlying directory"
    kind, kind_above = magic(path), magic(os.path.dirname(path))
    if filesystem.startswith("fuse"):
        return "" if kind == FUSE_SUPER_MAGIC else f"statfs of {path} says type {kind:#x}, which is not FUSE's"
    if kind == kind_above and at_type(os.path.dirname(path)) != filesystem:
        return f"statfs of {path} says type {kind:#x}, as for the folder above"
    return ""


def at_type(path: str) -> str:
    """The type of the filesystem that holds `path`, by the longest mount point above it."""
    while True:
        mount = at(path)
        if mount is not None or path == "/":
            return mount.type if mount is not None else ""
        path = os.path.dirname(path)
