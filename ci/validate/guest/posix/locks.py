# SPDX-License-Identifier: Apache-2.0
"""Locks between processes: fcntl(2) of a process, of an open file description (OFD), and flock(2)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from typing import Any

from .book import Group
from .place import Place

LOCKS = Group("locks")
GROUPS = [LOCKS]
_FLOCK = struct.Struct("=hhxxxxqqixxxx")  # type, whence, start, length, pid (fcntl(2))
_BUSY = (errno.EAGAIN, errno.EACCES)


def _record(kind: int, start: int, length: int, whence: int = os.SEEK_SET) -> bytes:
    return _FLOCK.pack(kind, whence, start, length, 0)


def _lock(descriptor: int, kind: int, start: int = 0, length: int = 0, command: int = fcntl.F_SETLK) -> None:
    fcntl.fcntl(descriptor, command, _record(kind, start, length))


def _elsewhere(t: Place, call: Callable[[int], Any], flags: int = os.O_RDWR) -> Any:
    """The call in another process, with its own descriptor of f: what it answers, or its error."""

    def work() -> Any:
        descriptor = os.open("f", flags)
        try:
            return call(descriptor)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    return t.in_child(0, work)


def _try(kind: int, start: int = 0, length: int = 0, command: int = fcntl.F_SETLK) -> Callable[[int], str]:
    def call(descriptor: int) -> str:
        _lock(descriptor, kind, start, length, command)
        return "locked"

    return call


_R, _W, _U = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
# What is held here (kind, start, length), what another process asks for, whether it gets it.
_PAIRS: tuple[tuple[str, tuple[int, int, int], tuple[int, int, int], bool], ...] = (
    ("read-read", (_R, 0, 0), (_R, 0, 0), True),
    ("read-write", (_R, 0, 0), (_W, 0, 0), False),
    ("write-read", (_W, 0, 0), (_R, 0, 0), False),
    ("write-write", (_W, 0, 0), (_W, 0, 0), False),
    ("beside", (_W, 0, 10), (_W, 10, 10), True),
    ("one-byte-shared", (_W, 0, 11), (_W, 10, 10), False),
    ("before-to-the-end", (_W, 100, 0), (_W, 0, 100), True),
    ("inside-to-the-end", (_W, 100, 0), (_W, 1 << 40, 1), False),
    ("behind-the-files-end", (_W, 1 << 20, 10), (_W, 1 << 20, 1), False),
)
for (_name, _held, _asked, _gets), (_what, _mine, _theirs) in (
    (pair, commands)
    for pair in _PAIRS
    for commands in (
        ("posix", fcntl.F_SETLK, fcntl.F_SETLK),
        ("ofd", fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLK),
        ("mixed", fcntl.F_SETLK, fcntl.F_OFD_SETLK),
    )
):

    def _conflict(
        t: Place,
        held: tuple[int, int, int] = _held,
        asked: tuple[int, int, int] = _asked,
        gets: bool = _gets,
        mine: int = _mine,
        theirs: int = _theirs,
    ) -> None:
        descriptor = t.open("f")
        _lock(descriptor, *held, mine)
        answer = _elsewhere(t, _try(*asked, theirs))
        t.check(answer in (("locked",) if gets else ("EAGAIN", "EACCES")), f"another process that asks for it: {answer}")
        _lock(descriptor, _U, 0, 0, mine)
        t.equal("after it was unlocked", _elsewhere(t, _try(*asked, theirs)), "locked")

    LOCKS.case(f"{_what}-{_name}", "f")(_conflict)


@LOCKS.case("posix-who-holds-it", "f")
def _who(t: Place) -> None:
    _lock(t.open("f"), _W, 5, 10)

    def ask(descriptor: int) -> list[int]:
        return list(_FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, _record(_R, 0, 0))))

    t.equal("kind, whence, start, length, process", _elsewhere(t, ask), [_W, 0, 5, 10, os.getpid()])


@LOCKS.case("posix-nobody-holds-it", "f")
def _nobody(t: Place) -> None:
    def ask(descriptor: int) -> int:
        return int(_FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, _record(_W, 0, 0)))[0])

    t.equal("the kind", _elsewhere(t, ask), _U)


@LOCKS.case("posix-split-in-the-middle", "f")
def _split(t: Place) -> None:
    descriptor = t.open("f")
    _lock(descriptor, _W, 0, 30)
    _lock(descriptor, _U, 10, 10)
    t.equal("the middle", _elsewhere(t, _try(_W, 10, 10)), "locked")
    t.check(_elsewhere(t, _try(_W, 9, 1)) in ("EAGAIN", "EACCES"), "what lies before the middle is free")
    t.check(_elsewhere(t, _try(_W, 20, 1)) in ("EAGAIN", "EACCES"), "what lies behind the middle is free")


@LOCKS.case("posix-downgrade", "f")
def _downgrade(t: Place) -> None:
    descriptor = t.open("f")
    _lock(descriptor, _W)
    _lock(descriptor, _R)
    t.equal("a reader", _elsewhere(t, _try(_R)), "locked")


@LOCKS.case("posix-any-close-lets-go", "f")
def _any_close(t: Place) -> None:
    """fcntl(2): closing any descriptor of the file ends the process's locks."""
    _lock(t.open("f"), _W)
    os.close(os.open("f", os.O_RDONLY))
    t.equal("another process", _elsewhere(t, _try(_W)), "locked")


@LOCKS.case("ofd-own-close-lets-go", "f")
def _own_close(t: Place) -> None:
    descriptor = t.open("f")
    _lock(descriptor, _W, 0, 0, fcntl.F_OFD_SETLK)
    os.close(os.open("f", os.O_RDONLY))
    t.check(_elsewhere(t, _try(_W)) in ("EAGAIN", "EACCES"), "the close of another descriptor has ended the lock")
    os.close(descriptor)
    t.equal("after its own close", _elsewhere(t, _try(_W)), "locked")


@LOCKS.case("ofd-between-descriptors", "f")
def _descriptors(t: Place) -> None:
    first, second = t.open("f"), t.open("f")
    _lock(first, _W, 0, 0, fcntl.F_OFD_SETLK)
    t.refuses("the other descriptor of the same process", lambda: _lock(second, _W, 0, 0, fcntl.F_OFD_SETLK), *_BUSY)


@LOCKS.case("posix-not-inherited", "f")
def _child(t: Place) -> None:
    descriptor = t.open("f")
    _lock(descriptor, _W)

    def work() -> str:
        try:
            _lock(descriptor, _W)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "locked"

    t.check(t.in_child(0, work) in ("EAGAIN", "EACCES"), "a child has its parent's lock")


@LOCKS.case("posix-by-a-process-that-ends", "f")
def _ends(t: Place) -> None:
    t.equal("the other process", _elsewhere(t, _try(_W)), "locked")
    _lock(t.open("f"), _W)


@LOCKS.case("posix-deadlock", "f")
def _deadlock(t: Place) -> None:
    """Two processes that wait for each other: one of them gets EDEADLK (fcntl(2))."""
    descriptor = t.open("f")
    _lock(descriptor, _W, 0, 1)
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        other = os.open("f", os.O_RDWR)
        _lock(other, _W, 1, 1)
        os.write(told, b"x")
        try:
            _lock(other, _W, 0, 1, fcntl.F_SETLKW)
        except OSError as error:
            os._exit(1 if error.errno == errno.EDEADLK else 2)
        os._exit(0)
    os.read(ready, 1)
    mine = 0
    try:
        _lock(descriptor, _W, 1, 1, fcntl.F_SETLKW)
    except OSError as error:
        mine = 1 if error.errno == errno.EDEADLK else 2
    _lock(descriptor, _U)
    theirs = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for end in (ready, told):
        os.close(end)
    t.equal("how many got EDEADLK", sorted((mine, theirs)), [0, 1])


LOCKS.refuse("posix-write-lock-of-read-only", "f", errno.EBADF, lambda: _of(os.O_RDONLY, _W))
LOCKS.refuse("posix-read-lock-of-write-only", "f", errno.EBADF, lambda: _of(os.O_WRONLY, _R))
LOCKS.refuse("posix-negative-start", "f", errno.EINVAL, lambda: _of(os.O_RDWR, _W, -1))


def _of(flags: int, kind: int, start: int = 0) -> None:
    descriptor = os.open("f", flags)
    try:
        _lock(descriptor, kind, start)
    finally:
        os.close(descriptor)


def _flock(operation: int) -> Callable[[int], str]:
    def call(descriptor: int) -> str:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        return "locked"

    return call


for _name, _kind, _asked_kind, _answer in (
    ("shared-shared", fcntl.LOCK_SH, fcntl.LOCK_SH, "locked"),
    ("shared-exclusive", fcntl.LOCK_SH, fcntl.LOCK_EX, "EAGAIN"),
    ("exclusive-shared", fcntl.LOCK_EX, fcntl.LOCK_SH, "EAGAIN"),
    ("exclusive-exclusive", fcntl.LOCK_EX, fcntl.LOCK_EX, "EAGAIN"),
):

    def _flocks(t: Place, kind: int = _kind, asked: int = _asked_kind, answer: str = _answer) -> None:
        descriptor = t.open("f")
        fcntl.flock(descriptor, kind)
        t.equal("another process", _elsewhere(t, _flock(asked), os.O_RDONLY), answer)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        t.equal("after it was unlocked", _elsewhere(t, _flock(asked), os.O_RDONLY), "locked")

    LOCKS.case(f"flock-{_name}", "f")(_flocks)


@LOCKS.case("flock-of-a-folder", "d/")
def _folder(t: Place) -> None:
    first, second = t.open("d", os.O_RDONLY), t.open("d", os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    t.refuses("the other descriptor", lambda: fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB), errno.EAGAIN)


@LOCKS.case("flock-shared-by-a-copy", "f")
def _copy(t: Place) -> None:
    """A copy of a descriptor has the same lock; it ends with the last of them."""
    first = t.open("f")
    second = os.dup(first)
    fcntl.flock(first, fcntl.LOCK_EX)
    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(first)
    t.equal("while the copy is open", _elsewhere(t, _flock(fcntl.LOCK_EX)), "EAGAIN")
    os.close(second)
    t.equal("after the last close", _elsewhere(t, _flock(fcntl.LOCK_EX)), "locked")


@LOCKS.case("flock-and-posix-do-not-meet", "f")
def _two_kinds(t: Place) -> None:
    fcntl.flock(t.open("f"), fcntl.LOCK_EX)
    t.equal("another process by fcntl", _elsewhere(t, _try(_W)), "locked")


@LOCKS.case("survive-unlink-and-rename", "f g")
def _names(t: Place) -> None:
    descriptor = t.open("f")
    _lock(descriptor, _W)
    os.rename("f", "h")
    os.rename("h", "f")
    t.check(_elsewhere(t, _try(_W)) in ("EAGAIN", "EACCES"), "after a rename the lock is gone")
