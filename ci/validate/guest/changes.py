# SPDX-License-Identifier: Apache-2.0
"""Chooses the operations of the crash suite's workload: from a seed and the model alone, so that they can be chosen again."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from .trees import ROOT, Change, Node, Tree, below, parent

FILES = 24  # names in a tree, above which more is removed than made
FOLDERS = 6
LARGEST = 160_000  # bytes of a file
SYNC_EVERY = 20  # changes of a thread after which one is a sync, whatever the dice say
SYNCS = ("fsync", "fdatasync", "fsyncdir", "syncfs")
ATTRIBUTES = 3
MODES = (0o600, 0o640, 0o644, 0o755, 0o711)


@dataclass(frozen=True)
class Options:
    """A workload. `root` is the mounted folder, `folder` the name of the workload's own in it.

    `scope` says what fsync of a file promises beyond that file and the volume's metadata: `file` nothing, `volume` the
    contents of all files. `features` are what the volume can do, of: xattr, exchange, fallocate, vectors, chown, map, syncfs.
    `progress` is a file, on a filesystem that survives, that says how many changes each thread has begun; empty where there is none.
    """

    root: str
    folder: str
    seed: int
    threads: int = 3
    operations: int = 2000  # a thread
    scope: str = "file"
    features: tuple[str, ...] = ()
    owner: tuple[int, int] = (0, 0)
    progress: str = ""


class Chooser:
    """The changes of one thread, one after the other. `tree` must be as the changes so far have left it."""

    def __init__(self, options: Options, thread: int, tree: Tree) -> None:
        self._dice = random.Random(f"{options.seed}/{thread}")
        self._features = options.features
        self._tree = tree
        self._number = 0
        self._unsynced = 0
        self._table = _table(options)

    def next(self) -> Change:
        """Another change, which the tree does not have yet."""
        self._number += 1
        self._unsynced += 1
        forced = self._unsynced > SYNC_EVERY
        while True:
            kind = "fsync" if forced else self._dice.choices(*self._table)[0]
            change: Change | None = getattr(self, f"_{kind.replace('-', '_')}")(kind)
            if change is None and forced:
                change = Change("fsyncdir")
            if change is not None:
                if change.kind in SYNCS:
                    self._unsynced = 0
                return change

    def _bytes(self, size: int) -> bytes:
        return self._dice.randbytes(size)

    def _pick(self, wanted: Callable[[str, Node], bool]) -> str | None:
        found = sorted(path for path, node in self._tree.names.items() if wanted(path, node))
        return self._dice.choice(found) if found else None

    def _file(self) -> str | None:
        return self._pick(lambda _, node: node.kind == "file")

    def _plain_folder(self) -> str:
        return self._pick(lambda _, node: node.kind == "dir" and not node.dimension) or ROOT

    def _movable(self, path: str) -> bool:
        """No member of a collection: what may cross a collection's border is another matter (format.md, 12.1)."""
        return path != ROOT and not self._tree.names[parent(path)].dimension

    def _new(self, kind: str, mode: int) -> Change | None:
        if len(self._tree.names) > FILES and self._dice.random() < 0.7:
            return self._unlink("unlink")
        return Change(kind, below(self._plain_folder(), f"{kind[0]}{self._number}"), number=mode)

    def _create(self, kind: str) -> Change | None:
        return self._new(kind, self._dice.choice(MODES))

    def _fifo(self, kind: str) -> Change | None:
        return self._new(kind, 0o600)

    def _mkdir(self, kind: str) -> Change | None:
        if sum(node.kind == "dir" for node in self._tree.names.values()) > FOLDERS:
            return None
        return self._new(kind, self._dice.choice((0o700, 0o755)))

    def _symlink(self, kind: str) -> Change | None:
        size = self._dice.choice((5, 60, 300, 2000))
        name = below(self._plain_folder(), f"s{self._number}")
        return Change(kind, name, f"{self._number:x}/".ljust(size, "x"))

    def _write(self, kind: str) -> Change | None:
        path = self._file()
        if path is None:
            return None
        size = self._dice.randrange(1, 100_000 if self._dice.random() < 0.05 else 12_000)
        offset = self._dice.randrange(len(self._tree.names[path].data) + 6000)
        offset = max(0, min(offset, LARGEST - size))
        return Change(kind, path, offset=offset, value=self._bytes(size), flag=self._dice.random() < 0.08)

    def _append(self, kind: str) -> Change | None:
        path = self._file()
        if path is None or len(self._tree.names[path].data) > LARGEST:
            return None
        return Change(kind, path, offset=len(self._tree.names[path].data), value=self._bytes(self._dice.randrange(1, 9000)))

    def _map(self, kind: str) -> Change | None:
        path = self._pick(lambda _, node: node.kind == "file" and len(node.data) > 0)
        if path is None:
            return None
        length = len(self._tree.names[path].data)
        offset = self._dice.randrange(length)
        return Change(kind, path, offset=offset, value=self._bytes(self._dice.randrange(1, 6000))[: length - offset])

    def _truncate(self, kind: str) -> Change | None:
        path = self._file()
        if path is None:
            return None
        length = len(self._tree.names[path].data)
        return Change(kind, path, size=self._dice.choice((0, self._dice.randrange(length + 1), min(LARGEST, length + 5000))))

    def _allocate(self, kind: str) -> Change | None:
        path = self._file()
        if path is None:
            return None
        offset = self._dice.randrange(len(self._tree.names[path].data) + 1)
        return Change(kind, path, offset=offset, size=self._dice.randrange(1, 20_000), flag=self._dice.random() < 0.5)

    def _punch(self, kind: str) -> Change | None:
        path = self._file()
        if path is None:
            return None
        offset = self._dice.randrange(len(self._tree.names[path].data) + 1)
        return Change(kind, path, offset=offset, size=self._dice.randrange(1, 30_000))

    def _link(self, kind: str) -> Change | None:
        path = self._pick(lambda path, node: node.kind in ("file", "link") and self._movable(path))
        return None if path is None else Change(kind, path, below(self._plain_folder(), f"l{self._number}"))

    def _unlink(self, kind: str) -> Change | None:
        path = self._pick(lambda _, node: node.kind != "dir")
        return None if path is None else Change(kind, path, flag=self._dice.random() < 0.25)

    def _rmdir(self, kind: str) -> Change | None:
        used = {parent(path) for path in self._tree.names if path}
        path = self._pick(lambda path, node: node.kind == "dir" and path != ROOT and path not in used)
        return None if path is None else Change(kind, path)

    def _rename(self, kind: str) -> Change | None:
        path = self._pick(lambda path, _: self._movable(path))
        if path is None:
            return None
        node = self._tree.names[path]
        if node.kind != "dir" and self._dice.random() < 0.4:
            target = self._pick(lambda other, over: over.kind not in ("dir",) and other != path and self._movable(other))
            return None if target is None else Change(kind, path, target)
        folder = self._plain_folder()
        if folder == path or folder.startswith(f"{path}/"):
            return None
        return Change(kind, path, below(folder, f"r{self._number}"))

    def _exchange(self, kind: str) -> Change | None:
        path = self._pick(lambda path, _: self._movable(path))
        other = self._pick(lambda path, _: self._movable(path))
        if path is None or other is None or path == other:
            return None
        if path.startswith(f"{other}/") or other.startswith(f"{path}/"):
            return None
        return Change(kind, path, other)

    def _chmod(self, kind: str) -> Change | None:
        path = self._pick(lambda path, node: node.kind in ("file", "fifo") and path != ROOT)
        return None if path is None else Change(kind, path, number=self._dice.choice(MODES))

    def _chown(self, kind: str) -> Change | None:
        path = self._file()
        return None if path is None else Change(kind, path, number=self._dice.randrange(70_000), size=self._dice.randrange(70_000))

    def _utime(self, kind: str) -> Change | None:
        path = self._file()
        return None if path is None else Change(kind, path, number=self._dice.randrange(10**9, 4 * 10**18))

    def _setxattr(self, kind: str) -> Change | None:
        path = self._pick(lambda path, node: node.kind in ("file", "dir") and path != ROOT)
        if path is None:
            return None
        name = f"user.a{self._dice.randrange(ATTRIBUTES)}"
        return Change(kind, path, name, value=self._bytes(self._dice.choice((0, 10, 100, 900))))

    def _removexattr(self, kind: str) -> Change | None:
        path = self._pick(lambda _, node: bool(node.attributes))
        return None if path is None else Change(kind, path, self._dice.choice(sorted(self._tree.names[path].attributes)))

    def _collect(self, kind: str) -> Change | None:
        used = {parent(path) for path in self._tree.names if path}
        empty = self._pick(lambda path, node: node.kind == "dir" and not node.dimension and path != ROOT and path not in used)
        return None if empty is None else Change(kind, empty, size=self._dice.randrange(1, 70))

    def _vector(self, dimension: int) -> bytes:
        return struct.pack(f"={dimension}f", *(self._dice.uniform(-9, 9) for _ in range(dimension)))

    def _vector_add(self, kind: str) -> Change | None:
        path = self._pick(lambda _, node: node.dimension > 0)
        if path is None:
            return None
        ids = tuple(self._dice.sample(range(12), self._dice.randrange(1, 5)))
        value = b"".join(self._vector(self._tree.names[path].dimension) for _ in ids)
        return Change(kind, path, ids=ids, value=value, number=0o640, size=self._tree.names[path].dimension)

    def _vector_set(self, kind: str) -> Change | None:
        path = self._pick(lambda path, node: node.kind == "file" and self._tree.names[parent(path)].dimension > 0)
        return None if path is None else Change(kind, path, value=self._vector(self._tree.names[parent(path)].dimension))

    def _vector_remove(self, kind: str) -> Change | None:
        path = self._pick(lambda _, node: bool(node.vector))
        return None if path is None else Change(kind, path)

    def _fsync(self, kind: str) -> Change | None:
        path = self._file()
        return None if path is None else Change(kind, path)

    _fdatasync = _fsync

    def _fsyncdir(self, kind: str) -> Change | None:
        return Change(kind, self._pick(lambda _, node: node.kind == "dir") or ROOT)

    def _syncfs(self, kind: str) -> Change | None:
        return Change(kind)


_WEIGHTS = (
    ("create", 14, ""),
    ("write", 22, ""),
    ("append", 8, ""),
    ("truncate", 5, ""),
    ("mkdir", 4, ""),
    ("rmdir", 3, ""),
    ("symlink", 3, ""),
    ("fifo", 1, ""),
    ("link", 4, ""),
    ("unlink", 6, ""),
    ("rename", 8, ""),
    ("chmod", 2, ""),
    ("utime", 2, ""),
    ("chown", 2, "chown"),
    ("exchange", 3, "exchange"),
    ("setxattr", 4, "xattr"),
    ("removexattr", 2, "xattr"),
    ("allocate", 3, "fallocate"),
    ("punch", 3, "fallocate"),
    ("map", 3, "map"),
    ("collect", 3, "vectors"),
    ("vector-add", 8, "vectors"),
    ("vector-set", 4, "vectors"),
    ("vector-remove", 2, "vectors"),
    ("fsync", 8, ""),
    ("fdatasync", 1, ""),
    ("fsyncdir", 3, ""),
    ("syncfs", 1, "syncfs"),
)


def _table(options: Options) -> tuple[list[str], list[int]]:
    able = [(kind, weight) for kind, weight, feature in _WEIGHTS if not feature or feature in options.features]
    return [kind for kind, _ in able], [weight for _, weight in able]
