# SPDX-License-Identifier: Apache-2.0
"""Extended attributes: xattr(7), setxattr(2), getxattr, listxattr, removexattr; their limits and who may use them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .needs import ACL
from .place import ALICE, Place

XATTR = Group("xattr")
GROUPS = [XATTR]
_MAX_NAME = "user." + "n" * 250  # 255 bytes are the most (XATTR_NAME_MAX)


def _set(name: str, value: bytes = b"value", flags: int = 0, path: str = "f") -> Callable[[], Any]:
    return lambda: os.setxattr(path, name, value, flags)


XATTR.refuse("missing", "f", errno.ENODATA, lambda: os.getxattr("f", "user.none"))
XATTR.refuse("remove-missing", "f", errno.ENODATA, lambda: os.removexattr("f", "user.none"))
XATTR.refuse("replace-missing", "f", errno.ENODATA, _set("user.a", flags=os.XATTR_REPLACE))
XATTR.refuse("both-flags", "f", (errno.ENODATA, errno.EEXIST, errno.EINVAL), _set("user.a", flags=os.XATTR_CREATE | os.XATTR_REPLACE))
XATTR.refuse("unknown-flag", "f", errno.EINVAL, _set("user.a", flags=8))
XATTR.refuse("empty-name", "f", errno.ERANGE, _set(""))
XATTR.refuse("name-of-256", "f", errno.ERANGE, _set(_MAX_NAME + "n"))
XATTR.refuse("no-namespace", "f", errno.EOPNOTSUPP, _set("name"))
XATTR.refuse("unknown-namespace", "f", errno.EOPNOTSUPP, _set("other.name"))
XATTR.refuse("namespace-alone", "f", errno.EINVAL, _set("user."))
XATTR.refuse("value-of-64k-and-one", "f", errno.E2BIG, _set("user.a", b"x" * 65537))
XATTR.refuse("user-on-a-symlink", "l->x", errno.EPERM, lambda: os.setxattr("l", "user.a", b"a", follow_symlinks=False))
XATTR.refuse("user-on-a-fifo", "p|", errno.EPERM, _set("user.a", path="p"))
XATTR.refuse("user-on-a-socket", "s=", errno.EPERM, _set("user.a", path="s"))
XATTR.refuse("trusted-by-user", "f:666:1001", errno.EPERM, _set("trusted.a"), user=ALICE)
XATTR.refuse("user-by-reader", "f:644", errno.EACCES, _set("user.a"), user=ALICE)
XATTR.refuse("user-on-a-sticky-folder-of-another", "d/:1777", errno.EPERM, _set("user.a", path="d"), user=ALICE)
XATTR.refuse("remove-by-reader", "f:644", errno.EACCES, lambda: os.removexattr("f", "user.a"), user=ALICE)
XATTR.allow("user-by-writer", "f:666", _set("user.a"), None, user=ALICE)
XATTR.allow("none", "f", lambda: os.listxattr("f"), [])
XATTR.allow("none-of-a-symlink", "f l->f", lambda: os.listxattr("l", follow_symlinks=False), [])

for _name in ("user.a", "trusted.a", "security.a", _MAX_NAME, "user.ä", "user.with blank", "user..", "user.user.a"):

    def _named(t: Place, name: str = _name) -> None:
        os.setxattr("f", name, b"value")
        t.equal("the list", os.listxattr("f"), [name])
        t.equal("the value", os.getxattr("f", name), b"value")
        os.removexattr("f", name)
        t.equal("the list then", os.listxattr("f"), [])

    XATTR.case(f"name-{_name if len(_name) < 30 else 'of-255'}".replace(" ", "-"), "f")(_named)

for _length in (0, 1, 100, 1000, 2000, 3000):

    def _sized(t: Place, length: int = _length) -> None:
        value = bytes(range(256)) * 12
        os.setxattr("f", "user.a", value[:length])
        t.check(os.getxattr("f", "user.a") == value[:length], "the value differs")
        t.equal("its length, asked without a buffer", libc.raw_getxattr("f", "user.a", 0), length)

    XATTR.case(f"value-of-{_length}", "f")(_sized)


@XATTR.case("all-kinds-of-files", "f d/ l->f p| s=")
def _kinds(t: Place) -> None:
    """trusted. is for any file, also for a symlink itself."""
    for path in ("f", "d", "l", "p", "s"):
        os.setxattr(path, "trusted.a", path.encode(), follow_symlinks=False)
    seen = {path: os.getxattr(path, "trusted.a", follow_symlinks=False) for path in "fdlps"}
    t.equal("the values", seen, {path: path.encode() for path in "fdlps"})
    t.equal("through the symlink", os.getxattr("l", "trusted.a"), b"f")


@XATTR.case("create-and-replace", "f")
def _flags(t: Place) -> None:
    os.setxattr("f", "user.a", b"1", os.XATTR_CREATE)
    t.refuses("create again", _set("user.a", b"2", os.XATTR_CREATE), errno.EEXIST)
    os.setxattr("f", "user.a", b"three", os.XATTR_REPLACE)
    t.equal("the value", os.getxattr("f", "user.a"), b"three")
    os.setxattr("f", "user.a", b"")
    t.equal("the empty value", (os.getxattr("f", "user.a"), os.listxattr("f")), (b"", ["user.a"]))


@XATTR.case("buffers-too-small", "f")
def _small(t: Place) -> None:
    os.setxattr("f", "user.a", b"value")
    t.equal("in a buffer that fits", libc.raw_getxattr("f", "user.a", 5), 5)
    t.refuses("a buffer of 4", lambda: libc.raw_getxattr("f", "user.a", 4), errno.ERANGE)
    size = libc.raw_listxattr("f", 0)
    t.equal("the list's length", size, len("user.a") + 1)
    t.equal("a list that fits", libc.raw_listxattr("f", size), size)
    t.refuses("a list too small", lambda: libc.raw_listxattr("f", size - 1), errno.ERANGE)


@XATTR.case("many", "f")
def _many(t: Place) -> None:
    names = [f"user.name-{number}" for number in range(50)]
    for name in names:
        os.setxattr("f", name, name.encode())
    t.equal("the names", sorted(os.listxattr("f")), sorted(names))
    for name in names[::2]:
        os.removexattr("f", name)
    t.equal("the values left", {os.getxattr("f", name) for name in names[1::2]}, {name.encode() for name in names[1::2]})
    t.equal("the names left", sorted(os.listxattr("f")), sorted(names[1::2]))


@XATTR.case("grows-and-shrinks", "f")
def _grows(t: Place) -> None:
    os.setxattr("f", "user.other", b"stays")
    for length in (10, 3000, 1, 2000, 0, 500):
        os.setxattr("f", "user.a", b"x" * length)
        t.equal(f"with {length} bytes", (len(os.getxattr("f", "user.a")), os.getxattr("f", "user.other")), (length, b"stays"))


@XATTR.case("one-for-all-names", "f g<f")
def _links(t: Place) -> None:
    os.setxattr("f", "user.a", b"1")
    os.rename("f", "h")
    t.equal("by the other name", os.getxattr("g", "user.a"), b"1")


@XATTR.case("of-an-unlinked-file", "f")
def _unlinked(t: Place) -> None:
    descriptor = t.open("f")
    os.unlink("f")
    os.setxattr(descriptor, "user.a", b"1")
    t.equal("the value", os.getxattr(descriptor, "user.a"), b"1")


@XATTR.case("not-taken-by-a-copy", "f")
def _fresh(t: Place) -> None:
    os.setxattr("f", "user.a", b"1")
    os.unlink("f")
    t.make("f")
    t.equal("of the file made anew", os.listxattr("f"), [])


@XATTR.case("trusted-is-not-listed-for-users", "f")
def _hidden(t: Place) -> None:
    os.setxattr("f", "trusted.a", b"1")
    os.setxattr("f", "user.a", b"1")
    t.equal("the list", t.as_user(ALICE, lambda: os.listxattr("f")), ["user.a"])


@XATTR.case("full")
def _full(t: Place) -> None:
    """More than a file can hold is ENOSPC or E2BIG, and what was there stays."""
    t.make("f")
    kept: dict[str, bytes] = {}
    for number in range(200):
        name, value = f"user.name-{number}", bytes([number]) * 1000
        try:
            os.setxattr("f", name, value)
        except OSError as error:
            t.check(error.errno in (errno.ENOSPC, errno.E2BIG, errno.EDQUOT), f"expected ENOSPC, got {error}")
            break
        kept[name] = value
    t.equal("what is there", {name: os.getxattr("f", name) for name in os.listxattr("f")}, kept)


@XATTR.case("access-control-list", "f", needs="acl")
def _acl(t: Place) -> None:
    os.setxattr("f", "system.posix_acl_access", ACL)
    t.equal("the mode that it gives", os.stat("f").st_mode & 0o777, 0o644)
