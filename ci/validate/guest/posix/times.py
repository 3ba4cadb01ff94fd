# SPDX-License-Identifier: Apache-2.0
"""Times: which call changes which of them (POSIX, 4.9; inode(7)), and utimensat(2) with all that it may be given."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .place import ALICE, CONTENT, Place, closing, read, write

TIMES = Group("times")
UTIME = Group("utimensat")
GROUPS = [TIMES, UTIME]


def _stamps(path: str) -> dict[str, int]:
    found = os.lstat(path)
    return {"m": found.st_mtime_ns, "c": found.st_ctime_ns}


def _with(path: str, flags: int, call: Callable[[int], Any]) -> Any:
    descriptor = os.open(path, flags)
    try:
        return call(descriptor)
    finally:
        os.close(descriptor)


# The call, what there is before, and what must change: `f:mc` both times of f, `.:` none of the folder's.
_CHANGES: dict[str, tuple[str, Callable[[], Any], str]] = {
    "create": ("", lambda: write("f", b""), ".:mc"),
    "mkdir": ("", lambda: os.mkdir("d"), ".:mc"),
    "mkfifo": ("", lambda: os.mkfifo("p"), ".:mc"),
    "symlink": ("", lambda: os.symlink("x", "l"), ".:mc"),
    "unlink": ("f", lambda: os.unlink("f"), ".:mc"),
    "unlink-one-name": ("f g<f", lambda: os.unlink("g"), ".:mc f:c"),
    "rmdir": ("d/", lambda: os.rmdir("d"), ".:mc"),
    "link": ("f", lambda: os.link("f", "g"), ".:mc f:c"),
    "link-elsewhere": ("d/ f", lambda: os.link("f", "d/g"), ".: d:mc f:c"),
    "rename": ("f", lambda: os.rename("f", "g"), ".:mc"),
    "rename-elsewhere": ("d/ e/ d/f", lambda: os.rename("d/f", "e/f"), ".: d:mc e:mc"),
    "rename-folder": ("d/ e/ d/f/", lambda: os.rename("d/f", "e/f"), ".: d:mc e:mc"),
    "rename-over-a-name": ("f g h<g", lambda: os.rename("f", "g"), ".:mc h:c"),
    "rename-over-itself": ("f", lambda: os.rename("f", "f"), ".: f:"),
    "rename-over-same-file": ("f g<f", lambda: os.rename("f", "g"), ".: f: g:"),
    "exchange": ("d/ e/ d/f e/g", lambda: libc.renameat2("d/f", "e/g", libc.EXCHANGE), "d:mc e:mc"),
    "write": ("f", lambda: _with("f", os.O_WRONLY, lambda fd: os.write(fd, b"x")), ".: f:mc"),
    "write-nothing": ("f", lambda: _with("f", os.O_WRONLY, lambda fd: os.write(fd, b"")), ".: f:"),
    "append": ("f", lambda: _with("f", os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x")), ".: f:mc"),
    "truncate-shorter": ("f", lambda: libc.truncate("f", 3), ".: f:mc"),
    "truncate-longer": ("f", lambda: libc.truncate("f", 5000), ".: f:mc"),
    "ftruncate-same-size": ("f", lambda: _with("f", os.O_WRONLY, lambda fd: os.ftruncate(fd, len(CONTENT))), ".: f:mc"),
    "open-truncate": ("f", lambda: closing(os.open("f", os.O_WRONLY | os.O_TRUNC)), ".: f:mc"),
    "open-truncate-empty": ("f!", lambda: closing(os.open("f", os.O_WRONLY | os.O_TRUNC)), ".: f:mc"),
    "open-create-existing": ("f", lambda: closing(os.open("f", os.O_WRONLY | os.O_CREAT)), ".: f:"),
    "read": ("f", lambda: read("f"), ".: f:"),
    "readlink": ("l->x", lambda: os.readlink("l"), ".: l:"),
    "listdir": ("d/ d/f", lambda: os.listdir("d"), ".: d: d/f:"),
    "stat": ("f", lambda: os.stat("f"), ".: f:"),
    "chmod": ("f", lambda: os.chmod("f", 0o600), ".: f:c"),
    "chmod-folder": ("d/ d/f", lambda: os.chmod("d", 0o700), ".: d:c d/f:"),
    "chown": ("f", lambda: os.chown("f", 5, 6), ".: f:c"),
    "lchown": ("f l->f", lambda: os.lchown("l", 5, 6), ".: f: l:c"),
    "setxattr": ("f", lambda: os.setxattr("f", "user.a", b"a"), ".: f:c"),
    "fallocate": ("f", lambda: _with("f", os.O_WRONLY, lambda fd: libc.fallocate(fd, 0, 0, 9000)), ".: f:mc"),
    "punch": ("f", lambda: _with("f", os.O_WRONLY, lambda fd: libc.fallocate(fd, 3, 0, 5)), ".: f:mc"),
    "fsync": ("f", lambda: _with("f", os.O_WRONLY, os.fsync), ".: f:"),
    "copy-file-range": ("f g", lambda: _copy("f", "g"), ".: f: g:mc"),
}


def _copy(old: str, new: str) -> None:
    source, target = os.open(old, os.O_RDONLY), os.open(new, os.O_WRONLY)
    try:
        os.copy_file_range(source, target, 5)
    finally:
        os.close(source)
        os.close(target)


for _name, (_given, _call, _expected) in _CHANGES.items():

    def _changes(t: Place, call: Callable[[], Any] = _call, expected: str = _expected) -> None:
        rows = [word.rpartition(":") for word in expected.split()]
        before = {path: _stamps(path) for path, _, _ in rows}
        t.tick()
        call()
        seen = [(path, "".join(key for key, value in _stamps(path).items() if value > before[path][key])) for path, _, _ in rows]
        t.equal("which times of which path are later", seen, [(path, letters) for path, _, letters in rows])
        for path, _, letters in rows:
            kept = {key: value for key, value in _stamps(path).items() if key not in letters}
            t.equal(f"the other times of {path}", kept, {key: before[path][key] for key in kept})

    TIMES.case(_name, _given)(_changes)


@TIMES.case("new-file-has-one-time")
def _new(t: Place) -> None:
    before = os.stat(".").st_mtime_ns
    t.tick()
    write("f", b"")
    found = os.stat("f")
    t.check(found.st_mtime_ns > before, "the new file's time is not later than its folder's before")
    t.equal("mtime and ctime, atime and mtime", (found.st_mtime_ns, found.st_atime_ns), (found.st_ctime_ns, found.st_mtime_ns))


@TIMES.case("access-time-by-relatime", "f d/ l->f")
def _relatime(t: Place) -> None:
    """mount(8), relatime: reading sets it where it was not later than the last change."""
    os.utime("f", ns=(10**18, 10**18 + 5))
    t.tick()  # else the read has the time of the change, and the next one sets it again
    read("f")
    first = os.stat("f").st_atime_ns
    t.check(first > 10**18 + 5, "the access time was not set by the first read after a change")
    t.tick()
    read("f")
    t.equal("after another read", os.stat("f").st_atime_ns, first)


@TIMES.case("noatime-descriptor", "f")
def _noatime(t: Place) -> None:
    os.utime("f", ns=(10**18, 2 * 10**18))
    _with("f", os.O_RDONLY | os.O_NOATIME, lambda fd: os.read(fd, 5))
    t.equal("the access time", os.stat("f").st_atime_ns, 10**18)


@TIMES.case("written-through-a-map", "f")
def _mapped(t: Place) -> None:
    import mmap

    before = _stamps("f")
    t.tick()
    descriptor = t.open("f")
    with mmap.mmap(descriptor, len(CONTENT)) as mapped:
        mapped[0:1] = b"!"
        mapped.flush()
    os.close(descriptor)
    t.check(_stamps("f")["m"] > before["m"], "the time of the last change is as before the write through a map")


_SET = (10**9, 123_456_789)
_ACCESS, _CHANGE = 10**18 + 7, 2 * 10**18 + 9
for _name, _first, _second, _wanted in (
    ("both", (11, 22), (33, 44), (11 * 10**9 + 22, 33 * 10**9 + 44)),
    ("omit-access", (0, libc.UTIME_OMIT), (33, 44), (_ACCESS, 33 * 10**9 + 44)),
    ("omit-change", (11, 22), (0, libc.UTIME_OMIT), (11 * 10**9 + 22, _CHANGE)),
    ("before-1970", (-100, 0), (-1, 999_999_999), (-100 * 10**9, -1)),
    ("whole-nanoseconds", (1, 1), (1, 999_999_999), (10**9 + 1, 1_999_999_999)),
    ("in-2038", (2**31, 5), (2**31 + 1, 6), (2**31 * 10**9 + 5, (2**31 + 1) * 10**9 + 6)),
    ("in-2200", (7_258_118_400, 0), (7_258_118_401, 0), (7_258_118_400 * 10**9, 7_258_118_401 * 10**9)),
):

    def _sets(t: Place, first: tuple[int, int] = _first, second: tuple[int, int] = _second, wanted: tuple[int, int] = _wanted) -> None:
        os.utime("f", ns=(_ACCESS, _CHANGE))
        before = os.stat("f").st_ctime_ns
        t.tick()
        libc.utimensat("f", first, second)
        found = os.stat("f")
        t.equal("access and change", (found.st_atime_ns, found.st_mtime_ns), wanted)
        t.check(found.st_ctime_ns > before, "ctime is not later")

    UTIME.case(_name, "f")(_sets)


@UTIME.case("omit-both", "f")
def _omit(t: Place) -> None:
    """utimensat(2): with UTIME_OMIT twice nothing is done."""
    before = os.stat("f")
    t.tick()
    libc.utimensat("f", (0, libc.UTIME_OMIT), (0, libc.UTIME_OMIT))
    t.equal("all times", os.stat("f").st_ctime_ns, before.st_ctime_ns)


@UTIME.case("now-and-a-time", "f")
def _now(t: Place) -> None:
    os.utime("f", ns=(5, 5))
    libc.utimensat("f", (0, libc.UTIME_NOW), (33, 44))
    found = os.stat("f")
    t.check(found.st_atime_ns > _ACCESS, "the access time is not now")
    t.equal("the time of the change", found.st_mtime_ns, 33 * 10**9 + 44)


@UTIME.case("now-twice", "f")
def _twice(t: Place) -> None:
    os.utime("f", ns=(5, 5))
    libc.utimensat("f", (0, libc.UTIME_NOW), (0, libc.UTIME_NOW))
    found = os.stat("f")
    t.equal("access and change", found.st_atime_ns, found.st_mtime_ns)
    t.check(found.st_mtime_ns > _ACCESS, "the times are not now")


@UTIME.case("symlink-itself", "f l->f")
def _symlink(t: Place) -> None:
    before = _stamps("f")
    libc.utimensat("l", (11, 0), (33, 0), libc.AT_SYMLINK_NOFOLLOW)
    t.equal("the symlink", os.lstat("l").st_mtime_ns, 33 * 10**9)
    t.equal("the file", _stamps("f"), before)


@UTIME.case("folder", "d/")
def _folder(t: Place) -> None:
    libc.utimensat("d", (11, 0), (33, 0))
    t.equal("the folder", (os.stat("d").st_atime_ns, os.stat("d").st_mtime_ns), (11 * 10**9, 33 * 10**9))


def _times(first: int, second: int) -> Callable[[], Any]:
    return lambda: libc.utimensat("f", (0, first), (0, second))


UTIME.refuse("nanoseconds-too-many", "f", errno.EINVAL, _times(10**9, 0))
UTIME.refuse("nanoseconds-negative", "f", errno.EINVAL, _times(0, -1))
UTIME.refuse("dangling", "l->none", errno.ENOENT, lambda: libc.utimensat("l", (0, 0), (0, 0)))
UTIME.refuse("times-by-writer", "f:666", errno.EPERM, _times(1, 1), user=ALICE)
UTIME.refuse("now-and-omit-by-writer", "f:666", errno.EPERM, _times(libc.UTIME_NOW, libc.UTIME_OMIT), user=ALICE)
UTIME.refuse("now-by-reader", "f:644", errno.EACCES, lambda: libc.utimensat_now("f"), user=ALICE)
UTIME.allow("now-by-writer", "f:666", lambda: libc.utimensat_now("f"), None, user=ALICE)
UTIME.allow("now-twice-by-writer", "f:666", _times(libc.UTIME_NOW, libc.UTIME_NOW), None, user=ALICE)
UTIME.allow("times-by-owner-who-cannot-write", "f:0:1001", _times(1, 1), None, user=ALICE)
