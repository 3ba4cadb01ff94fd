# SPDX-License-Identifier: Apache-2.0
"""Holes: SEEK_DATA and SEEK_HOLE of lseek(2), fallocate(2), blocks that are counted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .content import PAGE, data
from .place import ALICE, Place, read, write

SPARSE = Group("sparse")
ALLOCATE = Group("allocate")
GROUPS = [SPARSE, ALLOCATE]
_UNIT = 16 * PAGE  # a hole of this size shows on every file system with blocks of up to 64 KiB
MIB = 1 << 20


def _holey(t: Place) -> int:
    """Data in units 1 and 3 of five, holes elsewhere; on the disk, so that nothing is only in the cache."""
    descriptor = t.open("f")
    os.ftruncate(descriptor, 5 * _UNIT)
    os.pwrite(descriptor, data(1, _UNIT), _UNIT)
    os.pwrite(descriptor, data(3, _UNIT), 3 * _UNIT)
    os.fsync(descriptor)
    return descriptor


for _at, _whence, _expected in (
    (0, os.SEEK_DATA, 1),
    (0, os.SEEK_HOLE, 0),
    (1, os.SEEK_DATA, 1),
    (1, os.SEEK_HOLE, 2),
    (2, os.SEEK_DATA, 3),
    (2, os.SEEK_HOLE, 2),
    (3, os.SEEK_HOLE, 4),
    (4, os.SEEK_HOLE, 4),
):

    def _seek(t: Place, at: int = _at, whence: int = _whence, expected: int = _expected) -> None:
        descriptor = _holey(t)
        t.equal("the offset", os.lseek(descriptor, at * _UNIT, whence), expected * _UNIT)
        t.equal("the position", os.lseek(descriptor, 0, os.SEEK_CUR), expected * _UNIT)

    SPARSE.case(f"seek-{'data' if _whence == os.SEEK_DATA else 'hole'}-from-{_at}")(_seek)


@SPARSE.case("seek-inside-data")
def _inside(t: Place) -> None:
    descriptor = _holey(t)
    t.equal("SEEK_DATA", os.lseek(descriptor, _UNIT + 5, os.SEEK_DATA), _UNIT + 5)
    t.equal("SEEK_HOLE", os.lseek(descriptor, _UNIT + 5, os.SEEK_HOLE), 2 * _UNIT)


@SPARSE.case("seek-behind-the-last-data")
def _no_more(t: Place) -> None:
    descriptor = _holey(t)
    t.refuses("SEEK_DATA in the last hole", lambda: os.lseek(descriptor, 4 * _UNIT, os.SEEK_DATA), errno.ENXIO)
    t.refuses("SEEK_DATA at the end", lambda: os.lseek(descriptor, 5 * _UNIT, os.SEEK_DATA), errno.ENXIO)
    t.refuses("SEEK_HOLE at the end", lambda: os.lseek(descriptor, 5 * _UNIT, os.SEEK_HOLE), errno.ENXIO)
    t.refuses("SEEK_DATA at -1", lambda: os.lseek(descriptor, -1, os.SEEK_DATA), errno.ENXIO, errno.EINVAL)


@SPARSE.case("seek-in-a-full-file")
def _full(t: Place) -> None:
    write("f", data(1, 10_000))
    descriptor = t.open("f")
    t.equal("SEEK_HOLE", os.lseek(descriptor, 0, os.SEEK_HOLE), 10_000)
    t.equal("SEEK_DATA", os.lseek(descriptor, 5000, os.SEEK_DATA), 5000)


@SPARSE.case("seek-in-an-empty-file", "f!")
def _empty(t: Place) -> None:
    descriptor = t.open("f")
    t.refuses("SEEK_DATA", lambda: os.lseek(descriptor, 0, os.SEEK_DATA), errno.ENXIO)
    t.refuses("SEEK_HOLE", lambda: os.lseek(descriptor, 0, os.SEEK_HOLE), errno.ENXIO)


@SPARSE.case("holes-read-as-zeros")
def _zeros(t: Place) -> None:
    _holey(t)
    expected = bytes(_UNIT) + data(1, _UNIT) + bytes(_UNIT) + data(3, _UNIT) + bytes(_UNIT)
    t.check(read("f") == expected, "the content differs")


@SPARSE.case("holes-take-no-blocks")
def _blocks(t: Place) -> None:
    descriptor = t.open("f")
    os.ftruncate(descriptor, 64 * MIB)
    os.fsync(descriptor)
    t.check(os.fstat(descriptor).st_blocks * 512 <= _UNIT, "a file that is only a hole takes blocks")
    os.pwrite(descriptor, data(1, _UNIT), 32 * MIB)
    os.fsync(descriptor)
    taken = os.fstat(descriptor).st_blocks * 512
    t.check(_UNIT <= taken <= 4 * _UNIT, f"64 KiB in the middle take {taken} bytes")
    os.ftruncate(descriptor, 0)
    t.equal("blocks of the empty file", os.fstat(descriptor).st_blocks, 0)


for _offset in (1 << 31, (1 << 32) + 5, 1 << 40, (1 << 43) + 1):

    def _far(t: Place, offset: int = _offset) -> None:
        """Behind 2 GiB, 4 GiB, 1 TiB and 8 TiB: no part of the offset is lost."""
        descriptor = t.open("f")
        os.pwrite(descriptor, b"far", offset)
        os.fsync(descriptor)
        t.equal("the size", os.fstat(descriptor).st_size, offset + 3)
        t.equal("read", os.pread(descriptor, 10, offset), b"far")
        t.equal("before it", os.pread(descriptor, 4, offset - 4), bytes(4))
        t.equal("at the start", os.pread(descriptor, 4, 0), bytes(4))
        at = os.lseek(descriptor, 0, os.SEEK_DATA)
        t.check(offset - _UNIT < at <= offset, f"SEEK_DATA finds {at}")

    SPARSE.case(f"far-{_offset}")(_far)


def _mode(flags: int, offset: int, size: int, path: str = "f", how: int = os.O_RDWR) -> Callable[[], Any]:
    def call() -> None:
        descriptor = os.open(path, how)
        try:
            libc.fallocate(descriptor, flags, offset, size)
        finally:
            os.close(descriptor)

    return call


PUNCH = libc.PUNCH_HOLE | libc.KEEP_SIZE
ALLOCATE.refuse("no-length", "f", errno.EINVAL, _mode(0, 0, 0))
ALLOCATE.refuse("negative-length", "f", errno.EINVAL, _mode(0, 0, -1))
ALLOCATE.refuse("negative-offset", "f", errno.EINVAL, _mode(0, -1, 1))
ALLOCATE.refuse("read-only", "f", errno.EBADF, _mode(0, 0, 1, how=os.O_RDONLY))
ALLOCATE.refuse("folder", "d/", errno.EBADF, _mode(0, 0, 1, "d", os.O_RDONLY))
ALLOCATE.refuse("fifo", "p|", (errno.ENODEV, errno.ESPIPE), _mode(0, 0, 1, "p", os.O_RDWR | os.O_NONBLOCK))
ALLOCATE.refuse("too-far", "f", errno.EFBIG, _mode(0, (1 << 63) - 5, 100))
ALLOCATE.refuse("punch-without-keep", "f", (errno.EOPNOTSUPP, errno.EINVAL), _mode(libc.PUNCH_HOLE, 0, 1))
ALLOCATE.refuse("unknown-mode", "f", (errno.EOPNOTSUPP, errno.EINVAL), _mode(0x1000, 0, 1))


@ALLOCATE.case("grows")
def _grows(t: Place) -> None:
    descriptor = t.open("f")
    os.write(descriptor, b"abc")
    libc.fallocate(descriptor, 0, 0, 200_000)
    t.equal("the size", os.fstat(descriptor).st_size, 200_000)
    t.check(read("f") == b"abc" + bytes(199_997), "what was reserved does not read as zeros")
    t.check(os.fstat(descriptor).st_blocks * 512 >= 196_608, "nothing was reserved")


@ALLOCATE.case("keeps-the-size")
def _keeps(t: Place) -> None:
    descriptor = t.open("f")
    libc.fallocate(descriptor, libc.KEEP_SIZE, 0, 10 * PAGE)
    t.equal("the size", os.fstat(descriptor).st_size, 0)
    t.check(os.fstat(descriptor).st_blocks * 512 >= 10 * PAGE, "nothing was reserved")
    os.pwrite(descriptor, b"x", 2 * PAGE)
    t.equal("the size after a write", os.fstat(descriptor).st_size, 2 * PAGE + 1)
    t.check(read("f") == bytes(2 * PAGE) + b"x", "what was reserved does not read as zeros")


@ALLOCATE.case("over-data")
def _over(t: Place) -> None:
    write("f", data(7, 3 * PAGE))
    libc.fallocate(t.open("f"), 0, PAGE // 2, 6 * PAGE)
    t.check(read("f") == data(7, 3 * PAGE) + bytes(3 * PAGE + PAGE // 2), "data that was there has changed")


for _offset, _length in ((0, PAGE), (PAGE, 2 * PAGE), (100, 50), (PAGE - 10, 20), (5, 3 * PAGE), (3 * PAGE, 100 * PAGE)):

    def _punch(t: Place, offset: int = _offset, length: int = _length) -> None:
        """Zeros where it was punched, everything else and the size as before."""
        content = data(9, 5 * PAGE + 100)
        write("f", content)
        descriptor = t.open("f")
        libc.fallocate(descriptor, PUNCH, offset, length)
        expected = (content[:offset] + bytes(length) + content[offset + length :])[: len(content)]
        t.equal("the size", os.fstat(descriptor).st_size, len(content))
        t.check(read("f") == expected, "the content is not that with a hole")
        os.fsync(descriptor)
        t.check(os.pread(descriptor, len(content), 0) == expected, "after fsync the content is not that with a hole")

    ALLOCATE.case(f"punch-{_length}-at-{_offset}")(_punch)


@ALLOCATE.case("punch-gives-blocks-back")
def _gives(t: Place) -> None:
    write("f", data(1, 8 * _UNIT))
    descriptor = t.open("f")
    os.fsync(descriptor)
    before = os.fstat(descriptor).st_blocks
    libc.fallocate(descriptor, PUNCH, _UNIT, 6 * _UNIT)
    os.fsync(descriptor)
    after = os.fstat(descriptor).st_blocks
    t.check(before - after >= 5 * _UNIT // 512, f"{before} blocks before, {after} after")
    t.equal("SEEK_HOLE", os.lseek(descriptor, 0, os.SEEK_HOLE), _UNIT)
    t.equal("SEEK_DATA", os.lseek(descriptor, _UNIT, os.SEEK_DATA), 7 * _UNIT)


@ALLOCATE.case("punch-behind-the-end", "f")
def _behind(t: Place) -> None:
    before = read("f")
    libc.fallocate(t.open("f"), PUNCH, 10 * PAGE, PAGE)
    t.equal("the content", read("f"), before)


@ALLOCATE.case("posix-fallocate")
def _posix(t: Place) -> None:
    descriptor = t.open("f")
    os.posix_fallocate(descriptor, 100, 1000)
    t.equal("the size", os.fstat(descriptor).st_size, 1100)
    t.refuses("without length", lambda: os.posix_fallocate(descriptor, 0, 0), errno.EINVAL)


@ALLOCATE.case("clears-set-id-bits", "f:6777")
def _clears(t: Place) -> None:
    """A change of contents by another than root takes the set-id bits away (as write(2))."""
    t.as_user(ALICE, _mode(0, 0, 100))
    t.equal("the mode", oct(os.stat("f").st_mode & 0o7777), "0o777")


@ALLOCATE.case("zero-range", needs="zero-range")
def _zero(t: Place) -> None:
    content = data(2, 4 * PAGE)
    write("f", content)
    libc.fallocate(t.open("f"), libc.ZERO_RANGE, 100, 2 * PAGE)
    t.check(read("f") == content[:100] + bytes(2 * PAGE) + content[100 + 2 * PAGE :], "the content differs")


@ALLOCATE.case("collapse-range", needs="collapse-range")
def _collapse(t: Place) -> None:
    content = data(2, 4 * PAGE)
    write("f", content)
    libc.fallocate(t.open("f"), libc.COLLAPSE_RANGE, PAGE, 2 * PAGE)
    t.check(read("f") == content[:PAGE] + content[3 * PAGE :], "the content differs")


@ALLOCATE.case("insert-range", needs="insert-range")
def _insert(t: Place) -> None:
    content = data(2, 4 * PAGE)
    write("f", content)
    libc.fallocate(t.open("f"), libc.INSERT_RANGE, PAGE, 2 * PAGE)
    t.check(read("f") == content[:PAGE] + bytes(2 * PAGE) + content[PAGE:], "the content differs")
