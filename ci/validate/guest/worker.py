# SPDX-License-Identifier: Apache-2.0
"""The crash suite's workload: threads that change their trees at random, and tell what fsync has promised them.

A promise is told only after the call has returned. `how` it was asked for, `floor` (per thread: so many changes, finished before
the call began, are durable with all their metadata), and whose contents are: of the `file` of a `thread` (with O_SYNC of this `range`
of bytes only), or of all (`null`).
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import calls
from .changes import SYNCS, Chooser, Options
from .trees import Change, Tree, parent, parts

HELD = 4  # files that a thread keeps open after their names are gone
Report = Callable[[dict[str, Any]], None]


class Progress:
    """How many changes each thread has begun; in a file, so that it outlives whoever is killed.

    Another process reads it while the threads count. `struct` fills its bytes with zeros before it writes a number, and read(2) copies
    a page byte by byte: either may show fewer changes than had begun. Here a number is stored and loaded as one aligned word.
    """

    def __init__(self, options: Options) -> None:
        area = mmap.mmap(-1, 8 * options.threads)
        if options.progress:
            with open(options.progress, "w+b") as file:
                file.truncate(8 * options.threads)
                area = mmap.mmap(file.fileno(), 8 * options.threads)
        self._numbers = memoryview(area).cast("Q")

    def begin(self, thread: int, number: int) -> None:
        """The thread begins its change `number`, counted from 1."""
        self._numbers[thread] = number

    def begun(self) -> list[int]:
        """What all threads have begun."""
        return self._numbers.tolist()


class Workload:
    """All threads of one workload. `report` is called from any of them, one at a time."""

    def __init__(self, options: Options, report: Report) -> None:
        self.options = options
        self.base = os.path.join(options.root, options.folder)
        self.progress = Progress(options)
        self.done = [0] * options.threads
        self._report = report
        self._lock = threading.Lock()

    def tell(self, message: dict[str, Any]) -> None:
        """Report from a thread."""
        with self._lock:
            self._report(message)

    def run(self) -> None:
        """Make the folders, which are the first promise, and change them until every thread has done its share, or failed."""
        os.umask(0)
        os.mkdir(self.base, 0o755)
        for number in range(self.options.threads):
            os.mkdir(os.path.join(self.base, f"t{number}"), 0o755)
        _fsync(self.base, os.O_DIRECTORY)
        self.tell({"ready": self.options.folder})
        threads = [threading.Thread(target=_Worker(self, number).run, name=f"t{number}") for number in range(self.options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.tell({"ended": self.done, "begun": self.progress.begun()})


class _Worker:
    """One thread."""

    def __init__(self, workload: Workload, number: int) -> None:
        self._workload = workload
        self._number = number
        self._tree = Tree(workload.options.owner, remember=False)
        self._chooser = Chooser(workload.options, number, self._tree)
        self._folder = os.path.join(workload.base, f"t{number}")
        self._held: list[int] = []

    def run(self) -> None:
        for number in range(1, self._workload.options.operations + 1):
            change = self._chooser.next()
            self._workload.progress.begin(self._number, number)
            try:
                self._one(change)
            except OSError as error:
                what = f"{change.kind} {change.path}" + (f" {change.other[:60]}" if change.other else "")
                self._workload.tell({"error": f"{what}: {error}", "errno": error.errno, "thread": self._number, "change": number})
                return
            for part in parts(change):
                self._tree.apply(part)
            self._workload.done[self._number] = number

    def _one(self, change: Change) -> None:
        floor = list(self._workload.done)
        if change.kind in SYNCS:
            getattr(self, f"_{change.kind}")(change)
            self._promise(change.kind, floor, change.path)
            return
        getattr(self, f"_{change.kind.replace('-', '_')}")(change)
        if change.kind == "write" and change.flag:  # O_SYNC: the write itself is promised too
            floor[self._number] += 1
            self._promise("O_SYNC", floor, change.path, (change.offset, change.offset + len(change.value)))

    def _promise(self, how: str, floor: list[int], path: str, part: tuple[int, int] = (0, 0)) -> None:
        options = self._workload.options
        everything = options.scope == "volume" or how == "syncfs"
        begun = self._workload.progress.begun()
        file = None if everything else path
        self._workload.tell({"how": how, "floor": floor, "thread": self._number, "file": file, "range": part, "begun": begun})

    def _at(self, path: str) -> str:
        return os.path.join(self._folder, path) if path else self._folder

    @contextmanager
    def _open(self, path: str, flags: int) -> Iterator[int]:
        descriptor = os.open(self._at(path), flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _create(self, change: Change) -> None:
        os.close(os.open(self._at(change.path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, change.number))

    def _fifo(self, change: Change) -> None:
        os.mkfifo(self._at(change.path), change.number)

    def _mkdir(self, change: Change) -> None:
        os.mkdir(self._at(change.path), change.number)

    def _symlink(self, change: Change) -> None:
        os.symlink(change.other, self._at(change.path))

    def _write(self, change: Change) -> None:
        with self._open(change.path, os.O_WRONLY | (os.O_SYNC if change.flag else 0)) as descriptor:
            written = os.pwrite(descriptor, change.value, change.offset)
            if written < len(change.value):
                _explain(written, len(change.value), os.pwrite(descriptor, change.value[written:], change.offset + written))

    def _append(self, change: Change) -> None:
        with self._open(change.path, os.O_WRONLY | os.O_APPEND) as descriptor:
            written = os.write(descriptor, change.value)
            if written < len(change.value):
                _explain(written, len(change.value), os.write(descriptor, change.value[written:]))

    def _map(self, change: Change) -> None:
        with self._open(change.path, os.O_RDWR) as descriptor:
            # With length 0 mmap asks for the size itself, takes no notice of a failure, and then has EINVAL for it.
            size = os.fstat(descriptor).st_size
            with mmap.mmap(descriptor, size) as area:
                area[change.offset : change.offset + len(change.value)] = change.value

    def _truncate(self, change: Change) -> None:
        os.truncate(self._at(change.path), change.size)

    def _allocate(self, change: Change) -> None:
        with self._open(change.path, os.O_WRONLY) as descriptor:
            calls.fallocate(descriptor, calls.KEEP_SIZE if change.flag else 0, change.offset, change.size)

    def _punch(self, change: Change) -> None:
        with self._open(change.path, os.O_WRONLY) as descriptor:
            calls.fallocate(descriptor, calls.KEEP_SIZE | calls.PUNCH_HOLE, change.offset, change.size)

    def _link(self, change: Change) -> None:
        os.link(self._at(change.path), self._at(change.other), follow_symlinks=False)

    def _unlink(self, change: Change) -> None:
        if change.flag and self._tree.names[change.path].kind == "file":
            self._held.append(os.open(self._at(change.path), os.O_RDWR))
            if len(self._held) > HELD:
                os.close(self._held.pop(0))
        os.unlink(self._at(change.path))

    def _rmdir(self, change: Change) -> None:
        os.rmdir(self._at(change.path))

    def _rename(self, change: Change) -> None:
        os.rename(self._at(change.path), self._at(change.other))

    def _exchange(self, change: Change) -> None:
        calls.exchange(self._at(change.path), self._at(change.other))

    def _chmod(self, change: Change) -> None:
        os.chmod(self._at(change.path), change.number)

    def _chown(self, change: Change) -> None:
        os.chown(self._at(change.path), change.number, change.size)

    def _utime(self, change: Change) -> None:
        os.utime(self._at(change.path), ns=(change.number, change.number))

    def _setxattr(self, change: Change) -> None:
        os.setxattr(self._at(change.path), change.other, change.value)

    def _removexattr(self, change: Change) -> None:
        os.removexattr(self._at(change.path), change.other)

    def _collect(self, change: Change) -> None:
        with self._open(change.path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            calls.make_collection(descriptor, change.size)

    def _vector_add(self, change: Change) -> None:
        with self._open(change.path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            calls.add_vectors(descriptor, change.size, change.ids, change.value, change.number)

    def _vector_set(self, change: Change) -> None:
        with self._open(parent(change.path), os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            calls.set_vector(descriptor, os.stat(self._at(change.path)).st_ino, change.value)

    def _vector_remove(self, change: Change) -> None:
        with self._open(parent(change.path), os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            calls.remove_vector(descriptor, os.stat(self._at(change.path)).st_ino)

    def _fsync(self, change: Change) -> None:
        _fsync(self._at(change.path), 0)

    def _fdatasync(self, change: Change) -> None:
        with self._open(change.path, os.O_RDONLY) as descriptor:
            os.fdatasync(descriptor)

    def _fsyncdir(self, change: Change) -> None:
        _fsync(self._at(change.path), os.O_DIRECTORY)

    def _syncfs(self, change: Change) -> None:
        with self._open(change.path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            calls.syncfs(descriptor)


def _explain(written: int, asked: int, rest: int) -> None:
    """Of a short write: asking for the rest raises the reason where there is one (write(2)). Where it does not, nothing excuses it."""
    raise OSError(0, f"a write of {asked} bytes returned {written}, and the rest {rest}, without a reason")


def _fsync(path: str, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def work(text: str) -> int:
    """The agent's command `work`: OPTIONS as JSON; promises as JSON lines on standard output."""
    data = json.loads(text)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    options = Options(**values)

    def report(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(1, line) :]

    Workload(options, report).run()
    return 0


def begun(options: Options) -> list[int] | None:
    """What the progress file says that each thread has begun, also while they go on; None where there is none."""
    if not options.progress:
        return None
    with (
        open(options.progress, "rb") as file,
        mmap.mmap(file.fileno(), 8 * options.threads, access=mmap.ACCESS_READ) as area,
        memoryview(area) as view,
        view.cast("Q") as numbers,
    ):
        return numbers.tolist()
