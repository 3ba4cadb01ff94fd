# SPDX-License-Identifier: Apache-2.0
"""Names and paths: every byte but `/` and NUL, 255 bytes, deep trees, trailing slashes, `.` and `..`."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .place import CONTENT, Place, closing, read, write

NAMES = Group("names")
SLASHES = Group("slashes")
TREES = Group("trees")
GROUPS = [NAMES, SLASHES, TREES]

_SPECIAL = {
    "one-byte": "x",
    "255-bytes": "n" * 255,
    "255-bytes-of-utf-8": "ä" * 127 + "x",
    "blank": " ",
    "leading-dot": ".hidden",
    "three-dots": "...",
    "trailing-dot": "a.",
    "newline": "a\nb",
    "tab-and-bell": "a\tb\a",
    "backslash": "a\\b",
    "star": "*",
    "percent": "%s%n",
    "dash": "-rf",
    "quote": "'\"",
    "not-utf-8": os.fsdecode(b"\xff\xfe\x80"),
    "all-high-bytes": os.fsdecode(bytes(range(0x80, 0x100))),
    "all-low-bytes": os.fsdecode(bytes(number for number in range(1, 0x80) if number != 0x2F)),
    "emoji": "🗄️",
    "fullwidth": "\uff0f",
    "tilde": "~",
    "lost+found": "lost+found",
    "number-sign": "#1",
}


def _name(name: str) -> Callable[[Place], None]:
    def body(t: Place) -> None:
        write(name, CONTENT)
        t.equal("the listed names", os.listdir("."), [name])
        t.equal("the content", read(name), CONTENT)
        os.rename(name, "other")
        os.mkdir(name)
        t.equal("the names with a folder", sorted(os.listdir(".")), sorted([name, "other"]))
        os.rename("other", os.path.join(name, name))
        t.equal("the content below the folder", read(os.path.join(name, name)), CONTENT)
        os.symlink(name, "l")
        t.equal("the target of a symlink", os.readlink("l"), name)
        os.unlink(os.path.join(name, name))
        os.rmdir(name)
        t.equal("what is left", os.listdir("."), ["l"])

    return body


for _label, _text in _SPECIAL.items():
    NAMES.case(_label)(_name(_text))

_TOO_LONG: dict[str, Callable[[str], Any]] = {
    "create": lambda p: closing(os.open(p, os.O_WRONLY | os.O_CREAT, 0o600)),
    "mkdir": os.mkdir,
    "symlink": lambda p: os.symlink("x", p),
    "link": lambda p: os.link("f", p),
    "rename": lambda p: os.rename("f", p),
    "exchange": lambda p: libc.renameat2("f", p, libc.EXCHANGE),
    "mkfifo": os.mkfifo,
    "stat": os.stat,
    "unlink": os.unlink,
}


def _long(call: Callable[[str], Any], name: str) -> Callable[[], Any]:
    return lambda: call(name)


for _label, _call in _TOO_LONG.items():
    NAMES.refuse(f"256-bytes-{_label}", "f", errno.ENAMETOOLONG, _long(_call, "n" * 256))
    NAMES.refuse(f"256-bytes-of-utf-8-{_label}", "f", errno.ENAMETOOLONG, _long(_call, "ä" * 128))


@NAMES.case("differ-in-case")
def _case(t: Place) -> None:
    write("name", b"1")
    write("NAME", b"2")
    t.equal("both contents", read("name") + read("NAME"), b"12")


@NAMES.case("differ-in-normal-form")
def _normal(t: Place) -> None:
    write("\u00e4", b"1")
    write("a\u0308", b"2")
    t.equal("both contents", read("\u00e4") + read("a\u0308"), b"12")
    t.equal("how many names", len(os.listdir(".")), 2)


@NAMES.case("differ-in-the-last-of-255-bytes")
def _last(t: Place) -> None:
    names = ["n" * 254 + letter for letter in "abcdefgh"]
    for name in names:
        write(name, name[-1].encode())
    t.equal("the names", sorted(os.listdir(".")), names)
    t.equal("the contents", b"".join(read(name) for name in names), b"abcdefgh")


SLASHES.allow("folder", "d/", lambda: os.stat("d/").st_nlink, 2)
SLASHES.allow("folder-many", "d/", lambda: os.stat("d///").st_nlink, 2)
SLASHES.allow("folder-inside", "d/ d/f", lambda: read("d////f"), CONTENT)
SLASHES.allow("mkdir", "", lambda: os.mkdir("d/"), None)
SLASHES.allow("rmdir", "d/", lambda: os.rmdir("d/"), None)
SLASHES.allow("rename-folder", "d/", lambda: os.rename("d/", "e/"), None)
SLASHES.allow("lstat-follows", "d/ l->d", lambda: os.lstat("l/").st_nlink, 2)
SLASHES.allow("folder-by-symlink", "d/ d/f l->d", lambda: read("l/f"), CONTENT)
SLASHES.refuse("file", "f", errno.ENOTDIR, lambda: os.stat("f/"))
SLASHES.refuse("file-lstat", "f", errno.ENOTDIR, lambda: os.lstat("f/"))
SLASHES.refuse("file-open", "f", errno.ENOTDIR, lambda: closing(os.open("f/", os.O_RDONLY)))
SLASHES.refuse("file-unlink", "f", errno.ENOTDIR, lambda: os.unlink("f/"))
SLASHES.refuse("file-truncate", "f", errno.ENOTDIR, lambda: libc.truncate("f/", 0))
SLASHES.refuse("file-create", "", errno.EISDIR, lambda: closing(os.open("new/", os.O_WRONLY | os.O_CREAT)))
SLASHES.refuse("file-rename", "f", errno.ENOTDIR, lambda: os.rename("f", "new/"))
SLASHES.refuse("file-rename-from", "f", errno.ENOTDIR, lambda: os.rename("f/", "new"))
SLASHES.refuse("file-link", "f", errno.ENOENT, lambda: os.link("f", "new/"))
SLASHES.refuse("symlink", "", errno.ENOENT, lambda: os.symlink("x", "new/"))
SLASHES.refuse("mkfifo", "", errno.ENOENT, lambda: os.mkfifo("new/"))
SLASHES.refuse("unlink-folder", "d/", errno.EISDIR, lambda: os.unlink("d/"))
SLASHES.refuse("rmdir-symlink", "d/ l->d", errno.ENOTDIR, lambda: os.rmdir("l/"))
SLASHES.refuse("rmdir-dot", "d/", errno.EINVAL, lambda: os.rmdir("d/."))
SLASHES.refuse("rmdir-dot-dot", "d/ d/e/", errno.ENOTEMPTY, lambda: os.rmdir("d/e/.."))
SLASHES.refuse("unlink-dot", "d/", errno.EISDIR, lambda: os.unlink("d/."))
SLASHES.refuse("mkdir-dot", "d/", errno.EEXIST, lambda: os.mkdir("d/."))
SLASHES.refuse("mkdir-dot-dot", "d/", errno.EEXIST, lambda: os.mkdir("d/.."))
SLASHES.refuse("create-dot", "d/", errno.EISDIR, lambda: closing(os.open("d/.", os.O_WRONLY | os.O_CREAT)))
SLASHES.refuse("rename-dot", "d/", errno.EBUSY, lambda: os.rename("d/.", "new"))
SLASHES.refuse("rename-dot-dot", "d/", errno.EBUSY, lambda: os.rename("d/..", "new"))
SLASHES.refuse("rename-to-dot", "d/ e/", errno.EBUSY, lambda: os.rename("d", "e/."))


@SLASHES.case("dot-dot-of-a-symlink", "d/ d/e/ l->d/e")
def _dots(t: Place) -> None:
    t.check(os.path.samefile("l/..", "d"), "l/.. is not the folder that holds what l points to")


@TREES.case("path-of-4095-bytes")
def _path_max(t: Place) -> None:
    """PATH_MAX counts the end of the string: 4095 bytes of path are the most."""
    write("f", CONTENT)
    path = "./" * 2047 + "f"
    t.equal("the length", len(path), 4095)
    t.equal("the content", read(path), CONTENT)


@TREES.case("deep")
def _deep(t: Place) -> None:
    """Three hundred folders in each other: each knows its parent, and all of them can be removed."""
    depth = 300
    t.step(f"make {depth} folders in each other")
    for number in range(depth):
        os.mkdir(f"d{number}")
        os.chdir(f"d{number}")
    write("f", CONTENT)
    t.equal("links of the deepest", os.stat(".").st_nlink, 2)
    t.step(f"go up {depth} times")
    for number in reversed(range(depth)):
        os.chdir("..")
        t.equal(f"what lies at depth {number}", os.listdir("."), [f"d{number}"])
    t.check(os.path.samefile(".", t.folder), "as many .. as there were folders do not lead back")
    t.step(f"go down {depth} times")
    for number in range(depth):
        os.chdir(f"d{number}")
    os.unlink("f")
    t.step(f"go up, removing {depth} folders")
    for number in reversed(range(depth)):
        os.chdir("..")
        os.rmdir(f"d{number}")


@TREES.case("deep-with-long-names")
def _deep_long(t: Place) -> None:
    """A place whose path is longer than PATH_MAX is reached step by step; as one path it is not."""
    name = "n" * 255
    for _ in range(20):
        os.mkdir(name)
        os.chdir(name)
    write("f", CONTENT)
    t.equal("the content", read("f"), CONTENT)
    os.unlink("f")
    for _ in range(20):
        os.chdir("..")
        os.rmdir(name)


@TREES.case("wide")
def _wide(t: Place) -> None:
    """Four hundred folders in one: the count of links follows, and they can be removed in any order."""
    t.step("make 400 folders")
    for number in range(400):
        os.mkdir(f"d{number}")
    t.equal("links of the parent", os.stat(".").st_nlink, 402)
    t.equal("the names", sorted(os.listdir(".")), sorted(f"d{number}" for number in range(400)))
    t.step("remove 400 folders")
    for number in sorted(range(400), key=lambda n: n * 7919 % 401):
        os.rmdir(f"d{number}")
    t.equal("links of the parent then", os.stat(".").st_nlink, 2)
    t.equal("what is left", os.listdir("."), [])


@TREES.case("chain-of-symlinks")
def _chain(t: Place) -> None:
    """Forty symlinks are followed, one more is ELOOP (path_resolution(7))."""
    write("l0", CONTENT)
    for number in range(1, 42):
        os.symlink(f"l{number - 1}", f"l{number}")
    t.equal("through 40", read("l40"), CONTENT)
    t.refuses("through 41", lambda: read("l41"), errno.ELOOP)


@TREES.case("moved-while-inside", "a/ a/b/ c/")
def _moved(t: Place) -> None:
    """The working folder stays the same one where its parent is renamed."""
    os.chdir("a/b")
    os.rename("../../a", "../../c/a")
    t.check(os.path.samefile("../../..", t.folder), "three steps up from c/a/b is not where it began")
    write("f", CONTENT)
    t.equal("by its new path", read(os.path.join(t.folder, "c/a/b/f")), CONTENT)


@TREES.case("removed-while-inside", "d/")
def _removed(t: Place) -> None:
    """In a folder that is removed nothing can be made, and its names are gone."""
    os.chdir("d")
    os.rmdir("../d")
    t.refuses("create", lambda: write("f", b""), errno.ENOENT)
    t.refuses("mkdir", lambda: os.mkdir("e"), errno.ENOENT)
    t.refuses("symlink", lambda: os.symlink("x", "l"), errno.ENOENT)
    t.refuses("mknod", lambda: os.mknod("n"), errno.ENOENT)
    t.equal("links", os.stat(".").st_nlink, 0)
    t.equal("names", os.listdir("."), [])
