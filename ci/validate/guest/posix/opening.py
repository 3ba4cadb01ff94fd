# SPDX-License-Identifier: Apache-2.0
"""open(2): flags, access modes, what is made and how, and the errors that are its own."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from .book import Group
from .place import ALICE, CONTENT, Place, after, closing, mode, read, write

OPEN = Group("open")
DESCRIPTORS = Group("descriptors")
GROUPS = [OPEN, DESCRIPTORS]


def _opened(path: str, flags: int, bits: int = 0o644) -> Callable[[], Any]:
    return lambda: closing(os.open(path, flags, bits))


_NEW = os.O_WRONLY | os.O_CREAT
OPEN.refuse("missing", "", errno.ENOENT, _opened("none", os.O_RDWR))
OPEN.refuse("exclusive-file", "f", errno.EEXIST, _opened("f", _NEW | os.O_EXCL))
OPEN.refuse("exclusive-folder", "d/", errno.EEXIST, _opened("d", _NEW | os.O_EXCL))
OPEN.refuse("exclusive-symlink", "f l->f", errno.EEXIST, _opened("l", _NEW | os.O_EXCL))
OPEN.refuse("exclusive-dangling", "l->none", errno.EEXIST, _opened("l", _NEW | os.O_EXCL))
OPEN.refuse("folder-for-writing", "d/", errno.EISDIR, _opened("d", os.O_WRONLY))
OPEN.refuse("folder-for-both", "d/", errno.EISDIR, _opened("d", os.O_RDWR))
OPEN.refuse("folder-truncate", "d/", errno.EISDIR, _opened("d", os.O_RDONLY | os.O_TRUNC))
OPEN.refuse("folder-create", "d/", errno.EISDIR, _opened("d", os.O_RDONLY | os.O_CREAT))
OPEN.refuse("file-as-folder", "f", errno.ENOTDIR, _opened("f", os.O_RDONLY | os.O_DIRECTORY))
OPEN.refuse("fifo-as-folder", "p|", errno.ENOTDIR, _opened("p", os.O_RDONLY | os.O_DIRECTORY))
OPEN.refuse("symlink-to-file-as-folder", "f l->f", errno.ENOTDIR, _opened("l", os.O_RDONLY | os.O_DIRECTORY))
OPEN.refuse("nofollow", "f l->f", errno.ELOOP, _opened("l", os.O_RDONLY | os.O_NOFOLLOW))
OPEN.refuse("nofollow-create", "l->none", errno.ELOOP, _opened("l", _NEW | os.O_NOFOLLOW))
OPEN.refuse("nofollow-folder", "d/ l->d", errno.ENOTDIR, _opened("l", os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY))
OPEN.refuse("loop", "l->m m->l", errno.ELOOP, _opened("l", os.O_RDONLY))
OPEN.refuse("dangling", "l->none", errno.ENOENT, _opened("l", os.O_RDONLY))
OPEN.refuse("dangling-in-missing-folder", "l->none/f", errno.ENOENT, _opened("l", _NEW))
OPEN.refuse("socket", "s=", errno.ENXIO, _opened("s", os.O_RDONLY))
OPEN.refuse("fifo-write-nobody-reads", "p|", errno.ENXIO, _opened("p", os.O_WRONLY | os.O_NONBLOCK))
OPEN.refuse("create-below-file", "f", errno.ENOTDIR, _opened("f/g", _NEW))
OPEN.allow("fifo-read-nonblocking", "p|", _opened("p", os.O_RDONLY | os.O_NONBLOCK), None)
OPEN.allow("path-only-symlink", "l->none", _opened("l", os.O_PATH | os.O_NOFOLLOW), None)
OPEN.allow("noatime-by-owner", "f", _opened("f", os.O_RDONLY | os.O_NOATIME), None)
OPEN.refuse("noatime-by-other", "f", errno.EPERM, _opened("f", os.O_RDONLY | os.O_NOATIME), user=ALICE)


@OPEN.case("device-that-is-none")
def _no_device(t: Place) -> None:
    """A device file of a number that no driver has."""
    os.mknod("dev", 0o600 | stat.S_IFCHR, os.makedev(4000, 1))
    t.refuses("open", _opened("dev", os.O_RDONLY), errno.ENXIO)


for _name, _bits, _mask, _expected in (
    ("644", 0o644, 0o022, 0o644),
    ("777-by-umask-022", 0o777, 0o022, 0o755),
    ("777-by-umask-077", 0o777, 0o077, 0o700),
    ("0", 0, 0o022, 0),
    ("all-bits-masked", 0o777, 0o777, 0),
    ("set-id-bits", 0o6755, 0, 0o6755),
    ("sticky", 0o1644, 0, 0o1644),
):

    def _with_mode(t: Place, bits: int = _bits, mask: int = _mask, expected: int = _expected) -> None:
        os.umask(mask)
        t.open("f", os.O_RDWR | os.O_CREAT, bits)
        t.equal("the mode", mode("f"), oct(expected))
        t.equal("the size", os.stat("f").st_size, 0)
        t.equal("the links", os.stat("f").st_nlink, 1)

    OPEN.case(f"mode-{_name}")(_with_mode)


@OPEN.case("mode-counts-for-others-only")
def _mode_later(t: Place) -> None:
    """A file that is made without any permission can be written by who made it (open(2), mode)."""

    def make() -> int:
        descriptor = os.open("f", os.O_RDWR | os.O_CREAT, 0)
        return os.write(descriptor, b"abc")

    t.equal("written", t.as_user(ALICE, make), 3)
    t.refuses("open it again", lambda: t.as_user(ALICE, _opened("f", os.O_RDONLY)), errno.EACCES)


@OPEN.case("owner-is-who-made-it")
def _owner(t: Place) -> None:
    t.as_user(ALICE, lambda: write("f", b""))
    t.equal("the owner", (os.stat("f").st_uid, os.stat("f").st_gid), (ALICE, ALICE))


@OPEN.case("group-of-a-setgid-folder", "d/")
def _group(t: Place) -> None:
    os.chown("d", 0, 77)
    os.chmod("d", 0o2777)
    t.as_user(ALICE, lambda: after(lambda: write("d/f", b""), lambda: os.mkdir("d/e")))
    t.equal("the group of the file", os.stat("d/f").st_gid, 77)
    t.equal("the group of the folder", os.stat("d/e").st_gid, 77)
    t.equal("the folder's own bit", mode("d/e"), oct(0o2755))


@OPEN.case("truncates", "f")
def _truncates(t: Place) -> None:
    t.open("f", os.O_WRONLY | os.O_TRUNC)
    t.equal("the size", os.stat("f").st_size, 0)


@OPEN.case("create-keeps-what-is-there", "f:600")
def _keeps(t: Place) -> None:
    t.open("f", os.O_RDWR | os.O_CREAT, 0o777)
    t.equal("content and mode", (read("f"), mode("f")), (CONTENT, "0o600"))


@OPEN.case("create-through-dangling", "l->made")
def _dangling(t: Place) -> None:
    t.open("l", os.O_WRONLY | os.O_CREAT)
    t.equal("the names", sorted(os.listdir(".")), ["l", "made"])


@OPEN.case("append-goes-to-the-end", "f")
def _append(t: Place) -> None:
    first, second = (t.open("f", os.O_WRONLY | os.O_APPEND) for _ in range(2))
    os.write(first, b"1")
    os.write(second, b"2")
    os.lseek(first, 0, os.SEEK_SET)
    os.write(first, b"3")
    t.equal("the content", read("f"), CONTENT + b"123")
    t.equal("the position", os.lseek(first, 0, os.SEEK_CUR), len(CONTENT) + 3)


@OPEN.case("append-and-pwrite", "f")
def _append_pwrite(t: Place) -> None:
    """pwrite(2), BUGS: Linux appends, whatever the offset."""
    os.pwrite(t.open("f", os.O_WRONLY | os.O_APPEND), b"x", 0)
    t.equal("the content", read("f"), CONTENT + b"x")


DESCRIPTORS.refuse("read-of-write-only", "f", errno.EBADF, lambda: _with("f", os.O_WRONLY, lambda fd: os.read(fd, 1)))
DESCRIPTORS.refuse("write-of-read-only", "f", errno.EBADF, lambda: _with("f", os.O_RDONLY, lambda fd: os.write(fd, b"x")))
DESCRIPTORS.refuse("truncate-of-read-only", "f", errno.EINVAL, lambda: _with("f", os.O_RDONLY, lambda fd: os.ftruncate(fd, 0)))
DESCRIPTORS.refuse("read-of-folder", "d/", errno.EISDIR, lambda: _with("d", os.O_RDONLY, lambda fd: os.read(fd, 1)))
DESCRIPTORS.refuse("write-of-folder", "d/", errno.EBADF, lambda: _with("d", os.O_RDONLY, lambda fd: os.write(fd, b"x")))
DESCRIPTORS.refuse("truncate-of-folder", "d/", errno.EINVAL, lambda: _with("d", os.O_RDONLY, lambda fd: os.ftruncate(fd, 0)))
DESCRIPTORS.refuse("read-of-path-only", "f", errno.EBADF, lambda: _with("f", os.O_PATH, lambda fd: os.read(fd, 1)))
DESCRIPTORS.refuse("chmod-of-path-only", "f", errno.EBADF, lambda: _with("f", os.O_PATH, lambda fd: os.fchmod(fd, 0)))
DESCRIPTORS.refuse("seek-before-the-start", "f", errno.EINVAL, lambda: _with("f", os.O_RDONLY, lambda fd: os.lseek(fd, -1, os.SEEK_SET)))
DESCRIPTORS.refuse("seek-whence", "f", errno.EINVAL, lambda: _with("f", os.O_RDONLY, lambda fd: os.lseek(fd, 0, 99)))
DESCRIPTORS.refuse("pread-negative", "f", errno.EINVAL, lambda: _with("f", os.O_RDONLY, lambda fd: os.pread(fd, 1, -1)))
DESCRIPTORS.refuse("pwrite-negative", "f", errno.EINVAL, lambda: _with("f", os.O_RDWR, lambda fd: os.pwrite(fd, b"x", -1)))
DESCRIPTORS.refuse("openat-of-file", "f", errno.ENOTDIR, lambda: _with("f", os.O_RDONLY, lambda fd: os.stat("x", dir_fd=fd)))
DESCRIPTORS.refuse("fchdir-of-file", "f", errno.ENOTDIR, lambda: _with("f", os.O_RDONLY, os.fchdir))


def _with(path: str, flags: int, call: Callable[[int], Any]) -> None:
    descriptor = os.open(path, flags)
    try:
        call(descriptor)
    finally:
        os.close(descriptor)


@DESCRIPTORS.case("share-a-position", "f")
def _shared(t: Place) -> None:
    first = t.open("f")
    second = t.keep(os.dup(first))
    os.read(first, 7)
    t.equal("the position of the copy", os.lseek(second, 0, os.SEEK_CUR), 7)


@DESCRIPTORS.case("own-position-each", "f")
def _own(t: Place) -> None:
    first, second = t.open("f"), t.open("f")
    os.read(first, 7)
    t.equal("the position of the other", os.lseek(second, 0, os.SEEK_CUR), 0)
    os.write(second, b"C")
    t.equal("what the first reads", os.pread(first, 1, 0), b"C")


@DESCRIPTORS.case("keep-permissions", "f:644")
def _permissions_kept(t: Place) -> None:
    """What a descriptor may do was decided when it was opened."""

    def later() -> str:
        descriptor = os.open("mine", os.O_RDWR | os.O_CREAT, 0o600)
        os.chmod("mine", 0)
        os.write(descriptor, b"abc")
        return os.pread(descriptor, 3, 0).decode()

    t.equal("what was read", t.as_user(ALICE, later), "abc")


@DESCRIPTORS.case("folder-relative", "d/ d/f")
def _relative(t: Place) -> None:
    folder = t.open("d", os.O_RDONLY | os.O_DIRECTORY)
    os.rename("d", "e")
    t.equal("the size", os.stat("f", dir_fd=folder).st_size, len(CONTENT))
    os.mkdir("sub", dir_fd=folder)
    os.symlink("f", "l", dir_fd=folder)
    os.link("f", "g", src_dir_fd=folder, dst_dir_fd=folder)
    os.rename("g", "h", src_dir_fd=folder, dst_dir_fd=folder)
    os.unlink("f", dir_fd=folder)
    os.rmdir("sub", dir_fd=folder)
    t.equal("the names", sorted(os.listdir("e")), ["h", "l"])
