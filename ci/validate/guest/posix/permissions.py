# SPDX-License-Identifier: Apache-2.0
"""Who may do what: modes of files and folders for owner, group and others, chmod(2), chown(2), access(2), sticky and set-id bits."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from . import libc
from .book import Group
from .place import ALICE, BOB, CONTENT, STAFF, Place, after, closing, mode, read, write

ACCESS = Group("access")
CHMOD = Group("chmod")
CHOWN = Group("chown")
STICKY = Group("sticky")
SET_ID = Group("set-id")
GROUPS = [ACCESS, CHMOD, CHOWN, STICKY, SET_ID]
_DENIED = (errno.EPERM, errno.EACCES)


def _try(call: Callable[[], Any]) -> bool:
    try:
        call()
    except PermissionError:
        return False
    return True


def _file_answers() -> list[bool]:
    """Reading, writing, executing of `f`, as the system calls answer."""
    return [
        _try(lambda: closing(os.open("f", os.O_RDONLY))),
        _try(lambda: closing(os.open("f", os.O_WRONLY))),
        os.access("f", os.R_OK),
        os.access("f", os.W_OK),
        os.access("f", os.X_OK),
    ]


def _folder_answers() -> list[bool]:
    """Listing `d`, reaching what is in it, making and removing names."""
    return [
        _try(lambda: os.listdir("d")),
        _try(lambda: os.stat("d/f")),
        _try(lambda: write("d/new", b"")),
        _try(lambda: os.unlink("d/f")),
    ]


# Who asks: the place of the three bits that count, the user, the groups. Owner ALICE, group STAFF.
_WHO: dict[str, tuple[int, int, tuple[int, ...]]] = {"owner": (6, ALICE, (STAFF,)), "group": (3, BOB, (STAFF,)), "others": (0, BOB, ())}
for (_name, (_shift, _uid, _groups)), _bits in itertools.product(_WHO.items(), range(8)):

    def _file(t: Place, shift: int = _shift, uid: int = _uid, groups: tuple[int, ...] = _groups, bits: int = _bits) -> None:
        """Only the first class that fits counts: the others have all the bits that this one has not."""
        write("f", CONTENT)
        os.chown("f", ALICE, STAFF)
        os.chmod("f", 0o777 ^ (7 << shift) | bits << shift)
        r, w, x = (bool(bits & bit) for bit in (4, 2, 1))
        t.equal("open to read, to write, access r, w, x", t.as_user(uid, _file_answers, groups=groups), [r, w, r, w, x])

    def _folder(t: Place, shift: int = _shift, uid: int = _uid, groups: tuple[int, ...] = _groups, bits: int = _bits) -> None:
        t.make("d/ d/f")
        os.chown("d", ALICE, STAFF)
        os.chmod("d", 0o777 ^ (7 << shift) | bits << shift)
        r, w, x = (bool(bits & bit) for bit in (4, 2, 1))
        t.equal("list, reach, make, remove", t.as_user(uid, _folder_answers, groups=groups), [r, x, w and x, w and x])

    ACCESS.case(f"file-{_bits}-{_name}")(_file)
    ACCESS.case(f"folder-{_bits}-{_name}")(_folder)

ACCESS.allow("root-reads-without-bits", "f:0", lambda: read("f"), CONTENT)
ACCESS.allow("root-writes-without-bits", "f:0", lambda: after(lambda: write("f", b""), lambda: read("f")), b"")
ACCESS.allow("root-executes-with-no-x", "f:666", lambda: os.access("f", os.X_OK), False)
ACCESS.allow("root-executes-with-one-x", "f:1", lambda: os.access("f", os.X_OK), True)
ACCESS.allow("root-in-a-closed-folder", "d/ d/f d/g d/h/:0", lambda: after(lambda: os.mkdir("d/h/i"), lambda: os.listdir("d/h")), ["i"])
ACCESS.refuse("execute-without-x", "f:644", errno.EACCES, lambda: os.execv("./f", ["f"]), user=ALICE)
ACCESS.refuse("chdir-without-x", "d/:744", errno.EACCES, lambda: os.chdir("d"), user=ALICE)
ACCESS.refuse("access-through-closed-folder", "d/:700 d/f", errno.EACCES, lambda: os.stat("d/f"), user=ALICE)
ACCESS.refuse("truncate-by-open", "f:444", errno.EACCES, lambda: closing(os.open("f", os.O_RDONLY | os.O_TRUNC)), user=ALICE)


def _chmod(path: str, bits: int) -> str:
    os.chmod(path, bits)
    return mode(path)


def _chown(uid: int, gid: int) -> tuple[int, int]:
    os.chown("f", uid, gid)
    return _owner("f")


for _bits in (0, 0o1, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o7777):
    CHMOD.allow(f"file-{_bits:o}", "f", partial(_chmod, "f", _bits), oct(_bits))
    CHMOD.allow(f"folder-{_bits:o}", "d/", partial(_chmod, "d", _bits), oct(_bits))
CHMOD.allow("by-symlink", "f l->f", lambda: after(lambda: os.chmod("l", 0o600), lambda: mode("f")), "0o600")
CHMOD.allow("by-descriptor", "f", lambda: after(lambda: _fchmod(0o640), lambda: mode("f")), "0o640")
CHMOD.allow("by-owner", "f:644:1001", lambda: after(lambda: os.chmod("f", 0o4700), lambda: mode("f")), "0o4700", user=ALICE)
CHMOD.allow("fifo", "p|", lambda: after(lambda: os.chmod("p", 0o622), lambda: mode("p")), "0o622")
CHMOD.refuse("by-other", "f:666", errno.EPERM, lambda: os.chmod("f", 0o777), user=ALICE)
CHMOD.refuse("folder-by-other", "d/:777", errno.EPERM, lambda: os.chmod("d", 0o700), user=ALICE)
CHMOD.refuse("dangling", "l->none", errno.ENOENT, lambda: os.chmod("l", 0o600))


def _fchmod(bits: int) -> None:
    descriptor = os.open("f", os.O_RDONLY)
    try:
        os.fchmod(descriptor, bits)
    finally:
        os.close(descriptor)


@CHMOD.case("setgid-of-a-foreign-group", "f")
def _foreign(t: Place) -> None:
    """chmod(2): whoever is not in the file's group and has no privilege loses S_ISGID, without an error."""
    os.chown("f", ALICE, STAFF)
    t.as_user(ALICE, lambda: os.chmod("f", 0o2755))
    t.equal("by a stranger to the group", mode("f"), "0o755")
    t.as_user(ALICE, lambda: os.chmod("f", 0o2755), groups=(STAFF,))
    t.equal("by a member", mode("f"), "0o2755")


@CHMOD.case("all-names-have-it", "f g<f")
def _names(t: Place) -> None:
    os.chmod("f", 0o611)
    t.equal("by the other name", mode("g"), "0o611")


def _owner(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_uid, found.st_gid


for _given, _uid, _gid, _expected in (
    ("f", 5, 6, (5, 6)),
    ("f", -1, 6, (0, 6)),
    ("f", 5, -1, (5, 0)),
    ("f", -1, -1, (0, 0)),
    ("f/", 5, 6, (5, 6)),
    ("f|", 5, 6, (5, 6)),
    ("f", 4_000_000_000, 4_000_000_001, (4_000_000_000, 4_000_000_001)),
):
    CHOWN.allow(
        f"to-{_uid}-{_gid}-{'file' if _given == 'f' else 'folder' if _given == 'f/' else 'fifo'}",
        _given,
        partial(_chown, _uid, _gid),
        _expected,
    )
CHOWN.allow("symlink-followed", "f l->f", lambda: after(lambda: os.chown("l", 5, 6), lambda: (_owner("f"), _owner("l"))), ((5, 6), (0, 0)))
CHOWN.allow("symlink-itself", "f l->f", lambda: after(lambda: os.lchown("l", 5, 6), lambda: (_owner("f"), _owner("l"))), ((0, 0), (5, 6)))
CHOWN.allow("dangling-itself", "l->none", lambda: after(lambda: os.lchown("l", 5, 6), lambda: _owner("l")), (5, 6))
CHOWN.refuse("dangling-followed", "l->none", errno.ENOENT, lambda: os.chown("l", 5, 6))
CHOWN.refuse("by-other", "f:666", errno.EPERM, lambda: os.chown("f", ALICE, ALICE), user=ALICE)
CHOWN.refuse("give-away", "f:644:1001", errno.EPERM, lambda: os.chown("f", BOB, -1), user=ALICE)
CHOWN.refuse("to-a-foreign-group", "f:644:1001", errno.EPERM, lambda: os.chown("f", -1, STAFF), user=ALICE)
CHOWN.allow("to-oneself", "f:644:1001", lambda: os.chown("f", ALICE, ALICE), None, user=ALICE)


@CHOWN.case("to-a-group-of-ones-own", "f:644:1001")
def _own_group(t: Place) -> None:
    t.as_user(ALICE, lambda: os.chown("f", -1, STAFF), groups=(STAFF,))
    t.equal("the owner", _owner("f"), (ALICE, STAFF))


STICKY.refuse("unlink-of-another", "d/:1777 d/f:666:1002", _DENIED, lambda: os.unlink("d/f"), user=ALICE)
STICKY.refuse("rmdir-of-another", "d/:1777 d/e/:777:1002", _DENIED, lambda: os.rmdir("d/e"), user=ALICE)
STICKY.refuse("unlink-of-roots", "d/:1777 d/f:666", _DENIED, lambda: os.unlink("d/f"), user=ALICE)
STICKY.refuse("unlink-of-a-symlink-of-another", "d/:1777 d/l->x", _DENIED, lambda: os.unlink("d/l"), user=ALICE)
STICKY.allow("unlink-of-ones-own", "d/:1777 d/f:600:1001", lambda: os.unlink("d/f"), None, user=ALICE)
STICKY.allow("unlink-by-the-folders-owner", "d/:1777:1001 d/f:600:1002", lambda: os.unlink("d/f"), None, user=ALICE)
STICKY.allow("unlink-by-root", "d/:1777:1001 d/f:600:1002", lambda: os.unlink("d/f"), None)
STICKY.allow("rmdir-of-ones-own", "d/:1777 d/e/:700:1001", lambda: os.rmdir("d/e"), None, user=ALICE)
STICKY.allow("write-to-another", "d/:1777 d/f:666:1002", lambda: closing(os.open("d/f", os.O_WRONLY)), None, user=ALICE)
STICKY.allow("create", "d/:1777", lambda: write("d/f", b""), None, user=ALICE)
STICKY.allow("link-to-ones-own", "d/:1777 f:644:1001", lambda: os.link("f", "d/g"), None, user=ALICE)
STICKY.allow("without-the-bit", "d/:777 d/f:600:1002", lambda: os.unlink("d/f"), None, user=ALICE)


def _written() -> None:
    descriptor = os.open("f", os.O_WRONLY)
    os.write(descriptor, b"x")
    os.close(descriptor)


# What an unprivileged user does to a file of mode 6777 that is not his own, and what is left of the mode.
_CLEARING: dict[str, Callable[[], Any]] = {
    "write": _written,
    "truncate": lambda: libc.truncate("f", 3),
    "truncate-by-open": lambda: closing(os.open("f", os.O_WRONLY | os.O_TRUNC)),
}
for _name, _call in _CLEARING.items():

    def _cleared(t: Place, call: Callable[[], Any] = _call) -> None:
        t.as_user(ALICE, call)
        t.equal("the mode", mode("f"), "0o777")

    SET_ID.case(f"{_name}-by-user", "f:6777")(_cleared)


@SET_ID.case("write-without-group-execution", "f:6767")
def _no_execution(t: Place) -> None:
    """S_ISGID without the group's x is no set-id bit (inode(7)); S_ISUID goes."""
    t.as_user(ALICE, _written)
    t.check(not os.stat("f").st_mode & 0o4000, "S_ISUID is still set")


@SET_ID.case("write-by-root", "f:6777")
def _by_root(t: Place) -> None:
    _written()
    t.equal("the mode", mode("f"), "0o6777")


@SET_ID.case("chown-by-owner", "f:6777:1001")
def _by_owner(t: Place) -> None:
    """chown(2): the bits go where the owner or group of an executable file is changed by an unprivileged user."""
    t.as_user(ALICE, lambda: os.chown("f", -1, STAFF), groups=(STAFF,))
    t.equal("the mode", mode("f"), "0o777")


@SET_ID.case("chown-by-root", "f:6777:1001")
def _chown_root(t: Place) -> None:
    """For root Linux does the same to a file that is no folder."""
    os.chown("f", 5, 6)
    t.equal("the mode", mode("f"), "0o777")


@SET_ID.case("chown-of-a-folder", "d/:6777")
def _chown_folder(t: Place) -> None:
    os.chown("d", 5, 6)
    t.equal("the mode", mode("d"), "0o6777")


@SET_ID.case("inherited-by-folders", "d/")
def _inherited(t: Place) -> None:
    os.chown("d", 0, STAFF)
    os.chmod("d", 0o2775)
    os.mkdir("d/e")
    os.mkdir("d/e/f")
    write("d/e/f/g", b"")
    os.symlink("x", "d/e/l")
    os.mkfifo("d/e/p")
    t.equal("modes", (mode("d/e"), mode("d/e/f"), mode("d/e/f/g")), ("0o2755", "0o2755", "0o644"))
    t.equal("groups", {os.lstat(path).st_gid for path in ("d/e", "d/e/f", "d/e/f/g", "d/e/l", "d/e/p")}, {STAFF})


@SET_ID.case("create-in-a-setgid-folder-of-a-foreign-group", "d/")
def _foreign_group(t: Place) -> None:
    """A new file gets the folder's group, but not S_ISGID for whoever is not in it (inode(7), since Linux 6.0)."""
    os.chown("d", 0, STAFF)
    os.chmod("d", 0o2777)

    def make() -> None:
        os.umask(0)
        closing(os.open("d/f", os.O_WRONLY | os.O_CREAT, 0o2775))

    t.as_user(ALICE, make)
    t.equal("mode and group", (mode("d/f"), os.stat("d/f").st_gid), ("0o775", STAFF))
