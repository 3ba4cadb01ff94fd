# SPDX-License-Identifier: Apache-2.0
"""mmap(2): shared and private maps agree with read and write, across processes, truncation and unlink."""

from __future__ import annotations

import errno
import mmap
import os
import signal
from collections.abc import Callable

from . import libc
from .book import Group
from .content import PAGE, data
from .place import Place, read, write

MAPS = Group("maps")
GROUPS = [MAPS]
_BOTH = mmap.PROT_READ | mmap.PROT_WRITE


def _file(t: Place, size: int = 4 * PAGE) -> int:
    write("f", data(1, size))
    return t.open("f")


@MAPS.case("reads-what-is-written")
def _reads(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, 4 * PAGE, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        t.check(mapped[:] == data(1, 4 * PAGE), "the map differs from the file")
        os.pwrite(descriptor, b"later", PAGE - 2)
        t.equal("what was written later", mapped[PAGE - 2 : PAGE + 3], b"later")


@MAPS.case("writes-what-is-read")
def _writes(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, 4 * PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        mapped[PAGE - 2 : PAGE + 3] = b"later"
        t.equal("read", os.pread(descriptor, 5, PAGE - 2), b"later")
        mapped.flush()
    t.check(read("f") == data(1, PAGE - 2) + b"later" + data(1, 4 * PAGE)[PAGE + 3 :], "the file differs after msync")


@MAPS.case("two-maps")
def _two(t: Place) -> None:
    descriptor, other = _file(t), t.open("f")
    with mmap.mmap(descriptor, 4 * PAGE, mmap.MAP_SHARED, _BOTH) as first, mmap.mmap(other, 2 * PAGE, mmap.MAP_SHARED, _BOTH) as second:
        first[10:14] = b"abcd"
        t.equal("in the other map", second[10:14], b"abcd")
        second[PAGE : PAGE + 2] = b"xy"
        t.equal("in the first map", first[PAGE : PAGE + 2], b"xy")


@MAPS.case("two-processes")
def _processes(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        pid = os.fork()
        if pid == 0:
            mapped[0:5] = b"child"
            os._exit(0)
        os.waitpid(pid, 0)
        t.equal("what the child wrote", (mapped[0:5], os.pread(descriptor, 5, 0)), (b"child", b"child"))


@MAPS.case("private-stays-private")
def _private(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, PAGE, mmap.MAP_PRIVATE, _BOTH) as mapped:
        mapped[0:5] = b"alone"
        t.equal("in the map", mapped[0:5], b"alone")
        t.equal("in the file", os.pread(descriptor, 5, 0), data(1, 5))


@MAPS.case("private-of-a-read-only-file")
def _private_read_only(t: Place) -> None:
    _file(t)
    with mmap.mmap(t.open("f", os.O_RDONLY), PAGE, mmap.MAP_PRIVATE, _BOTH) as mapped:
        mapped[0:1] = b"!"
        t.equal("in the file", read("f")[:1], data(1, 1))


@MAPS.case("hole")
def _hole(t: Place) -> None:
    """A page of a hole that is written through a map is data then."""
    descriptor = t.open("f")
    os.ftruncate(descriptor, 64 * PAGE)
    with mmap.mmap(descriptor, 64 * PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        t.equal("in the hole", mapped[PAGE : PAGE + 8], bytes(8))
        mapped[40 * PAGE : 40 * PAGE + 3] = b"new"
        mapped.flush()
    os.fsync(descriptor)
    t.equal("read", os.pread(descriptor, 4, 40 * PAGE), b"new\0")
    t.check(os.lseek(descriptor, 0, os.SEEK_DATA) <= 40 * PAGE, "SEEK_DATA does not find the page")


@MAPS.case("end-of-the-last-page")
def _last_page(t: Place) -> None:
    """Bytes behind the end, in the last page, are zeros and never reach the file (mmap(2), NOTES)."""
    descriptor = _file(t, PAGE + 100)
    with mmap.mmap(descriptor, PAGE + 100, mmap.MAP_SHARED, _BOTH) as mapped:
        t.equal("the last byte", mapped[PAGE + 99], data(1, PAGE + 100)[-1])
    with mmap.mmap(descriptor, 0, mmap.MAP_SHARED, _BOTH) as mapped:
        os.ftruncate(descriptor, PAGE + 50)
        t.equal("behind the new end", mapped[PAGE + 50 : PAGE + 100], bytes(50))
        mapped[PAGE + 60 : PAGE + 64] = b"lost"
        mapped.flush()
    os.ftruncate(descriptor, PAGE + 100)
    t.equal("after it grew again", os.pread(descriptor, 50, PAGE + 50), bytes(50))


@MAPS.case("end-of-the-last-page-from-the-disk")
def _last_page_anew(t: Place) -> None:
    """They are zeros also where the page comes from the disk, which may still have what was cut off."""
    descriptor = _file(t, 2 * PAGE)
    os.fsync(descriptor)
    with mmap.mmap(descriptor, 2 * PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        os.ftruncate(descriptor, PAGE + 50)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        t.check(mapped[: PAGE + 50] == data(1, PAGE + 50), "the map differs from the file")
        t.equal("behind the end", mapped[PAGE + 50 :], bytes(PAGE - 50))
        os.pwrite(descriptor, b"more", PAGE + 60)
        t.equal("after it grew again", mapped[PAGE + 50 : PAGE + 80], bytes(10) + b"more" + bytes(16))


@MAPS.case("behind-the-end-is-sigbus")
def _bus(t: Place) -> None:
    descriptor = _file(t)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        mapped = mmap.mmap(descriptor, 4 * PAGE, mmap.MAP_SHARED, _BOTH)
        os.ftruncate(descriptor, PAGE)
        os._exit(mapped[2 * PAGE] & 1)
    _, status = os.waitpid(pid, 0)
    t.check(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS, f"a page behind the end: status {status}, expected SIGBUS")


@MAPS.case("grows-under-the-map")
def _grows(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, 4 * PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        os.ftruncate(descriptor, PAGE)
        os.ftruncate(descriptor, 4 * PAGE)
        t.check(mapped[PAGE:] == bytes(3 * PAGE), "what was cut off is still in the map")
        os.pwrite(descriptor, b"again", 3 * PAGE)
        t.equal("what was written then", mapped[3 * PAGE : 3 * PAGE + 5], b"again")


@MAPS.case("closed-and-unlinked")
def _closed(t: Place) -> None:
    """A map keeps the file, without descriptor and without name."""
    write("f", data(1, PAGE))
    descriptor = os.open("f", os.O_RDWR)
    with mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        os.close(descriptor)
        os.unlink("f")
        mapped[0:4] = b"kept"
        mapped.flush()
        t.equal("in the map", mapped[0:8], b"kept" + data(1, 8)[4:])


@MAPS.case("punched-under-the-map")
def _punched(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, 4 * PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        t.equal("before", mapped[PAGE], data(1, PAGE + 1)[-1])
        libc.fallocate(descriptor, libc.PUNCH_HOLE | libc.KEEP_SIZE, PAGE, PAGE)
        t.check(mapped[PAGE : 2 * PAGE] == bytes(PAGE), "the map still has what was punched out")


@MAPS.case("odd-places")
def _odd(t: Place) -> None:
    """Writes through a map at the borders of pages, each read back by a system call."""
    descriptor = _file(t, 8 * PAGE)
    expected = bytearray(data(1, 8 * PAGE))
    with mmap.mmap(descriptor, 8 * PAGE, mmap.MAP_SHARED, _BOTH) as mapped:
        for number, at in enumerate((0, PAGE - 1, PAGE, 3 * PAGE - 2, 5 * PAGE + 7, 8 * PAGE - 3)):
            part = bytes([number + 65]) * 3
            mapped[at : at + 3] = part
            expected[at : at + 3] = part
            t.check(os.pread(descriptor, 8 * PAGE, 0) == bytes(expected), f"after the write at {at} read differs")


@MAPS.case("second-half-by-offset")
def _offset(t: Place) -> None:
    descriptor = _file(t)
    with mmap.mmap(descriptor, 2 * PAGE, mmap.MAP_SHARED, mmap.PROT_READ, offset=2 * PAGE) as mapped:
        t.check(mapped[:] == data(1, 4 * PAGE)[2 * PAGE :], "the map differs from the file")


@MAPS.case("executes")
def _executes(t: Place) -> None:
    """A program on the file system can be run. (Whether it can be written to meanwhile is the kernel's: 6.11 and 6.12 allow it.)"""
    write("program", read("/bin/sleep"))
    os.chmod("program", 0o755)
    pid = os.spawnl(os.P_NOWAIT, "./program", "program", "60")
    try:
        t.context.until("the program runs", lambda: os.readlink(f"/proc/{pid}/exe") == os.path.join(t.folder, "program"))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _map(flags: int, how: int, protection: int) -> Callable[[], None]:
    def call() -> None:
        descriptor = os.open("f", how)
        try:
            mmap.mmap(descriptor, 5, flags, protection).close()
        finally:
            os.close(descriptor)

    return call


MAPS.refuse("shared-write-of-read-only", "f", errno.EACCES, _map(mmap.MAP_SHARED, os.O_RDONLY, _BOTH))
MAPS.refuse("read-of-write-only", "f", errno.EACCES, _map(mmap.MAP_SHARED, os.O_WRONLY, mmap.PROT_READ))
MAPS.refuse("shared-write-of-append-only-descriptor", "f", errno.EACCES, _map(mmap.MAP_SHARED, os.O_WRONLY | os.O_APPEND, _BOTH))
