# SPDX-License-Identifier: Apache-2.0
"""What cases do with files: each step announced, each answer compared.

A file's data is made from a name, so no two files are alike and a constant answer is found out.
"""

from __future__ import annotations

import errno
import hashlib
import os

from .context import Context

BLOCK = 128 << 10


def pattern(name: str, size: int) -> bytes:
    """Bytes that follow from the name alone and repeat nowhere."""
    return hashlib.shake_128(name.encode()).digest(size)


def promise(t: Context, name: str, size: int) -> None:
    """A new file of the pattern of that name, fsynced: from then on it must be there. Raises OSError as the calls do."""
    descriptor = os.open(t.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, pattern(name, size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(t: Context, path: str, data: bytes, flags: int = 0) -> None:
    """Create or replace a file; a short count is a failure."""
    t.op(f"write {len(data)} bytes to {path}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try:
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            t.equal(f"write to {path} at {start}", os.write(descriptor, block), len(block))
        t.op(f"fsync {path}")
        os.fsync(descriptor)
    finally:
        t.op(f"close {path}")
        os.close(descriptor)


def read(t: Context, path: str) -> bytes:
    """All bytes of a file."""
    t.op(f"read {path}")
    with open(path, "rb", buffering=0) as file:
        parts = []
        while block := file.read(BLOCK):
            parts.append(block)
        return b"".join(parts)


def same(t: Context, path: str, expected: bytes) -> None:
    """The file holds exactly these bytes (T2); the first difference is named."""
    seen = read(t, path)
    t.equal(f"size of {path} by reading to its end", len(seen), len(expected))
    if seen != expected:
        at = next(index for index, (a, b) in enumerate(zip(seen, expected, strict=True)) if a != b)
        t.check(False, f"{path} differs at byte {at}: expected {expected[at : at + 8].hex()}, got {seen[at : at + 8].hex()}")
    t.equal(f"st_size of {path}", os.stat(path).st_size, len(expected))


def absent(t: Context, path: str) -> None:
    """Nothing has that name."""
    t.op(f"stat {path}")
    t.refuses(f"stat {path}", lambda: os.lstat(path), errno.ENOENT)


def names(t: Context, path: str) -> list[str]:
    """A directory's names, sorted."""
    t.op(f"list {path}")
    return sorted(os.listdir(path))


def folder(t: Context, name: str) -> str:
    """A fresh directory for one case."""
    path = t.path(name)
    t.op(f"mkdir {path}")
    os.mkdir(path)
    return path


def round_trip(t: Context, name: str) -> None:
    """Write, forget, read back, remove: the mount is alive."""
    path = t.path(name)
    write(t, path, pattern(name, 3 * 4096 + 17))
    t.drop_caches()
    same(t, path, pattern(name, 3 * 4096 + 17))
    t.op(f"unlink {path}")
    os.unlink(path)
    absent(t, path)
