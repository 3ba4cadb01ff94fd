# SPDX-License-Identifier: Apache-2.0
"""rename(2), renameat2: what may go where, what it replaces, exchange, and the counts of links behind it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .place import ALICE, BOB, CONTENT, Place, after, mode, read, write

RENAME = Group("rename")
EXCHANGE = Group("exchange")
NOREPLACE = Group("noreplace")
GROUPS = [RENAME, EXCHANGE, NOREPLACE]


def _move(old: str, new: str, flags: int = 0) -> Callable[[], Any]:
    return lambda: libc.renameat2(old, new, flags)


RENAME.refuse("file-over-folder", "f d/", errno.EISDIR, _move("f", "d"))
RENAME.refuse("folder-over-file", "d/ f", errno.ENOTDIR, _move("d", "f"))
RENAME.refuse("folder-over-symlink-to-folder", "d/ e/ l->e", errno.ENOTDIR, _move("d", "l"))
RENAME.refuse("folder-over-fifo", "d/ p|", errno.ENOTDIR, _move("d", "p"))
RENAME.refuse("symlink-over-folder", "l->x d/", errno.EISDIR, _move("l", "d"))
RENAME.refuse("folder-over-full-folder", "d/ e/ e/f", (errno.ENOTEMPTY, errno.EEXIST), _move("d", "e"))
RENAME.refuse("folder-over-its-parent", "d/ d/e/", (errno.ENOTEMPTY, errno.EEXIST), _move("d/e", "d"))
RENAME.refuse("into-itself", "d/", errno.EINVAL, _move("d", "d/e"))
RENAME.refuse("into-own-subtree", "d/ d/e/ d/e/f/", errno.EINVAL, _move("d", "d/e/f/g"))
RENAME.refuse("over-own-subtree", "d/ d/e/ d/e/f/", errno.EINVAL, _move("d", "d/e/f"))
RENAME.refuse("file-over-its-folder", "d/ d/f", (errno.ENOTEMPTY, errno.EISDIR), _move("d/f", "d"))
RENAME.refuse("missing-over-file", "f", errno.ENOENT, _move("none", "f"))
RENAME.refuse("into-missing-folder", "f", errno.ENOENT, _move("f", "none/f"))
RENAME.refuse("below-a-file", "f g", errno.ENOTDIR, _move("f", "g/f"))
RENAME.refuse("to-another-file-system", "f", errno.EXDEV, _move("f", "/run/vexci-never"))
RENAME.refuse("unknown-flag", "f", errno.EINVAL, _move("f", "g", 0x100))
RENAME.refuse("noreplace-and-exchange", "f g", errno.EINVAL, _move("f", "g", libc.NOREPLACE | libc.EXCHANGE))
RENAME.refuse("from-a-folder-that-is-not-writable", "d/:755 d/f", errno.EACCES, _move("d/f", "g"), user=ALICE)
RENAME.refuse("to-a-folder-that-is-not-writable", "f d/:755", errno.EACCES, _move("f", "d/f"), user=ALICE)
RENAME.refuse("folder-to-another-parent-not-writable", "d/:755:1002 e/:777", errno.EACCES, _move("d", "e/d"), user=ALICE)
RENAME.allow("folder-of-another-in-the-same-parent", "d/:755:1002", _move("d", "e"), None, user=ALICE)

_SOURCES = {"file": "f", "symlink": "f->x", "fifo": "f|", "socket": "f="}
_TARGETS = {"nothing": "", "file": "g", "symlink": "g->y", "fifo": "g|", "dangling-symlink": "g->none"}
for _source, _old in _SOURCES.items():
    for _target, _new in _TARGETS.items():

        def _replaces(t: Place) -> None:
            before = os.lstat("f")
            os.rename("f", "g")
            t.equal("the names", os.listdir("."), ["g"])
            after = os.lstat("g")
            t.equal("number, mode, links", (after.st_ino, after.st_mode, after.st_nlink), (before.st_ino, before.st_mode, 1))

        RENAME.case(f"{_source}-over-{_target}", f"{_old} {_new}")(_replaces)


@RENAME.case("to-itself", "f")
def _itself(t: Place) -> None:
    before = t.state()
    os.rename("f", "f")
    t.equal("what is there", t.state(), before)


@RENAME.case("over-another-name-of-the-same-file", "f g<f")
def _same(t: Place) -> None:
    """rename(2): if both are links to the same file, nothing is done and it succeeds."""
    os.rename("f", "g")
    t.equal("names and links", (sorted(os.listdir(".")), os.stat("f").st_nlink), (["f", "g"], 2))


@RENAME.case("replaced-file-loses-a-link", "f g h<g")
def _loses(t: Place) -> None:
    os.rename("f", "g")
    t.equal("links of what was replaced", os.stat("h").st_nlink, 1)


@RENAME.case("replaced-file-stays-open", "f g")
def _stays(t: Place) -> None:
    write("g", b"old")
    held = t.open("g")
    os.rename("f", "g")
    t.equal("by the descriptor, by name", (os.pread(held, 10, 0), read("g")), (b"old", CONTENT))
    t.equal("links of the old one", os.fstat(held).st_nlink, 0)


@RENAME.case("folder-to-another-parent", "a/ b/ a/d/ a/d/f")
def _parents(t: Place) -> None:
    os.rename("a/d", "b/d")
    t.equal("links of both parents", (os.stat("a").st_nlink, os.stat("b").st_nlink), (2, 3))
    t.check(os.path.samefile("b/d/..", "b"), "b/d/.. is not b")
    t.equal("the content", read("b/d/f"), CONTENT)


@RENAME.case("folder-over-empty-folder", "d/ d/f e/")
def _over_empty(t: Place) -> None:
    os.rename("d", "e")
    t.equal("names, links of the parent, content", (os.listdir("."), os.stat(".").st_nlink, read("e/f")), (["e"], 3, CONTENT))


@RENAME.case("folder-over-empty-folder-elsewhere", "a/ a/d/ b/ b/e/")
def _over_elsewhere(t: Place) -> None:
    os.rename("a/d", "b/e")
    t.equal("links of both parents", (os.stat("a").st_nlink, os.stat("b").st_nlink), (2, 3))


@RENAME.case("replaced-folder-stays-open", "d/ e/")
def _folder_open(t: Place) -> None:
    held = t.open("e", os.O_RDONLY)
    os.rename("d", "e")
    t.equal("links of the old one", os.fstat(held).st_nlink, 0)
    t.refuses("create in it", lambda: os.mkdir("x", dir_fd=held), errno.ENOENT)


@RENAME.case("to-its-parent", "d/ d/f")
def _up(t: Place) -> None:
    os.rename("d/f", "f")
    t.equal("names", (sorted(os.listdir(".")), os.listdir("d")), (["d", "f"], []))


@RENAME.case("keeps-everything-else", "f:640")
def _keeps(t: Place) -> None:
    os.setxattr("f", "user.a", b"value")
    os.utime("f", ns=(10**9, 2 * 10**9))
    os.rename("f", "g")
    found = os.stat("g")
    t.equal("mode and time", (mode("g"), found.st_mtime_ns), ("0o640", 2 * 10**9))
    t.equal("the attribute", os.getxattr("g", "user.a"), b"value")


@RENAME.case("never-without-a-name", "f g")
def _atomic(t: Place) -> None:
    """While a name is replaced again and again, whoever opens it finds the old file or the new one (rename(2))."""
    pid = os.fork()
    if pid == 0:
        for _ in range(200):
            write("f", CONTENT)
            os.rename("f", "g")
        os._exit(0)
    seen = 0
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        t.equal("the content", read("g"), CONTENT)
        seen += 1
    t.check(seen > 0, "nothing was read meanwhile")


STICKY = "d/:1777 d/f:666:1002 d/e/:777:1002"
RENAME.refuse("sticky-from", STICKY, (errno.EPERM, errno.EACCES), _move("d/f", "g"), user=ALICE)
RENAME.refuse("sticky-inside", STICKY, (errno.EPERM, errno.EACCES), _move("d/f", "d/g"), user=ALICE)
RENAME.refuse("sticky-over", "d/:1777 d/f:666:1002 g:666:1001", (errno.EPERM, errno.EACCES), _move("g", "d/f"), user=ALICE)
RENAME.refuse("sticky-folder", STICKY, (errno.EPERM, errno.EACCES), _move("d/e", "e"), user=ALICE)
RENAME.refuse(
    "sticky-exchange", "d/:1777 d/f:666:1002 g:666:1001", (errno.EPERM, errno.EACCES), _move("g", "d/f", libc.EXCHANGE), user=ALICE
)
RENAME.allow("sticky-by-owner", STICKY, _move("d/f", "d/g"), None, user=BOB)
RENAME.allow("sticky-by-owner-of-the-folder", "d/:1777:1001 d/f:666:1002", _move("d/f", "d/g"), None, user=ALICE)
RENAME.allow("sticky-by-root", STICKY, _move("d/f", "g"), None)


def _exchanged(t: Place, old: str, new: str) -> None:
    first, second = os.lstat(old), os.lstat(new)
    libc.renameat2(old, new, libc.EXCHANGE)
    t.equal("the numbers", (os.lstat(old).st_ino, os.lstat(new).st_ino), (second.st_ino, first.st_ino))
    t.equal("links", (os.lstat(old).st_nlink, os.lstat(new).st_nlink), (second.st_nlink, first.st_nlink))


for _name, _given in (
    ("files", "f g"),
    ("file-and-folder", "f g/ g/h"),
    ("folder-and-file", "f/ f/h g"),
    ("folders", "f/ f/h g/ g/i"),
    ("file-and-symlink", "f g->x"),
    ("fifo-and-socket", "f| g="),
):
    EXCHANGE.case(_name, _given)(lambda t: _exchanged(t, "f", "g"))


@EXCHANGE.case("elsewhere", "a/ a/f b/ b/g/ b/g/h")
def _elsewhere(t: Place) -> None:
    _exchanged(t, "a/f", "b/g")
    t.equal("links of the parents", (os.stat("a").st_nlink, os.stat("b").st_nlink), (3, 2))
    t.check(os.path.samefile("a/f/..", "a"), "the moved folder's .. is not its new parent")


@EXCHANGE.case("folders-elsewhere", "a/ a/f/ b/ b/g/")
def _folders(t: Place) -> None:
    _exchanged(t, "a/f", "b/g")
    t.equal("links of the parents", (os.stat("a").st_nlink, os.stat("b").st_nlink), (3, 3))
    t.check(os.path.samefile("a/f/..", "a") and os.path.samefile("b/g/..", "b"), "a .. is wrong")


@EXCHANGE.case("same-file", "f g<f")
def _both_names(t: Place) -> None:
    libc.renameat2("f", "g", libc.EXCHANGE)
    t.equal("names and links", (sorted(os.listdir(".")), os.stat("f").st_nlink), (["f", "g"], 2))


EXCHANGE.refuse("missing-target", "f", errno.ENOENT, _move("f", "none", libc.EXCHANGE))
EXCHANGE.refuse("missing-source", "f", errno.ENOENT, _move("none", "f", libc.EXCHANGE))
EXCHANGE.refuse("with-own-subtree", "d/ d/e/", errno.EINVAL, _move("d", "d/e", libc.EXCHANGE))
EXCHANGE.refuse("with-own-parent", "d/ d/e/", (errno.EINVAL, errno.ENOTEMPTY), _move("d/e", "d", libc.EXCHANGE))
EXCHANGE.refuse("not-writable", "f d/:755 d/g", errno.EACCES, _move("f", "d/g", libc.EXCHANGE), user=ALICE)

for _target, _new in {**{k: v for k, v in _TARGETS.items() if v}, "folder": "g/"}.items():
    NOREPLACE.refuse(f"over-{_target}", f"f {_new}", errno.EEXIST, _move("f", "g", libc.NOREPLACE))
    NOREPLACE.refuse(f"folder-over-{_target}", f"f/ {_new}", errno.EEXIST, _move("f", "g", libc.NOREPLACE))
NOREPLACE.refuse("over-itself", "f", errno.EEXIST, _move("f", "f", libc.NOREPLACE))
NOREPLACE.refuse("over-another-name", "f g<f", errno.EEXIST, _move("f", "g", libc.NOREPLACE))
NOREPLACE.allow("over-nothing", "f", lambda: after(lambda: libc.renameat2("f", "g", libc.NOREPLACE), lambda: os.listdir(".")), ["g"])
NOREPLACE.allow(
    "folder-elsewhere", "d/ e/", lambda: after(lambda: libc.renameat2("d", "e/d", libc.NOREPLACE), lambda: os.stat("e").st_nlink), 3
)


@RENAME.case("whiteout", "f", needs="whiteout")
def _whiteout(t: Place) -> None:
    libc.renameat2("f", "g", libc.WHITEOUT)
    found = os.lstat("f")
    t.equal("what is left behind", (oct(found.st_mode & 0o170000), found.st_rdev), ("0o20000", 0))
