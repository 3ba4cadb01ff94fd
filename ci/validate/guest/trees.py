# SPDX-License-Identifier: Apache-2.0
"""What a folder must look like: the model that the crash suite's workload changes and its checker compares with.

A tree belongs to one thread of the workload, so it follows from the thread's changes alone, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# Paths are relative to the thread's own folder, which is "".
ROOT = ""
View = tuple[object, ...]


@dataclass(eq=False)
class Node:
    """An inode. `kind` is file, dir, link or fifo; `dimension` above 0 makes a directory a collection of vectors.

    `past` are the contents that a file has had since they were last promised, the present one at the end, and `times` its
    modification times (None: not known) in the same way.
    """

    kind: str
    mode: int
    owner: tuple[int, int]
    data: bytes = b""
    target: str = ""
    attributes: dict[str, bytes] = field(default_factory=dict)
    vector: bytes = b""
    dimension: int = 0
    past: list[bytes] = field(default_factory=lambda: [b""])
    times: list[int | None] = field(default_factory=lambda: [None])

    def hold(self, data: bytes, *, remember: bool) -> None:
        """New contents; the time of the change is not known."""
        self.data = data
        self.past = [*self.past, data] if remember else [data]
        self.at(None, remember=remember)

    def settle_range(self, begin: int, end: int) -> None:
        """Only these bytes are promised, and with them that the file reaches so far."""
        now = self.data[begin:end]
        past = [old[:begin].ljust(begin, b"\0") + now + old[end:] for old in self.past]
        self.past = list(dict.fromkeys(reversed(past)))[::-1]  # of equal ones the last stays: the present one is the last of all

    def at(self, time: int | None, *, remember: bool) -> None:
        """Another modification time, in nanoseconds."""
        self.times = [*self.times, time] if remember else [time]

    def settle(self, *, times: bool) -> None:
        """The contents, and the time where `times`, are promised as they are now: nothing older may come back."""
        self.past = self.past[-1:]
        if times:
            self.times = self.times[-1:]


@dataclass(frozen=True)
class Change:
    """One operation. What its fields mean depends on `kind`: see `changes.py`, where they are chosen."""

    kind: str
    path: str = ROOT
    other: str = ""
    offset: int = 0
    size: int = 0
    number: int = 0
    value: bytes = b""
    flag: bool = False
    ids: tuple[int, ...] = ()


def parts(change: Change) -> Iterator[Change]:
    """The steps of a change that may become durable one by one: a batch of vectors is no single transaction, nor are a member
    and its vector."""
    if change.kind != "vector-add":
        yield change
        return
    size = len(change.value) // len(change.ids)
    for place, identifier in enumerate(change.ids):
        path = below(change.path, str(identifier))
        yield Change("member", path, number=change.number)
        yield Change("vector-set", path, value=change.value[place * size : (place + 1) * size])


class Tree:
    """Names and what they lead to. With `remember` old contents are kept, for the checker."""

    def __init__(self, owner: tuple[int, int], *, remember: bool) -> None:
        self.owner = owner
        self.remember = remember
        self.names: dict[str, Node] = {ROOT: Node("dir", 0o755, owner)}

    def apply(self, part: Change) -> None:
        """Do a part of a change to the model."""
        getattr(self, f"_{part.kind.replace('-', '_')}")(part)

    def view(self) -> dict[str, View]:
        """Everything but contents and times, in a form that `actual` in checker.py gives of a real folder."""
        first: dict[int, str] = {}
        count: dict[int, int] = {}
        for path in sorted(self.names):
            node = self.names[path]
            first.setdefault(id(node), path)
            count[id(node)] = count.get(id(node), 0) + 1
        return {path: _facts(node, first[id(node)], count[id(node)]) for path, node in self.names.items()}

    def _add(self, part: Change, kind: str, mode: int) -> Node:
        node = self.names[part.path] = Node(kind, mode, self.owner)
        return node

    def _create(self, part: Change) -> None:
        self._add(part, "file", part.number)

    def _fifo(self, part: Change) -> None:
        self._add(part, "fifo", part.number)

    def _mkdir(self, part: Change) -> None:
        self._add(part, "dir", part.number)

    def _symlink(self, part: Change) -> None:
        self._add(part, "link", 0o777).target = part.other

    def _member(self, part: Change) -> None:
        if part.path not in self.names:
            self._add(part, "file", part.number)

    def _collect(self, part: Change) -> None:
        self.names[part.path].dimension = part.size

    def _vector_set(self, part: Change) -> None:
        self.names[part.path].vector = part.value

    def _vector_remove(self, part: Change) -> None:
        self.names[part.path].vector = b""

    def _write(self, part: Change) -> None:
        node = self.names[part.path]
        data = node.data.ljust(part.offset, b"\0")
        node.hold(data[: part.offset] + part.value + data[part.offset + len(part.value) :], remember=self.remember)

    _append = _map = _write

    def _truncate(self, part: Change) -> None:
        node = self.names[part.path]
        node.hold(node.data[: part.size].ljust(part.size, b"\0"), remember=self.remember)

    def _allocate(self, part: Change) -> None:
        node = self.names[part.path]
        size = len(node.data) if part.flag else max(len(node.data), part.offset + part.size)
        node.hold(node.data.ljust(size, b"\0"), remember=self.remember)

    def _punch(self, part: Change) -> None:
        node = self.names[part.path]
        end = min(len(node.data), part.offset + part.size)
        hole = bytes(max(0, end - part.offset))
        node.hold(node.data[: part.offset] + hole + node.data[part.offset + len(hole) :], remember=self.remember)

    def _link(self, part: Change) -> None:
        self.names[part.other] = self.names[part.path]

    def _unlink(self, part: Change) -> None:
        del self.names[part.path]

    _rmdir = _unlink

    def _rename(self, part: Change) -> None:
        if self.names.get(part.other) is self.names[part.path]:
            return  # two names of one file: rename(2) does nothing
        self.names.pop(part.other, None)
        self._move({part.path: part.other})

    def _exchange(self, part: Change) -> None:
        self._move({part.path: part.other, part.other: part.path})

    def _move(self, moves: dict[str, str]) -> None:
        moved = {}
        for path, node in self.names.items():
            for old, new in moves.items():
                if path == old or path.startswith(f"{old}/"):
                    path = new + path[len(old) :]
                    break
            moved[path] = node
        self.names = moved

    def _chmod(self, part: Change) -> None:
        self.names[part.path].mode = part.number

    def _chown(self, part: Change) -> None:
        self.names[part.path].owner = (part.number, part.size)

    def _utime(self, part: Change) -> None:
        self.names[part.path].at(part.number, remember=self.remember)

    def _setxattr(self, part: Change) -> None:
        node = self.names[part.path]
        node.attributes = {**node.attributes, part.other: part.value}

    def _removexattr(self, part: Change) -> None:
        node = self.names[part.path]
        node.attributes = {name: value for name, value in node.attributes.items() if name != part.other}

    def _fsync(self, part: Change) -> None:
        """Nothing that one could see."""

    _fdatasync = _fsyncdir = _syncfs = _fsync


def below(path: str, name: str) -> str:
    """The path of a name in a directory."""
    return f"{path}/{name}" if path else name


def parent(path: str) -> str:
    """The directory of a path."""
    return path.rpartition("/")[0]


def _facts(node: Node, first: str, links: int) -> View:
    if node.kind == "dir":
        return ("dir", node.mode, node.owner, tuple(sorted(node.attributes.items())), node.dimension)
    common = (node.kind, node.mode, node.owner, tuple(sorted(node.attributes.items())), links, first)
    return (*common, node.target) if node.kind == "link" else (*common, node.vector)
