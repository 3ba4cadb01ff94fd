# SPDX-License-Identifier: Apache-2.0
"""Tarballs of the sources: what git has of a commit, with one owner, one time and one order, so that they are the same bytes everywhere."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ci import process, store


def files(root: Path, below: str = ".") -> list[str]:
    """The paths that git tracks below a folder of the project, relative to `root`, sorted."""
    listed = process.output(["git", "-C", str(root), "ls-files", "-z", "--", below])
    return sorted(name for name in listed.split("\0") if name)


def tarball(root: Path, names: Sequence[str], prefix: str, target: Path, *, time: int, strip: str = "") -> Path:
    """Write `target` (.tar.gz) with these files of the project below the folder `prefix`; `strip` is taken from their front."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            tar.addfile(*_entry(root / name, f"{prefix}/{name.removeprefix(strip)}", time))
    store.atomic_write(target, packed(out.getvalue()))
    return target


def packed(data: bytes) -> bytes:
    """As gzip, with neither name nor time in it."""
    return gzip.compress(data, compresslevel=9, mtime=0)


def _entry(path: Path, name: str, time: int) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    entry = tarfile.TarInfo(name)
    entry.mtime = time
    entry.uname = entry.gname = "root"
    if path.is_symlink():
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
        return entry, None
    data = path.read_bytes()
    entry.size = len(data)
    entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    return entry, io.BytesIO(data)
