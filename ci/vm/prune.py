# SPDX-License-Identifier: Apache-2.0
"""Keeps the memory snapshots within their limits: those not used for long go, and then the oldest until the rest fits."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ci import store
from ci.manifest import SnapshotLimits
from ci.vm.snapshot import FOLDER, discard

_DAY = 86400.0
# Folders that are being made or removed right now; what a killed process left of them, the next start removes.
_TRANSIENT = "."


@dataclass(frozen=True)
class Kept:
    """A snapshot on disk: allocated bytes, and when it was last used in epoch seconds."""

    folder: Path
    size: int
    used: float


def listing() -> list[Kept]:
    """All snapshots of this user, the one used last first."""
    base = store.cache_dir() / FOLDER
    found = []
    for folder in base.iterdir() if base.is_dir() else []:
        if folder.name.startswith(_TRANSIENT):
            continue
        try:
            size = sum(entry.stat().st_blocks * 512 for entry in os.scandir(folder) if entry.is_file())
            found.append(Kept(folder, size, folder.stat().st_mtime))
        except FileNotFoundError:
            continue  # another process has removed it in this moment
    return sorted(found, key=lambda kept: kept.used, reverse=True)


def excess(found: list[Kept], limits: SnapshotLimits, now: float) -> list[Kept]:
    """Which of `found` (the one used last first) are over the limits. The one used last stays while it is young enough."""
    young = [kept for kept in found if now - kept.used <= limits.age * _DAY]
    room = limits.size << 20
    staying: list[Kept] = []
    for kept in young:
        if not staying or kept.size <= room:
            staying.append(kept)
            room -= kept.size
    return [kept for kept in found if kept not in staying]


def prune(limits: SnapshotLimits, *, everything: bool = False, say: Callable[[str], None]) -> int:
    """Remove what is over the limits, or everything; returns the bytes that are free again."""
    found = listing()
    doomed = found if everything else excess(found, limits, time.time())
    for kept in doomed:
        discard(kept.folder)
        days = (time.time() - kept.used) / _DAY
        say(f"removed the memory snapshot {kept.folder.name[:12]} ({kept.size >> 20} MiB, last used {days:.1f} days ago)")
    return sum(kept.size for kept in doomed)
