# SPDX-License-Identifier: Apache-2.0
"""read(2), write(2), pread, pwrite, their vectors, lseek, truncate, copy_file_range, sendfile, splice, fsync."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .place import ALICE, CONTENT, Place, read, write

CONTENTS = Group("content")
TRUNCATE = Group("truncate")
COPIES = Group("copies")
SYNC = Group("sync")
GROUPS = [CONTENTS, TRUNCATE, COPIES, SYNC]
PAGE = 4096


def block(seed: int, size: int) -> bytes:
    """Bytes that tell where they belong."""
    return bytes((seed + i * 7 + (i >> 8) * 13) & 0xFF for i in range(min(size, 8192))) * (size // 8192 + 1)


def data(seed: int, size: int) -> bytes:
    """Just `size` of them."""
    return block(seed, size)[:size]


for _size in (1, 511, 4095, 4096, 4097, 65536, 100_000, 1 << 20):

    def _sizes(t: Place, size: int = _size) -> None:
        content = data(size, size)
        descriptor = t.open("f")
        t.equal("written", os.write(descriptor, content), size)
        t.equal("the size", os.fstat(descriptor).st_size, size)
        t.check(os.pread(descriptor, size + 10, 0) == content, "what was written is not what is read")
        t.equal("read behind the end", os.pread(descriptor, 10, size), b"")
        os.fsync(descriptor)
        t.check(read("f") == content, "by another descriptor it is not what was written")

    CONTENTS.case(f"write-{_size}")(_sizes)

for _offset, _length in ((0, 1), (1, 4095), (4095, 2), (4096, 4096), (4097, 8191), (10_000, 1), (20_479, 2)):

    def _over(t: Place, offset: int = _offset, length: int = _length) -> None:
        """In the middle of written bytes, across the borders of pages and blocks."""
        content = bytearray(data(1, 20_480))
        write("f", bytes(content))
        new = data(99, length)
        t.equal("written", os.pwrite(t.open("f"), new, offset), length)
        content[offset : offset + length] = new
        t.check(read("f") == bytes(content), "the content differs from what was written")

    CONTENTS.case(f"overwrite-{_length}-at-{_offset}")(_over)


@CONTENTS.case("empty-read-and-write", "f")
def _empty(t: Place) -> None:
    descriptor = t.open("f")
    before = os.fstat(descriptor)
    t.equal("written", os.write(descriptor, b""), 0)
    t.equal("read", os.read(descriptor, 0), b"")
    t.equal("the time of the last change", os.fstat(descriptor).st_mtime_ns, before.st_mtime_ns)


@CONTENTS.case("vectors")
def _vectors(t: Place) -> None:
    descriptor = t.open("f")
    t.equal("written", os.writev(descriptor, [b"ab", b"", b"cdef"]), 6)
    t.equal("written at 10", os.pwritev(descriptor, [b"x", b"y"], 10), 2)
    first, second = bytearray(3), bytearray(20)
    t.equal("read", os.preadv(descriptor, [first, second], 0), 12)
    t.equal("the parts", (bytes(first), bytes(second[:9])), (b"abc", b"def\0\0\0\0xy"))


@CONTENTS.case("pwrite-keeps-the-position", "f")
def _position(t: Place) -> None:
    descriptor = t.open("f")
    os.lseek(descriptor, 3, os.SEEK_SET)
    os.pwrite(descriptor, b"x", 10)
    os.pread(descriptor, 1, 10)
    t.equal("the position", os.lseek(descriptor, 0, os.SEEK_CUR), 3)


@CONTENTS.case("seek-behind-the-end", "f")
def _behind(t: Place) -> None:
    descriptor = t.open("f")
    t.equal("the position", os.lseek(descriptor, 100, os.SEEK_END), len(CONTENT) + 100)
    t.equal("the size", os.fstat(descriptor).st_size, len(CONTENT))
    t.equal("read", os.read(descriptor, 1), b"")
    os.write(descriptor, b"x")
    t.equal("the content", read("f"), CONTENT + bytes(100) + b"x")


@CONTENTS.case("two-writers")
def _writers(t: Place) -> None:
    """Two processes that append write whole records, none over the other's (O_APPEND)."""

    def work(letter: bytes) -> int:
        descriptor = os.open("f", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for _ in range(50):
            os.write(descriptor, letter * 100)
        os.close(descriptor)
        return 0

    children = []
    for letter in (b"a", b"b"):
        pid = os.fork()
        if pid == 0:
            os._exit(work(letter))
        children.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    content = read("f")
    t.equal("exit codes", codes, [0, 0])
    records = [content[at : at + 100] for at in range(0, len(content), 100)]
    t.check(all(len(set(record)) == 1 for record in records), "a record is torn")
    t.equal("records of each", (records.count(b"a" * 100), records.count(b"b" * 100)), (50, 50))


@CONTENTS.case("file-size-limit")
def _limit(t: Place) -> None:
    """RLIMIT_FSIZE: a write goes up to it, the next is EFBIG with SIGXFSZ (setrlimit(2))."""

    def work() -> list[Any]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        descriptor = os.open("f", os.O_WRONLY | os.O_CREAT, 0o600)
        told: list[Any] = [os.write(descriptor, b"x" * 1500)]
        for call in (lambda: os.write(descriptor, b"x"), lambda: os.ftruncate(descriptor, 1001)):
            try:
                call()
                told.append(0)
            except OSError as error:
                told.append(error.errno)
        return told

    t.equal("the answers", t.in_child(ALICE, work), [1000, errno.EFBIG, errno.EFBIG])


@CONTENTS.case("offset-beyond-any-file", "f")
def _beyond(t: Place) -> None:
    descriptor = t.open("f")
    t.refuses("pwrite at 2^63 - 1", lambda: os.pwrite(descriptor, b"xx", (1 << 63) - 1), errno.EFBIG, errno.EINVAL)
    t.refuses("truncate to 2^63 - 1", lambda: os.ftruncate(descriptor, (1 << 63) - 1), errno.EFBIG, errno.EINVAL)
    t.equal("the content", read("f"), CONTENT)


def _to(size: int) -> Callable[[], Any]:
    return lambda: libc.truncate("f", size)


TRUNCATE.refuse("negative", "f", errno.EINVAL, _to(-1))
TRUNCATE.refuse("folder", "d/", errno.EISDIR, lambda: libc.truncate("d", 0))
TRUNCATE.refuse("dangling", "l->none", errno.ENOENT, lambda: libc.truncate("l", 0))
TRUNCATE.refuse("fifo", "p|", errno.EINVAL, lambda: libc.truncate("p", 0))
TRUNCATE.refuse("not-writable", "f:644", errno.EACCES, _to(0), user=ALICE)
for _old, _new in ((0, 1), (0, 4096), (0, 10_000), (10_000, 0), (10_000, 1), (10_000, 4096), (10_000, 4097), (8192, 8191), (100_000, 5)):

    def _truncated(t: Place, old: int = _old, new: int = _new) -> None:
        """Shorter, then as long as before: what was cut off must read as zeros."""
        content = data(5, old)
        write("f", content)
        libc.truncate("f", new)
        t.equal("the size", os.stat("f").st_size, new)
        t.check(read("f") == (content + bytes(new))[:new], "the content after truncate is wrong")
        longer = max(old, new) + 5000
        libc.truncate("f", longer)
        t.check(read("f") == (content[:new] + bytes(longer))[:longer], "what lies behind the old end does not read as zeros")

    TRUNCATE.case(f"from-{_old}-to-{_new}")(_truncated)


@TRUNCATE.case("by-symlink", "f l->f")
def _by_symlink(t: Place) -> None:
    libc.truncate("l", 3)
    t.equal("the content", read("f"), CONTENT[:3])


@TRUNCATE.case("of-another-descriptor", "f")
def _other(t: Place) -> None:
    first, second = t.open("f"), t.open("f")
    os.lseek(second, 0, os.SEEK_END)
    os.ftruncate(first, 2)
    t.equal("read at the old end", os.read(second, 5), b"")
    os.write(second, b"x")
    t.equal("the content", read("f"), CONTENT[:2] + bytes(len(CONTENT) - 2) + b"x")


@TRUNCATE.case("writable-descriptor-of-read-only-file", "f:666")
def _by_descriptor(t: Place) -> None:
    """ftruncate asks how the file was opened, truncate what its mode is now."""
    descriptor = t.open("f")
    os.chmod("f", 0o444)

    def later() -> list[int]:
        os.ftruncate(descriptor, 1)
        try:
            libc.truncate("f", 0)
        except OSError as error:
            return [os.fstat(descriptor).st_size, error.errno or 0]
        return [os.fstat(descriptor).st_size, 0]

    t.equal("size, and error by path", t.as_user(ALICE, later), [1, errno.EACCES])


def _pair(t: Place, source: str = "f") -> tuple[int, int]:
    return t.open(source, os.O_RDONLY), t.open("copy")


@COPIES.case("copy-file-range")
def _range(t: Place) -> None:
    content = data(3, 70_000)
    write("f", content)
    source, target = _pair(t)
    copied = 0
    while part := os.copy_file_range(source, target, 70_000 - copied):
        copied += part
    t.equal("copied", copied, 70_000)
    t.check(read("copy") == content, "the copy differs")


@COPIES.case("copy-file-range-inside", "f")
def _inside(t: Place) -> None:
    descriptor = t.open("f")
    t.equal("copied", os.copy_file_range(descriptor, descriptor, 5, 0, 100), 5)
    t.equal("the content", read("f"), CONTENT + bytes(100 - len(CONTENT)) + CONTENT[:5])


COPIES.refuse("copy-file-range-overlap", "f", errno.EINVAL, lambda: _overlap())
COPIES.refuse("copy-file-range-folder", "d/ f", errno.EISDIR, lambda: _from_folder())


def _overlap() -> None:
    descriptor = os.open("f", os.O_RDWR)
    try:
        os.copy_file_range(descriptor, descriptor, 10, 0, 5)
    finally:
        os.close(descriptor)


def _from_folder() -> None:
    source, target = os.open("d", os.O_RDONLY), os.open("f", os.O_WRONLY)
    try:
        os.copy_file_range(source, target, 1)
    finally:
        os.close(source)
        os.close(target)


@COPIES.case("copy-file-range-append", "f")
def _to_append(t: Place) -> None:
    source, target = t.open("f", os.O_RDONLY), t.open("copy", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    t.refuses("copy_file_range to O_APPEND", lambda: os.copy_file_range(source, target, 5), errno.EBADF)


@COPIES.case("sendfile")
def _sendfile(t: Place) -> None:
    content = data(4, 50_000)
    write("f", content)
    source, target = _pair(t)
    sent = 0
    while part := os.sendfile(target, source, sent, 50_000 - sent):
        sent += part
    t.check(read("copy") == content, "the copy differs")


@COPIES.case("splice-through-a-pipe")
def _splice(t: Place) -> None:
    content = data(6, 20_000)
    write("f", content)
    source, target = _pair(t)
    reader, writer = (t.keep(end) for end in os.pipe())
    moved = 0
    while part := os.splice(source, writer, 4096):
        while part:
            step = os.splice(reader, target, part)
            part, moved = part - step, moved + step
    t.equal("moved", moved, 20_000)
    t.check(read("copy") == content, "the copy differs")


for _name, _call in (
    ("fsync", os.fsync),
    ("fdatasync", os.fdatasync),
    ("syncfs", lambda fd: libc.LIBC.syncfs(fd)),
    ("sync-file-range", lambda fd: libc.LIBC.sync_file_range(fd, 0, 0, 7)),
):

    def _synced(t: Place, call: Callable[[int], Any] = _call) -> None:
        descriptor = t.open("f")
        os.write(descriptor, data(1, 9000))
        t.check(not call(descriptor), "it did not answer 0")
        t.check(read("f") == data(1, 9000), "the content has changed")

    SYNC.case(_name)(_synced)
SYNC.allow("fsync-folder", "d/ d/f", lambda: _fsync("d"), None)
SYNC.allow("fsync-read-only", "f", lambda: _fsync("f"), None)
SYNC.refuse("fsync-of-a-fifo", "p|", errno.EINVAL, lambda: _fsync("p"))


def _fsync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


for _name, _flag in (("o-sync", os.O_SYNC), ("o-dsync", os.O_DSYNC)):

    def _with_flag(t: Place, flag: int = _flag) -> None:
        descriptor = t.open("f", os.O_RDWR | os.O_CREAT | flag)
        os.write(descriptor, data(2, 5000))
        t.check(read("f") == data(2, 5000), "the content differs")

    SYNC.case(_name)(_with_flag)

SYNC.case("direct", needs="direct")(lambda t: _direct(t))


def _direct(t: Place) -> None:
    import mmap

    descriptor = t.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    with mmap.mmap(-1, 8192) as buffer:
        buffer[:] = data(8, 8192)
        t.equal("written", os.pwrite(descriptor, buffer, 4096), 8192)
        t.check(read("f") == bytes(4096) + data(8, 8192), "read through the cache it is not what was written past it")
