# SPDX-License-Identifier: Apache-2.0
"""After a crash: is everything there that fsync had promised, and is the rest as some moment of the workload was?

The changes of each thread are chosen again from the seed. Names, types, modes, owners, links, attributes and vectors must be as
after one and the same change of the thread, and that not before the last promised one: metadata has one order, and never half an
operation (docs/format.md, 11.3). Contents are exact where nothing touched the file after its promise; else each byte is one that
the file has had there since, or may get from a change that had begun.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Any

from . import calls
from .changes import Chooser, Options
from .trees import ROOT, Node, Tree, View, below, parts

# Without a progress file the last begun changes are those of the last message that arrived. So many more may have begun while
# messages were on their way out of a guest that was destroyed.
LAG = 256
DIFFERENCES = 3  # named of each thread
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}


@dataclass
class Result:
    """What the check found.

    Per thread, `floors` are the promised changes and `moments` those after which the tree is as it was found. The bytes of `files`
    files were compared, `exact` of them with one content and no other.
    """

    problems: list[str] = field(default_factory=list)
    promises: int = 0
    floors: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    files: int = 0
    exact: int = 0


def check(options: Options, messages: list[dict[str, Any]], begun: list[int] | None) -> Result:
    """Compare the folder with what was promised in `messages`; `begun` is what the progress file says, None without one.

    Where the folder's own making was never promised, there is nothing to check.
    """
    promises = [message for message in messages if "floor" in message]
    result = Result(promises=len(promises))
    if not any("ready" in message for message in messages):
        return result
    base = os.path.join(options.root, options.folder)
    names = sorted(os.listdir(base)) if os.path.isdir(base) else []
    expected = [f"t{thread}" for thread in range(options.threads)]
    if names != expected:
        result.problems.append(f"{base} was fsynced with {expected} in it, and has {names}")
        return result
    for thread in range(options.threads):
        _Thread(options, thread, promises, begun).check(result)
    return result


class _Thread:
    """The check of one thread's tree."""

    def __init__(self, options: Options, thread: int, promises: list[dict[str, Any]], begun: list[int] | None) -> None:
        self._thread = thread
        self._folder = os.path.join(options.root, options.folder, f"t{thread}")
        self._tree = Tree(options.owner, remember=True)
        self._chooser = Chooser(options, thread, self._tree)
        self._floor = max([0, *(promise["floor"][thread] for promise in promises if _whole(promise))])
        reported = max([0, *(promise["begun"][thread] for promise in promises)])
        self._last = min(options.operations, begun[thread] if begun is not None else reported + LAG)
        self._marks: dict[int, list[dict[str, Any]]] = {}
        for promise in promises:
            if promise["file"] is None or promise["thread"] == thread:
                self._marks.setdefault(promise["floor"][thread], []).append(promise)

    def check(self, result: Result) -> None:
        """Add what is wrong to the result."""
        found = actual(self._folder)
        moment, nodes, nearest = self._match(found)
        result.floors.append(self._floor)
        result.moments.append(moment)
        name = f"thread {self._thread}"
        if moment < 0:
            words = f"{name}: the tree is as after none of its changes {self._floor} (promised) to {self._last} (begun); nearest"
            result.problems.append(f"{words}: {nearest}")
            return
        for path, node in sorted(nodes.items()):
            if node.kind != "file":
                continue
            result.files += 1
            result.exact += len(node.past) == 1
            problem = self._contents(path, node)
            if problem:
                result.problems.append(f"{name}, change {moment}: {path}: {problem}")

    def _match(self, found: dict[str, View]) -> tuple[int, dict[str, Node], str]:
        """The first change from the promised one on after which the model is as `found`, its nodes then, and else what differs least.

        All changes that had begun are done to the model nevertheless: their contents may be there already.
        """
        moment, nodes, least, nearest = -1, dict[str, Node](), 1 << 30, ""

        def look(number: int) -> None:
            nonlocal moment, nodes, least, nearest
            if moment >= 0 or number < self._floor:
                return
            differing = _differences(self._tree.view(), found)
            if not differing:
                moment, nodes = number, dict(self._tree.names)
            elif len(differing) < least:
                least, nearest = len(differing), f"after change {number}: {'; '.join(differing[:DIFFERENCES])}"

        self._settle(0)
        look(0)
        for number in range(1, self._last + 1):
            for part in parts(self._chooser.next()):
                self._tree.apply(part)
                if number > self._floor:
                    look(number)
            self._settle(number)
            look(number)
        return moment, nodes, nearest

    def _settle(self, number: int) -> None:
        for promise in self._marks.get(number, []):
            if promise["file"] is None:
                for node in self._tree.names.values():
                    node.settle(times=True)
            elif promise["how"] == "O_SYNC":
                self._tree.names[promise["file"]].settle_range(*promise["range"])
            else:
                self._tree.names[promise["file"]].settle(times=promise["how"] != "fdatasync")

    def _contents(self, path: str, node: Node) -> str:
        """What is wrong with the contents or the time of a file; empty where nothing is."""
        full = os.path.join(self._folder, path)
        with open(full, "rb", buffering=0) as file:
            data = b"".join(iter(lambda: file.read(1 << 17), b""))
            info = os.fstat(file.fileno())
        if len(data) != info.st_size:
            return f"st_size is {info.st_size}, and {len(data)} bytes can be read"
        if None not in node.times and info.st_mtime_ns not in node.times:
            return f"the modification time is {info.st_mtime_ns}, expected {' or '.join(map(str, node.times))}"
        return judge(data, node.past)


def judge(data: bytes, past: list[bytes]) -> str:
    """What is wrong with a file's bytes, of which `past` are the contents that it may have, the promised ones first; else empty.

    Zeros are also right behind the end of any of them: blocks of one write, or of several, reach the disk in any order, and what was
    never promised may be a hole where a later block is there already. What was there in another file's or an older life of the
    block is never right.
    """
    if data in past:
        return ""
    sizes = [len(version) for version in past]
    if not min(sizes) <= len(data) <= max(sizes):
        expected = str(sizes[0]) if len(past) == 1 else f"{min(sizes)} to {max(sizes)}"
        return f"it has {len(data)} bytes, expected {expected}"
    for start in range(0, len(data), 512):
        piece = data[start : start + 512]
        if any(version[start : start + len(piece)] == piece for version in past):
            continue
        for at, byte in enumerate(piece, start):
            if any(at < len(version) and version[at] == byte for version in past):
                continue
            if byte == 0 and min(sizes) <= at:
                continue
            allowed = " or ".join(f"{value:#04x}" for value in sorted({version[at] for version in past if at < len(version)}))
            return f"byte {at} of {len(data)} is {byte:#04x}, expected {allowed} ({_nature(data, at)})"
    return ""


def _nature(data: bytes, at: int) -> str:
    zeros = len(data[at:]) - len(data[at:].lstrip(b"\0"))
    return f"{zeros} zeros from there on" if zeros else f"from there on {data[at : at + 8].hex()}"


def _whole(promise: dict[str, Any]) -> bool:
    """Whether it promises the metadata of the whole volume: fdatasync need not, where it is for one file."""
    return promise["how"] != "fdatasync" or promise["file"] is None


def _differences(model: dict[str, View], found: dict[str, View]) -> list[str]:
    if model == found:
        return []
    lines = [f"{path or '.'} is missing" for path in sorted(set(model) - set(found))]
    lines += [f"{path or '.'} is there" for path in sorted(set(found) - set(model))]
    for path in sorted(set(model) & set(found)):
        if model[path] != found[path]:
            lines.append(f"{path or '.'} is {_short(found[path])}, expected {_short(model[path])}")
    return lines


def _short(view: View) -> str:
    text = repr(view)
    return text if len(text) < 160 else f"{text[:160]}…"


def actual(folder: str) -> dict[str, View]:
    """A real folder as Tree.view() gives the model."""
    seen: dict[str, os.stat_result] = {}
    vectors: dict[str, bytes] = {}
    dimensions: dict[str, int] = {}
    todo = [ROOT]
    while todo:
        path = todo.pop()
        full = os.path.join(folder, path) if path else folder
        seen[path] = os.lstat(full)
        if not stat.S_ISDIR(seen[path].st_mode):
            continue
        descriptor = os.open(full, os.O_RDONLY | os.O_DIRECTORY)
        try:
            dimensions[path] = calls.dimension_of(descriptor)
            for name in os.listdir(descriptor):
                todo.append(below(path, name))
                if dimensions[path] and stat.S_ISREG((info := os.lstat(os.path.join(full, name))).st_mode):
                    vectors[below(path, name)] = calls.vector_of(descriptor, dimensions[path], info.st_ino)
        finally:
            os.close(descriptor)
    first: dict[int, str] = {}
    for path in sorted(seen):
        first.setdefault(seen[path].st_ino, path)
    return {path: _view(folder, path, info, first, vectors, dimensions) for path, info in seen.items()}


def _view(
    folder: str, path: str, info: os.stat_result, first: dict[int, str], vectors: dict[str, bytes], dimensions: dict[str, int]
) -> View:
    full = os.path.join(folder, path) if path else folder
    kind = _KINDS.get(stat.S_IFMT(info.st_mode), "other")
    names = sorted(name for name in os.listxattr(full, follow_symlinks=False) if name.startswith("user."))
    attributes = tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names)
    common = (kind, stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid), attributes)
    if kind == "dir":
        return (*common, dimensions[path])
    links = (info.st_nlink, first[info.st_ino])
    return (*common, *links, os.readlink(full)) if kind == "link" else (*common, *links, vectors.get(path, b""))
