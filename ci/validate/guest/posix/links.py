# SPDX-License-Identifier: Apache-2.0
"""link(2) and linkat: one file under several names."""

from __future__ import annotations

import errno
import os

from . import libc
from .book import Group
from .place import ALICE, CONTENT, Place, read, write

LINKS = Group("links")
GROUPS = [LINKS]

LINKS.refuse("folder", "d/", errno.EPERM, lambda: os.link("d", "e"))
LINKS.refuse("folder-by-symlink", "d/ l->d", errno.EPERM, lambda: libc.linkat("l", "e", libc.AT_SYMLINK_FOLLOW))
LINKS.refuse("over-file", "f g", errno.EEXIST, lambda: os.link("f", "g"))
LINKS.refuse("over-itself", "f", errno.EEXIST, lambda: os.link("f", "f"))
LINKS.refuse("over-folder", "f d/", errno.EEXIST, lambda: os.link("f", "d"))
LINKS.refuse("over-dangling", "f l->none", errno.EEXIST, lambda: os.link("f", "l"))
LINKS.refuse("dangling-followed", "l->none", errno.ENOENT, lambda: libc.linkat("l", "m", libc.AT_SYMLINK_FOLLOW))
LINKS.refuse("unknown-flag", "f", errno.EINVAL, lambda: libc.linkat("f", "g", 0x8000))
LINKS.refuse("to-another-file-system", "f", errno.EXDEV, lambda: os.link("f", "/run/vexci-never"))
LINKS.refuse("from-another-file-system", "", errno.EXDEV, lambda: os.link("/proc/version", "g"))
LINKS.refuse("not-writable", "f:644:1001 d/:755", errno.EACCES, lambda: os.link("f", "d/g"), user=ALICE)


@LINKS.case("one-file", "f")
def _one(t: Place) -> None:
    os.link("f", "g")
    t.check(os.path.samefile("f", "g"), "they are two files")
    t.equal("links by both names", (os.stat("f").st_nlink, os.stat("g").st_nlink), (2, 2))
    write("g", b"by g")
    os.chmod("f", 0o600)
    t.equal("by f, and the mode by g", (read("f"), os.stat("g").st_mode & 0o777), (b"by g", 0o600))


@LINKS.case("in-another-folder", "d/ d/e/ f")
def _elsewhere(t: Place) -> None:
    os.link("f", "d/e/g")
    os.unlink("f")
    t.equal("links and content", (os.stat("d/e/g").st_nlink, read("d/e/g")), (1, CONTENT))


@LINKS.case("many", "f")
def _many(t: Place) -> None:
    for number in range(300):
        os.link("f", f"g{number}")
    t.equal("links", os.stat("f").st_nlink, 301)
    for number in range(0, 300, 2):
        os.unlink(f"g{number}")
    t.equal("links then", os.stat("g1").st_nlink, 151)
    t.equal("content by the last", read("g299"), CONTENT)


@LINKS.case("of-a-symlink", "f l->f")
def _symlink(t: Place) -> None:
    """linkat(2) does not follow the last symlink unless it is told to."""
    libc.linkat("l", "m")
    libc.linkat("l", "g", libc.AT_SYMLINK_FOLLOW)
    t.check(os.path.islink("m") and os.lstat("l").st_nlink == 2, "m is no second name of the symlink")
    t.check(not os.path.islink("g") and os.stat("f").st_nlink == 2, "g is no second name of the file")


@LINKS.case("of-a-fifo", "p|")
def _fifo(t: Place) -> None:
    os.link("p", "q")
    t.equal("links", os.stat("q").st_nlink, 2)


@LINKS.case("of-an-open-file", "f")
def _open(t: Place) -> None:
    descriptor = t.open("f")
    libc.linkat(f"/proc/self/fd/{descriptor}", "g", libc.AT_SYMLINK_FOLLOW)
    libc.linkat("", "h", libc.AT_EMPTY_PATH, descriptor)
    t.equal("links", os.fstat(descriptor).st_nlink, 3)


@LINKS.case("of-an-unlinked-file", "f")
def _unlinked(t: Place) -> None:
    """A file that has lost its last name cannot get another (linkat(2): ENOENT)."""
    descriptor = t.open("f")
    os.unlink("f")
    t.refuses("link", lambda: libc.linkat(f"/proc/self/fd/{descriptor}", "g", libc.AT_SYMLINK_FOLLOW), errno.ENOENT)


@LINKS.case("into-a-removed-folder", "f d/")
def _removed(t: Place) -> None:
    descriptor = t.open("d", os.O_RDONLY)
    os.rmdir("d")
    t.refuses("link", lambda: os.link("f", "g", dst_dir_fd=descriptor), errno.ENOENT)
    t.equal("links", os.stat("f").st_nlink, 1)
