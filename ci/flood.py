# SPDX-License-Identifier: Apache-2.0
"""Notices that a process fills the disk with files (B10), at the cost of one statvfs() a look."""

from __future__ import annotations

import os
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write to the disk that `folder` is on."""
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def folder_bytes(folder: Path) -> int:
    """What the files below `folder` take on the disk; one that vanishes meanwhile counts as nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


class Flood:
    """One folder that may hold `limit` bytes. It is measured only where the disk lost that much since the last measurement.

    Others write to the same disk, so that a disk which shrinks proves nothing by itself.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._free = free_bytes(folder)

    def seen(self) -> str:
        """A sentence about it, or nothing."""
        free = free_bytes(self._folder)
        if self._free - free < self._limit:
            self._free = max(free, self._free)
            return ""
        self._free = free
        held = folder_bytes(self._folder)
        if held < self._limit:
            return ""
        return f"flooded {self._folder} with {held >> 20} MiB (it may take {self._limit >> 20}) and was stopped"
