# SPDX-License-Identifier: Apache-2.0
"""Random reads, writes, truncations, maps and holes on one file, against a copy of what it must hold.

The idea is that of the well-known exerciser fsx: every read is compared with a shadow in memory, so that a byte that was lost,
moved or brought back is seen soon after it happened.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random

from .context import Context, Failed

LONGEST = 200_000
PIECE = 20_000
KEEP_SIZE, PUNCH_HOLE = 1, 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)


class Exerciser:
    """One file, its shadow, and the history of what was done (the last steps are told when a byte is wrong)."""

    def __init__(self, t: Context, path: str, seed: int) -> None:
        self._t = t
        self._path = path
        self._random = random.Random(seed)
        self._seed = seed
        self._shadow = bytearray()
        self._steps: list[str] = []
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._turn = 0

    def close(self) -> None:
        os.close(self._file)

    def step(self) -> None:
        """One random operation."""
        self._turn += 1
        kinds = (self._write, self._write, self._read, self._read, self._map, self._map_read, self._truncate, self._punch, self._allocate)
        if self._turn % 97 == 0:
            self._reopen()
        elif self._turn % 41 == 0:
            self._note("fsync")
            os.fsync(self._file)
        else:
            self._random.choice(kinds)()
        size = os.fstat(self._file).st_size
        if size != len(self._shadow):
            raise Failed(f"{self._path}: size {size}, expected {len(self._shadow)}; {self._history()}")

    def whole(self) -> None:
        """The whole file, read anew behind an emptied cache."""
        os.fsync(self._file)
        self._t.drop_caches()
        self._compare(0, _read(self._file, 0, len(self._shadow) + 1), len(self._shadow), "the whole file from the disk")

    def _note(self, text: str) -> None:
        self._steps = [*self._steps[-9:], f"{self._turn}: {text}"]

    def _history(self) -> str:
        return f"seed {self._seed}, the last steps: {', '.join(self._steps)}"

    def _piece(self) -> tuple[int, int]:
        begin = self._random.randrange(LONGEST)
        if self._random.random() < 0.3:
            begin -= begin % 4096
        return begin, self._random.randrange(1, min(PIECE, LONGEST - begin) + 1)

    def _data(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def _write(self) -> None:
        begin, size = self._piece()
        data = self._data(size)
        self._note(f"write {size} at {begin}")
        if (done := os.pwrite(self._file, data, begin)) != size:
            raise Failed(f"{self._path}: a write of {size} bytes wrote {done}; {self._history()}")
        self._grow(begin)
        self._shadow[begin : begin + size] = data

    def _grow(self, size: int) -> None:
        if size > len(self._shadow):
            self._shadow += bytes(size - len(self._shadow))

    def _read(self) -> None:
        begin, size = self._piece()
        self._note(f"read {size} at {begin}")
        self._compare(begin, _read(self._file, begin, size), size, "read")

    def _compare(self, begin: int, got: bytes, size: int, how: str) -> None:
        wanted = bytes(self._shadow[begin : begin + size])
        if got == wanted:
            return
        if len(got) != len(wanted):
            raise Failed(f"{self._path}: {how} at {begin}: {len(got)} bytes, expected {len(wanted)}; {self._history()}")
        at = next(i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b)
        raise Failed(f"{self._path}: {how}: byte {begin + at} is {got[at]:#04x}, expected {wanted[at]:#04x}; {self._history()}")

    def _map(self) -> None:
        if not self._shadow:
            return
        begin = self._random.randrange(len(self._shadow))
        data = self._data(self._random.randrange(1, min(PIECE, len(self._shadow) - begin) + 1))
        self._note(f"map and write {len(data)} at {begin}")
        with mmap.mmap(self._file, len(self._shadow)) as mapped:
            mapped[begin : begin + len(data)] = data
        self._shadow[begin : begin + len(data)] = data

    def _map_read(self) -> None:
        if not self._shadow:
            return
        begin, size = self._piece()
        self._note(f"map and read {size} at {begin}")
        with mmap.mmap(self._file, len(self._shadow), prot=mmap.PROT_READ) as mapped:
            self._compare(begin, mapped[begin : begin + size], size, "map")

    def _truncate(self) -> None:
        size = self._random.randrange(LONGEST)
        self._note(f"truncate to {size}")
        os.ftruncate(self._file, size)
        del self._shadow[size:]
        self._grow(size)

    def _punch(self) -> None:
        begin, size = self._piece()
        if self._fallocate(KEEP_SIZE | PUNCH_HOLE, begin, size, "punch"):
            end = min(begin + size, len(self._shadow))
            if begin < end:
                self._shadow[begin:end] = bytes(end - begin)

    def _allocate(self) -> None:
        begin, size = self._piece()
        if self._fallocate(0, begin, size, "allocate"):
            self._grow(begin + size)

    def _fallocate(self, mode: int, begin: int, size: int, what: str) -> bool:
        self._note(f"{what} {size} at {begin}")
        if _LIBC.fallocate(self._file, mode, begin, size) == 0:
            return True
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return False
        raise OSError(number, f"fallocate: {os.strerror(number)}; {self._history()}", self._path)

    def _reopen(self) -> None:
        self._note("close and open")
        os.close(self._file)
        self._file = os.open(self._path, os.O_RDWR)


def _read(descriptor: int, begin: int, size: int) -> bytes:
    """Up to `size` bytes, in as many reads as it takes to the end of the file."""
    parts = []
    while size > 0:
        part = os.pread(descriptor, size, begin)
        if not part:
            break
        parts.append(part)
        begin, size = begin + len(part), size - len(part)
    return b"".join(parts)
