# SPDX-License-Identifier: Apache-2.0
"""What the ioctls refuse, and with which errno (docs/format.md, 12.5); a refused call changes nothing."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from typing import Any

from ..posix.book import Group
from ..posix.place import ALICE, Place, closing
from . import reference
from .collection import ADD, EXCL, K_MAX, SET, Collection

GROUP = Group("refusals")
_VECTOR = reference.pack([1.0, 2.0, 3.0, 4.0])


def _opened(t: Place, path: str = "c") -> Collection:
    collection = Collection(path)
    t.keep(collection.descriptor)
    return collection


def _collection(t: Place) -> tuple[Collection, int]:
    """A collection `c` of dimension 4 with one member, 7."""
    os.mkdir("c")
    collection = _opened(t)
    collection.create(4, reference.L2)
    return collection, collection.add((7,), (_VECTOR,))[0]


# Calls on a collection `c` with one member of number `inode`.
_CALLS: dict[str, tuple[int, Callable[[Collection, int], Any]]] = {
    "create-again": (errno.EEXIST, lambda c, inode: c.create(4, reference.L2)),
    "add-another-dimension": (errno.EINVAL, lambda c, inode: c.batch(ADD, (8,), _VECTOR + _VECTOR, dimension=8)),
    "add-dimension-0": (errno.EINVAL, lambda c, inode: c.batch(ADD, (8,), b"", dimension=0)),
    "add-nothing": (errno.EINVAL, lambda c, inode: c.batch(ADD, (), b"")),
    "add-nan": (errno.EINVAL, lambda c, inode: c.add((8,), (reference.pack([1.0, math.nan, 1.0, 1.0]),))),
    "add-infinity": (errno.EINVAL, lambda c, inode: c.add((8,), (reference.pack([1.0, 1.0, 1.0, -math.inf]),))),
    "add-exclusive": (errno.EEXIST, lambda c, inode: c.add((7,), (_VECTOR,), flags=EXCL)),
    "add-unknown-flag": (errno.EINVAL, lambda c, inode: c.add((8,), (_VECTOR,), flags=2)),
    "set-no-member": (errno.ENOENT, lambda c, inode: c.set(inode + 100_000, _VECTOR)),
    "set-the-collection-itself": (errno.ENOENT, lambda c, inode: c.set(os.fstat(c.descriptor).st_ino, _VECTOR)),
    "set-infinity": (errno.EINVAL, lambda c, inode: c.set(inode, reference.pack([math.inf, 1.0, 1.0, 1.0]))),
    "set-with-mode": (errno.EINVAL, lambda c, inode: c.batch(SET, (inode,), _VECTOR, mode=0o644)),
    "get-no-member": (errno.ENOENT, lambda c, inode: c.get(inode + 100_000)),
    "get-0": (errno.ENOENT, lambda c, inode: c.get(0)),
    "remove-no-member": (errno.ENOENT, lambda c, inode: c.remove((inode + 100_000,))),
    "search-0": (errno.EINVAL, lambda c, inode: c.search(_VECTOR, 0)),
    "search-too-many": (errno.EINVAL, lambda c, inode: c.search(_VECTOR, K_MAX + 1)),
    "search-another-dimension": (errno.EINVAL, lambda c, inode: c.search(_VECTOR, 1, dimension=3)),
    "search-nan": (errno.EINVAL, lambda c, inode: c.search(reference.pack([math.nan] * 4), 1)),
    "search-unknown-flag": (errno.EINVAL, lambda c, inode: c.search(_VECTOR, 1, flags=2)),
}
for _name, (_error, _call) in _CALLS.items():

    def _refused(t: Place, name: str = _name, error: int = _error, call: Callable[[Collection, int], Any] = _call) -> None:
        collection, inode = _collection(t)
        before = sorted(os.listdir("c"))
        t.refuses(name, lambda: call(collection, inode), error)
        t.equal("the names after the refused call", sorted(os.listdir("c")), before)
        t.equal("the hits after it", collection.search(_VECTOR, 10), [(0.0, inode)])

    GROUP.case(_name)(_refused)


@GROUP.case("get-without-vector")
def _without(t: Place) -> None:
    collection, inode = _collection(t)
    collection.remove((inode,))
    for what, call in (("get", lambda: collection.get(inode)), ("remove", lambda: collection.remove((inode,)))):
        t.refuses(what, call, errno.ENODATA)
    t.equal("what is found", collection.search(_VECTOR, 10), [])


@GROUP.case("add-to-the-name-of-a-folder")
def _folder(t: Place) -> None:
    collection, _ = _collection(t)
    os.mkdir("c/9")
    t.refuses("add", lambda: collection.add((9,), (_VECTOR,)), errno.EISDIR)
    os.symlink("7", "c/10")
    t.refuses("add to the name of a symlink", lambda: collection.add((10,), (_VECTOR,)), errno.EINVAL)


@GROUP.case("batch-stops-at-the-first-refusal")
def _batch(t: Place) -> None:
    collection, _ = _collection(t)
    bad = reference.pack([math.nan] * 4)
    t.refuses("add of three", lambda: collection.add((20, 21, 22), (_VECTOR, bad, _VECTOR)), errno.EINVAL)
    names = set(os.listdir("c"))
    t.check("22" not in names, "an entry behind the refused one was done")
    t.equal("as many vectors as files", collection.shape().count, len(names))


for _name, _given, _error_of in (
    ("plain-folder", "c/", errno.EMEDIUMTYPE),
    ("folder-with-a-file", "c/ c/f", errno.EMEDIUMTYPE),
):

    def _plain(t: Place, error: int = _error_of) -> None:
        collection = _opened(t)
        collection.dimension = 4
        t.refuses("shape", collection.shape, error)
        t.refuses("search", lambda: collection.search(_VECTOR, 1), error)
        t.refuses("add", lambda: collection.add((1,), (_VECTOR,)), error)
        t.refuses("get", lambda: collection.get(1), error)

    GROUP.case(f"calls-on-a-{_name}", _given)(_plain)

for _name, _given, _dimension, _metric, _wanted in (
    ("dimension-0", "c/", 0, reference.L2, errno.EINVAL),
    ("dimension-2049", "c/", 2049, reference.L2, errno.EINVAL),
    ("metric-0", "c/", 4, 0, errno.EINVAL),
    ("metric-4", "c/", 4, 4, errno.EINVAL),
    ("folder-that-is-not-empty", "c/ c/f", 4, reference.L2, errno.ENOTEMPTY),
):

    def _create(t: Place, dimension: int = _dimension, metric: int = _metric, error: int = _wanted) -> None:
        collection = _opened(t)
        t.refuses("create", lambda: collection.create(dimension, metric), error)
        t.refuses("its shape afterwards", collection.shape, errno.EMEDIUMTYPE)

    GROUP.case(f"create-{_name}", _given)(_create)


@GROUP.case("calls-on-a-file", "f")
def _file(t: Place) -> None:
    collection = Collection(".")
    closing(collection.descriptor)
    collection.descriptor = t.open("f", os.O_RDONLY)
    t.refuses("shape", collection.shape, errno.ENOTTY)
    t.refuses("search", lambda: collection.search(_VECTOR, 1, dimension=4), errno.ENOTTY)


@GROUP.case("permissions")
def _permissions(t: Place) -> None:
    """Reading needs r of the folder, changing w and x; making one needs that it is one's own (docs/semantics.md)."""
    collection, inode = _collection(t)

    def allowed(call: Callable[[], Any]) -> str:
        try:
            call()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return ""

    def tried() -> list[str]:
        calls: tuple[Callable[[], Any], ...] = (
            lambda: collection.search(_VECTOR, 1),
            lambda: collection.get(inode),
            lambda: collection.set(inode, _VECTOR),
            lambda: collection.add((30,), (_VECTOR,)),
            lambda: collection.remove((inode,)),
        )
        return [allowed(call) for call in calls]

    for bits, expected in (
        (0o755, ["", "", "EACCES", "EACCES", "EACCES"]),
        (0o733, ["EACCES", "EACCES", "", "", ""]),
        (0o700, ["EACCES"] * 5),
    ):
        os.chmod("c", bits)
        t.equal(f"search, get, set, add, remove with mode {bits:o}", t.as_user(ALICE, tried), expected)
        collection.add((7,), (_VECTOR,))
    os.mkdir("mine")
    os.chmod("mine", 0o777)

    def create() -> str:
        other = Collection("mine")
        return allowed(lambda: other.create(4, reference.L2))

    t.equal("create of another's folder", t.as_user(ALICE, create), "EPERM")
