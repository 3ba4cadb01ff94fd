# SPDX-License-Identifier: Apache-2.0
"""Searches, gets and counts against the reference, while vectors are added, replaced, removed and unlinked."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Sequence

from ..context import Context
from . import reference
from .collection import K_MAX, Collection
from .reference import Hit, Vector

_TINY, _HUGE = 1e-40, 3e38


def drawn(dice: random.Random, dimension: int, scale: float = 1.0) -> bytes:
    """A random vector in memory order."""
    return reference.pack([reference.rounded(dice.uniform(-scale, scale)) for _ in range(dimension)])


class Model:
    """What a collection must hold, and what it must answer."""

    def __init__(self, t: Context, path: str, metric: int, dimension: int) -> None:
        self._t = t
        self._metric = metric
        self.dimension = dimension
        self.path = path
        self.held: dict[int, bytes] = {}
        self.ids: dict[int, int] = {}  # inode numbers by ids

    def make(self) -> Collection:
        """A new collection, open."""
        self._t.op(f"make the collection {self.path}")
        os.mkdir(self.path)
        made = Collection(self.path)
        made.create(self.dimension, self._metric)
        return made

    def add(self, collection: Collection, ids: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add by ids; the inode numbers must be those of the files that have the ids as names."""
        self._t.op(f"add {len(ids)} vectors to {self.path}")
        inodes = collection.add(ids, vectors)
        self.held.update(zip(inodes, vectors, strict=True))
        self.ids.update(zip(ids, inodes, strict=True))
        for number in (ids[0], ids[-1]):
            self._t.equal(f"the inode number of {self.path}/{number}", os.stat(f"{self.path}/{number}").st_ino, self.ids[number])

    def drop(self, inode: int) -> None:
        """The vector is to be gone."""
        del self.held[inode]

    def expected(self, query: bytes, k: int) -> list[Hit]:
        """The reference's answer."""
        vectors: dict[int, Vector] = {inode: reference.unpack(vector) for inode, vector in self.held.items()}
        return reference.nearest(self._metric, reference.unpack(query), vectors, k)

    def check(self, collection: Collection, query: bytes, *, k: int = 10) -> None:
        """A search for `k`, all of them, the rest behind the first `k`, and the count, agree with the reference."""
        self._t.op(f"search in {self.path}")
        whole = self.expected(query, len(self.held))
        self._hits(f"the {k} nearest", collection.search(query, k), whole[:k])
        self._hits("all of them", collection.search(query, K_MAX), whole[:K_MAX])
        if len(whole) > k:
            self._hits(f"what lies behind the first {k}", collection.search(query, K_MAX, after=whole[k - 1]), whole[k : k + K_MAX])
        self._t.equal(f"the count of {self.path}", collection.shape().count, len(self.held))

    def check_vectors(self, collection: Collection) -> None:
        """Every vector comes back byte for byte."""
        self._t.op(f"get all vectors of {self.path}")
        for inode, vector in self.held.items():
            self._t.check(collection.get(inode) == vector, f"the vector of inode {inode} in {self.path} is not what was set")

    def _hits(self, what: str, seen: list[Hit], expected: list[Hit]) -> None:
        self._t.equal(f"{what} in {self.path}: how many", len(seen), len(expected))
        for place, (got, wanted) in enumerate(zip(seen, expected, strict=True)):
            if got != wanted:
                words = f"expected distance {wanted[0]!r} of inode {wanted[1]}, got {got[0]!r} of inode {got[1]}"
                self._t.check(False, f"{what} in {self.path}, hit {place}: {words}")


def search(seed: int, metric: int, dimension: int, count: int, t: Context) -> None:
    """A collection of random vectors, some of them equal: three queries, one of which is a vector of its own."""
    dice = random.Random(f"{seed} {metric} {dimension}")
    count = min(count, 12) if dimension > 1000 else count
    model = Model(t, t.path(f"search-{metric}-{dimension}"), metric, dimension)
    collection = model.make()
    vectors = [drawn(dice, dimension) for _ in range(count)]
    vectors[1] = vectors[3] = vectors[2]
    model.add(collection, [dice.randrange(1 << 32) * count + number for number in range(count)], vectors)
    for query in (drawn(dice, dimension), vectors[2], drawn(dice, dimension, 100.0)):
        model.check(collection, query)
    model.check_vectors(collection)
    collection.close()


def changes(seed: int, metric: int, count: int, t: Context) -> None:
    """Add, replace by id and by inode, remove, unlink, add again, in random order; a search after each step."""
    dice = random.Random(f"{seed} changes {metric}")
    dimension = 16
    model = Model(t, t.path(f"changes-{metric}"), metric, dimension)
    collection = model.make()
    model.add(collection, range(count), [drawn(dice, dimension) for _ in range(count)])
    for _ in range(12):
        inode = dice.choice(list(model.held))
        name = next(number for number, held in model.ids.items() if held == inode)
        what = dice.choice(("set", "add", "remove", "unlink", "new"))
        vector = drawn(dice, dimension)
        t.op(f"{what} {model.path}/{name}")
        if what == "set":
            collection.set(inode, vector)
            model.held[inode] = vector
        elif what == "add":
            model.add(collection, (name,), (vector,))
        elif what == "remove":
            collection.remove((inode,))
            model.drop(inode)
            t.refuses(f"get of {name}, whose vector is gone", lambda inode=inode: collection.get(inode), errno.ENODATA)  # type: ignore[misc]
            t.equal(f"{name}, whose vector is gone, as a file", os.stat(f"{model.path}/{name}").st_ino, inode)
        elif what == "unlink":
            os.unlink(f"{model.path}/{name}")
            model.drop(inode)
            del model.ids[name]
        else:
            model.add(collection, (1000 + len(model.ids) + dice.randrange(1 << 20) * 1000,), (vector,))
        model.check(collection, drawn(dice, dimension), k=5)
    model.check_vectors(collection)
    collection.close()


def edges(seed: int, metric: int, t: Context) -> None:
    """Zeros, the smallest and the largest numbers, signs of zero: every distance is still the reference's."""
    dice = random.Random(f"{seed} edges {metric}")
    dimension = 11
    model = Model(t, t.path(f"edges-{metric}"), metric, dimension)
    collection = model.make()
    flat = [0.0, -0.0, 1.0, -1.0, reference.rounded(_TINY), reference.rounded(_HUGE)]
    vectors = [reference.pack([value] * dimension) for value in flat]
    vectors += [drawn(dice, dimension, _TINY), drawn(dice, dimension, _HUGE), drawn(dice, dimension)]
    model.add(collection, range(len(vectors)), vectors)
    for query in (*vectors, drawn(dice, dimension, _HUGE)):
        model.check(collection, query, k=3)
    collection.close()


def members(seed: int, t: Context) -> None:
    """Members are files: renamed ones stay, a second name in the collection is the same member, the last unlink takes the vector."""
    dice = random.Random(f"{seed} members")
    model = Model(t, t.path("members"), reference.L2, 4)
    collection = model.make()
    model.add(collection, range(5), [drawn(dice, 4) for _ in range(5)])
    folder, inode = model.path, model.ids[0]
    os.rename(f"{folder}/0", f"{folder}/other name")
    os.link(f"{folder}/other name", f"{folder}/second")
    os.unlink(f"{folder}/other name")
    model.check(collection, drawn(dice, 4), k=3)
    t.refuses("a name outside of the collection", lambda: os.link(f"{folder}/second", t.path("outside")), errno.EXDEV)
    t.refuses("a move out of the collection", lambda: os.rename(f"{folder}/second", t.path("outside")), errno.EXDEV)
    with open(f"{folder}/second", "wb") as file:
        file.write(b"content beside the vector")
    t.check(collection.get(inode) == model.held[inode], "writing to the file has changed its vector")
    os.unlink(f"{folder}/second")
    model.drop(inode)
    model.check(collection, drawn(dice, 4), k=3)
    t.refuses("rmdir of a collection with members", lambda: os.rmdir(folder), errno.ENOTEMPTY)
    for number in range(1, 5):
        os.unlink(f"{folder}/{number}")
    os.rmdir(folder)
    t.refuses("the shape of a collection that is gone", collection.shape, errno.EMEDIUMTYPE)
    collection.close()
