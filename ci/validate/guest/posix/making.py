# SPDX-License-Identifier: Apache-2.0
"""mkdir(2), rmdir, mknod, mkfifo, symlink, readlink, unlink: what is made and removed, and what becomes of its parent."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
from collections.abc import Callable

from . import libc
from .book import Group
from .place import ALICE, CONTENT, Place, after, closing, mode, read, write

FOLDERS = Group("folders")
NODES = Group("nodes")
SYMLINKS = Group("symlinks")
UNLINK = Group("unlink")
GROUPS = [FOLDERS, NODES, SYMLINKS, UNLINK]

FOLDERS.refuse("rmdir-file", "f", errno.ENOTDIR, lambda: os.rmdir("f"))
FOLDERS.refuse("rmdir-symlink", "d/ l->d", errno.ENOTDIR, lambda: os.rmdir("l"))
FOLDERS.refuse("rmdir-with-file", "d/ d/f", errno.ENOTEMPTY, lambda: os.rmdir("d"))
FOLDERS.refuse("rmdir-with-folder", "d/ d/e/", errno.ENOTEMPTY, lambda: os.rmdir("d"))
FOLDERS.refuse("rmdir-with-hidden", "d/ d/.h", errno.ENOTEMPTY, lambda: os.rmdir("d"))
FOLDERS.refuse("rmdir-with-dangling", "d/ d/l->none", errno.ENOTEMPTY, lambda: os.rmdir("d"))
FOLDERS.refuse("rmdir-by-unlinkat-file", "f", errno.ENOTDIR, lambda: libc.unlinkat("f", libc.AT_REMOVEDIR))
FOLDERS.refuse("mkdir-below-file", "f", errno.ENOTDIR, lambda: os.mkdir("f/d"))
FOLDERS.refuse("mkdir-not-writable", "d/:755", errno.EACCES, lambda: os.mkdir("d/e"), user=ALICE)
FOLDERS.refuse("rmdir-not-writable", "d/:755 d/e/", errno.EACCES, lambda: os.rmdir("d/e"), user=ALICE)
FOLDERS.refuse("mkdir-over-all-kinds", "p|", errno.EEXIST, lambda: os.mkdir("p"))

for _name, _bits, _mask, _expected in (
    ("755", 0o777, 0o022, 0o755),
    ("0", 0, 0, 0),
    ("1777", 0o1777, 0, 0o1777),
    ("700", 0o777, 0o077, 0o700),
):

    def _made(t: Place, bits: int = _bits, mask: int = _mask, expected: int = _expected) -> None:
        os.umask(mask)
        os.mkdir("d", bits)
        t.equal("the mode", mode("d"), oct(expected))
        t.equal("links of the new one, and of its parent", (os.stat("d").st_nlink, os.stat(".").st_nlink), (2, 3))
        t.equal("what is in it", os.listdir("d"), [])

    FOLDERS.case(f"mkdir-mode-{_name}")(_made)


@FOLDERS.case("set-id-bits-are-not-for-mkdir")
def _set_id(t: Place) -> None:
    """mkdir(2): the set-id bits of the mode do not count; that of the group comes from the parent."""
    os.umask(0)
    os.mkdir("d", 0o6777)
    t.equal("the mode", mode("d"), oct(0o777))


@FOLDERS.case("dot-and-dot-dot", "d/ d/e/")
def _dots(t: Place) -> None:
    t.equal("d/e/.", os.stat("d/e/.").st_ino, os.stat("d/e").st_ino)
    t.equal("d/e/..", os.stat("d/e/..").st_ino, os.stat("d").st_ino)
    os.rename("d/e", "e")
    t.equal("e/.. after the move", os.stat("e/..").st_ino, os.stat(".").st_ino)


@FOLDERS.case("made-and-removed-again")
def _again(t: Place) -> None:
    for number in range(30):
        os.mkdir("d")
        write("d/f", b"%d" % number)
        t.equal("the names", os.listdir("d"), ["f"])
        os.unlink("d/f")
        os.rmdir("d")
    t.equal("what is left", (os.listdir("."), os.stat(".").st_nlink), ([], 2))


@FOLDERS.case("rmdir-of-an-open-folder", "d/")
def _open_folder(t: Place) -> None:
    descriptor = t.open("d", os.O_RDONLY)
    os.rmdir("d")
    t.equal("links", os.fstat(descriptor).st_nlink, 0)
    t.equal("names", os.listdir(descriptor), [])
    t.refuses("create in it", lambda: closing(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor)), errno.ENOENT)


_KINDS: dict[str, tuple[Callable[[], None], int]] = {
    "fifo": (lambda: os.mkfifo("n", 0o640), stat.S_IFIFO),
    "fifo-by-mknod": (lambda: os.mknod("n", stat.S_IFIFO | 0o640), stat.S_IFIFO),
    "socket": (lambda: os.mknod("n", stat.S_IFSOCK | 0o640), stat.S_IFSOCK),
    "file": (lambda: os.mknod("n", stat.S_IFREG | 0o640), stat.S_IFREG),
    "character-device": (lambda: os.mknod("n", stat.S_IFCHR | 0o640, os.makedev(1, 3)), stat.S_IFCHR),
    "block-device": (lambda: os.mknod("n", stat.S_IFBLK | 0o640, os.makedev(7, 200)), stat.S_IFBLK),
}
_NUMBERS = {"character-device": os.makedev(1, 3), "block-device": os.makedev(7, 200)}
for _name, (_make, _type) in _KINDS.items():

    def _kind(t: Place, make: Callable[[], None] = _make, kind: int = _type, number: int = _NUMBERS.get(_name, 0)) -> None:
        make()
        found = os.lstat("n")
        t.equal("the type", stat.S_IFMT(found.st_mode), kind)
        t.equal("mode, links, size", (mode("n"), found.st_nlink, found.st_size), ("0o640", 1, 0))
        t.equal("the device's number", found.st_rdev, number)
        os.link("n", "m")
        os.rename("n", "o")
        t.equal("links", os.lstat("o").st_nlink, 2)
        os.unlink("m")
        os.unlink("o")

    NODES.case(_name)(_kind)

NODES.refuse("folder", "", (errno.EPERM, errno.EINVAL), lambda: os.mknod("n", stat.S_IFDIR | 0o755))
NODES.refuse("unknown-type", "", errno.EINVAL, lambda: os.mknod("n", 0o050000 | 0o644))
NODES.refuse("device-by-user", "", errno.EPERM, lambda: os.mknod("n", stat.S_IFCHR | 0o600, os.makedev(1, 3)), user=ALICE)
NODES.allow("fifo-by-user", "", lambda: os.mkfifo("n"), None, user=ALICE)
NODES.allow("socket-by-user", "", lambda: os.mknod("n", stat.S_IFSOCK | 0o600), None, user=ALICE)
NODES.refuse("fifo-not-writable", "d/:755", errno.EACCES, lambda: os.mkfifo("d/n"), user=ALICE)


@NODES.case("large-device-number")
def _large(t: Place) -> None:
    """Twelve bits of major, twenty of minor number (makedev(3))."""
    number = os.makedev(0xFFF, 0xFFFFF)
    os.mknod("n", stat.S_IFCHR | 0o600, number)
    t.equal("the number", os.stat("n").st_rdev, number)


@NODES.case("null-device-works")
def _null(t: Place) -> None:
    os.mknod("n", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    descriptor = t.open("n", os.O_RDWR)
    t.equal("written and read", (os.write(descriptor, b"abc"), os.read(descriptor, 5)), (3, b""))


@NODES.case("fifo-carries-bytes", "p|")
def _fifo(t: Place) -> None:
    reader = t.open("p", os.O_RDONLY | os.O_NONBLOCK)
    writer = t.open("p", os.O_WRONLY)
    os.write(writer, b"through")
    t.equal("read", os.read(reader, 20), b"through")
    os.unlink("p")
    os.write(writer, b"nameless")
    t.equal("read after unlink", os.read(reader, 20), b"nameless")


@NODES.case("socket-connects")
def _socket(t: Place) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        t.check(stat.S_ISSOCK(os.lstat("s").st_mode), "what bind made is no socket")
        server.listen(1)
        client.connect("s")
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"hello")
            t.equal("received", accepted.recv(10), b"hello")


for _length in (1, 59, 60, 100, 255, 1023, 4000, 4095):

    def _target(t: Place, length: int = _length) -> None:
        """Short ones may lie in the inode, long ones in a block."""
        target = ("0123456789" * 410)[:length]
        os.symlink(target, "l")
        t.equal("the target", os.readlink("l"), target)
        t.equal("the size", os.lstat("l").st_size, length)
        os.rename("l", "m")
        t.equal("the target after a rename", os.readlink("m"), target)

    SYMLINKS.case(f"target-of-{_length}")(_target)

SYMLINKS.refuse("target-of-4096", "", errno.ENAMETOOLONG, lambda: os.symlink("x" * 4096, "l"))
SYMLINKS.refuse("empty-target", "", errno.ENOENT, lambda: os.symlink("", "l"))
SYMLINKS.refuse("readlink-file", "f", errno.EINVAL, lambda: os.readlink("f"))
SYMLINKS.refuse("readlink-folder", "d/", errno.EINVAL, lambda: os.readlink("d"))
SYMLINKS.refuse("not-writable", "d/:755", errno.EACCES, lambda: os.symlink("x", "d/l"), user=ALICE)
SYMLINKS.allow("relative-to-its-folder", "d/ d/f d/l->f", lambda: read("d/l"), CONTENT)
SYMLINKS.allow("absolute", "l->/proc/self", lambda: os.path.isdir("l/"), True)
SYMLINKS.allow("to-folder", "d/ d/f l->d", lambda: os.listdir("l"), ["f"])
SYMLINKS.allow("mode-is-777", "l->x", lambda: mode("l"), "0o777")
SYMLINKS.allow("unlink-keeps-the-target", "f l->f", lambda: after(lambda: os.unlink("l"), lambda: read("f")), CONTENT)
SYMLINKS.allow(
    "odd-bytes", "", lambda: after(lambda: os.symlink(os.fsdecode(b"\xff\n%s"), "l"), lambda: os.fsencode(os.readlink("l"))), b"\xff\n%s"
)


@SYMLINKS.case("readlink-cuts", "l->target")
def _cuts(t: Place) -> None:
    """readlink(2) fills the buffer and says how much."""
    buffer = ctypes.create_string_buffer(3)
    t.equal("the answer", libc.LIBC.readlink(b"l", buffer, 3), 3)
    t.equal("the buffer", buffer.raw, b"tar")


@SYMLINKS.case("owner-and-times-of-its-own", "f l->f")
def _own(t: Place) -> None:
    os.lchown("l", 5, 6)
    os.utime("l", ns=(10**9, 2 * 10**9), follow_symlinks=False)
    t.equal("the symlink", (os.lstat("l").st_uid, os.lstat("l").st_gid, os.lstat("l").st_mtime_ns), (5, 6, 2 * 10**9))
    t.equal("the file", (os.stat("f").st_uid, os.stat("f").st_gid), (0, 0))
    t.check(os.stat("f").st_mtime_ns > 2 * 10**9, "the file's time was set")


UNLINK.refuse("folder", "d/", errno.EISDIR, lambda: os.unlink("d"))
UNLINK.refuse("folder-as-user", "d/", (errno.EISDIR, errno.EPERM), lambda: os.unlink("d"), user=ALICE)
UNLINK.refuse("unlinkat-flags", "f", errno.EINVAL, lambda: libc.unlinkat("f", 0x8000))
UNLINK.refuse("not-writable", "d/:755 d/f:666", errno.EACCES, lambda: os.unlink("d/f"), user=ALICE)
UNLINK.allow("file-that-is-not-writable", "d/:777 d/f:0", lambda: os.unlink("d/f"), None, user=ALICE)
UNLINK.allow("symlink-to-folder", "d/ l->d", lambda: after(lambda: os.unlink("l"), lambda: os.listdir(".")), ["d"])
UNLINK.allow("dangling", "l->none", lambda: after(lambda: os.unlink("l"), lambda: os.listdir(".")), [])
UNLINK.allow("fifo", "p|", lambda: after(lambda: os.unlink("p"), lambda: os.listdir(".")), [])
UNLINK.allow("socket", "s=", lambda: after(lambda: os.unlink("s"), lambda: os.listdir(".")), [])


@UNLINK.case("one-of-several-names", "f g<f h<f")
def _names(t: Place) -> None:
    os.unlink("f")
    t.equal("links", os.stat("g").st_nlink, 2)
    os.unlink("g")
    t.equal("links and content", (os.stat("h").st_nlink, read("h")), (1, CONTENT))


@UNLINK.case("made-anew-is-another-file", "f")
def _anew(t: Place) -> None:
    held = t.open("f")
    os.unlink("f")
    write("f", b"new")
    t.check(os.fstat(held).st_ino != os.stat("f").st_ino, "the new file has the number of the one that is still open")
    t.equal("both contents", (os.pread(held, 50, 0), read("f")), (CONTENT, b"new"))
