# SPDX-License-Identifier: Apache-2.0
"""Whether a build read any of its sources: one that did not cannot have compiled them, whatever lies there afterwards (B3)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# Sources of compilers; build files, scripts and data are read by builds that compile nothing.
_SUFFIXES = {".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".S", ".s", ".rs", ".go", ".zig", ".f", ".f90", ".d", ".m", ".pas"}


def watch(folder: Path, files: Iterable[Path]) -> list[Path]:
    """Give the sources among `files` an old time of reading; returns them, none where this file system keeps no such times."""
    chosen = [path for path in files if path.suffix in _SUFFIXES and path.stat().st_size]
    if not chosen or not _keeps_times(folder):
        return []
    for path in chosen:
        _age(path)
    return chosen


def unread(watched: list[Path]) -> bool:
    """True where there was something to watch and nobody read any of it (a file that was replaced counts as read)."""
    return bool(watched) and all(path.is_file() and path.stat().st_atime <= 1 for path in watched)


def _age(path: Path) -> None:
    os.utime(path, (1, path.stat().st_mtime))


def _keeps_times(folder: Path) -> bool:
    """Also mounted with relatime a file says that it was read where it was written after it was last read."""
    probe = folder / ".vexci-reads"
    probe.write_text("read me")
    try:
        _age(probe)
        probe.read_text()
        return probe.stat().st_atime > 1
    finally:
        probe.unlink()
