# SPDX-License-Identifier: Apache-2.0
"""Files without a name: unlinked while open, and made by O_TMPFILE."""

from __future__ import annotations

import errno
import os

from . import libc
from .book import Group
from .content import data
from .place import ALICE, CONTENT, Place, closing, read, write

UNLINKED = Group("unlinked")
TMPFILE = Group("tmpfile")
GROUPS = [UNLINKED, TMPFILE]
_TMP = os.O_TMPFILE | os.O_RDWR


@UNLINKED.case("read-and-write", "f")
def _works(t: Place) -> None:
    descriptor = t.open("f")
    os.unlink("f")
    t.equal("links", os.fstat(descriptor).st_nlink, 0)
    content = data(1, 100_000)
    t.equal("written", os.pwrite(descriptor, content, 0), 100_000)
    os.fsync(descriptor)
    t.check(os.pread(descriptor, 100_000, 0) == content, "the content differs")
    os.ftruncate(descriptor, 10)
    t.equal("after truncate", os.pread(descriptor, 100, 0), content[:10])
    t.equal("names", os.listdir("."), [])


@UNLINKED.case("by-two-descriptors", "f")
def _two(t: Place) -> None:
    first, second = t.open("f"), t.open("f")
    os.unlink("f")
    os.close(first)
    t.equal("by the other", os.pread(second, 100, 0), CONTENT)


@UNLINKED.case("reopened-by-proc", "f")
def _proc(t: Place) -> None:
    descriptor = t.open("f")
    os.unlink("f")
    again = t.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    os.write(again, b"again")
    t.equal("by the first", os.pread(descriptor, 5, 0), b"again")


@UNLINKED.case("changed", "f")
def _changed(t: Place) -> None:
    descriptor = t.open("f")
    os.unlink("f")
    os.fchmod(descriptor, 0o600)
    os.fchown(descriptor, 5, 6)
    os.utime(descriptor, ns=(10**9, 2 * 10**9))
    found = os.fstat(descriptor)
    t.equal("mode, owner, time", (found.st_mode & 0o777, found.st_uid, found.st_gid, found.st_mtime_ns), (0o600, 5, 6, 2 * 10**9))


@UNLINKED.case("inherited-by-a-child", "f")
def _inherited(t: Place) -> None:
    descriptor = t.open("f")
    os.unlink("f")
    t.equal("in a child", t.in_child(ALICE, lambda: os.pread(descriptor, 100, 0).decode()), CONTENT.decode())


@UNLINKED.case("space-comes-back")
def _space(t: Place) -> None:
    """The blocks of an unlinked file are free once it is closed, and not before."""

    def free() -> int:
        os.sync()
        return os.statvfs(".").f_bfree * os.statvfs(".").f_frsize

    size = 4 << 20
    write("f", b"")
    before = free()
    descriptor = os.open("f", os.O_RDWR)
    os.write(descriptor, data(1, size))
    os.fsync(descriptor)
    os.unlink("f")
    held = before - free()
    os.close(descriptor)
    t.check(held >= size, f"{held} bytes are taken by an open file of {size}")
    t.context.until("the space is free again", lambda: before - free() < size // 4)


@UNLINKED.case("many")
def _many(t: Place) -> None:
    descriptors = []
    for number in range(200):
        descriptors.append(t.open("f"))
        os.write(descriptors[-1], b"%d" % number)
        os.unlink("f")
    seen = [os.pread(descriptor, 10, 0) for descriptor in descriptors]
    t.equal("the contents", seen, [b"%d" % number for number in range(200)])


@TMPFILE.case("has-no-name", needs="tmpfile")
def _no_name(t: Place) -> None:
    descriptor = t.open(".", _TMP, 0o640)
    os.write(descriptor, CONTENT)
    found = os.fstat(descriptor)
    t.equal("links, mode, size", (found.st_nlink, found.st_mode & 0o7777, found.st_size), (0, 0o640, len(CONTENT)))
    t.equal("names", os.listdir("."), [])


@TMPFILE.case("gets-a-name", needs="tmpfile")
def _gets(t: Place) -> None:
    descriptor = t.open(".", _TMP, 0o640)
    os.write(descriptor, CONTENT)
    libc.linkat(f"/proc/self/fd/{descriptor}", "f", libc.AT_SYMLINK_FOLLOW)
    t.equal("content and links", (read("f"), os.stat("f").st_nlink), (CONTENT, 1))
    libc.linkat("", "g", libc.AT_EMPTY_PATH, descriptor)
    t.equal("links then", os.stat("f").st_nlink, 2)


@TMPFILE.case("exclusive-never-gets-one", needs="tmpfile")
def _exclusive(t: Place) -> None:
    descriptor = t.open(".", _TMP | os.O_EXCL, 0o600)
    t.refuses("link", lambda: libc.linkat(f"/proc/self/fd/{descriptor}", "f", libc.AT_SYMLINK_FOLLOW), errno.ENOENT)


@TMPFILE.case("over-a-name", "f", needs="tmpfile")
def _over(t: Place) -> None:
    descriptor = t.open(".", _TMP, 0o600)
    t.refuses("link", lambda: libc.linkat(f"/proc/self/fd/{descriptor}", "f", libc.AT_SYMLINK_FOLLOW), errno.EEXIST)


@TMPFILE.case("of-a-setgid-folder", "d/", needs="tmpfile")
def _group(t: Place) -> None:
    os.chown("d", 0, 77)
    os.chmod("d", 0o2777)
    t.equal("the group", os.fstat(t.open("d", _TMP, 0o600)).st_gid, 77)


TMPFILE.refuse("needs-writing", "d/", errno.EINVAL, lambda: closing(os.open("d", os.O_TMPFILE | os.O_RDONLY)))
TMPFILE.refuse("in-a-file", "f", errno.ENOTDIR, lambda: closing(os.open("f", _TMP)))
TMPFILE.refuse("not-writable", "d/:755", errno.EACCES, lambda: closing(os.open("d", _TMP)), user=ALICE, needs="tmpfile")
