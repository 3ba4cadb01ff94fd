# SPDX-License-Identifier: Apache-2.0
"""The log of dm-log-writes (drivers/md/dm-log-writes.c), and the disks that a power cut could have left.

The log has every write in the order in which it ended, with its data, and what was flushed. A disk keeps what was flushed; of what came
later it may keep any part, cut between sectors.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SECTOR = 512
_MAGIC = 0x6A736677736872
_SUPER, _ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD, _MARK = 1, 2, 4, 8
_ONE_IN_TORN = 8  # of the writes that were not flushed, so many are torn rather than whole or lost


@dataclass(frozen=True)
class Entry:
    """A write of `size` bytes at `offset`; its data is at `place` in the log. A mark has a `label` instead."""

    offset: int
    size: int
    place: int
    flags: int
    label: str = ""

    @property
    def flush(self) -> bool:
        """What had ended before is durable."""
        return bool(self.flags & _FLUSH)

    @property
    def durable(self) -> bool:
        """It is durable itself as soon as it has ended."""
        return bool(self.flags & _FUA)

    @property
    def discard(self) -> bool:
        """The range is given back to the disk."""
        return bool(self.flags & _DISCARD)


def read(path: str) -> list[Entry]:
    """All entries, in order. ValueError where it is no such log, or one that was cut off."""
    with open(path, "rb", buffering=0) as file:
        magic, version, count, size = _SUPER.unpack(os.pread(file.fileno(), _SUPER.size, 0))
        if magic != _MAGIC or version != 1:
            raise ValueError(f"{path} is no log of dm-log-writes")
        return list(_entries(file.fileno(), count, size))


def _entries(descriptor: int, count: int, size: int) -> Iterator[Entry]:
    place = size
    for number in range(count):
        head = os.pread(descriptor, size, place)
        if len(head) < _ENTRY.size:
            raise ValueError(f"the log ends after {number} of {count} entries")
        sector, sectors, flags, _ = _ENTRY.unpack_from(head)
        place += size
        label = head[_ENTRY.size :].split(b"\0")[0].decode() if flags & _MARK else ""
        bytes_there = 0 if flags & (_DISCARD | _MARK) else sectors * SECTOR
        yield Entry(sector * SECTOR, sectors * SECTOR, place, flags, label)
        place += -(-bytes_there // size) * size


@dataclass(frozen=True)
class Cut:
    """A power cut after so many entries of the log. `marks`: how many marks came before."""

    entry: int
    marks: int


class Disks:
    """Makes, one after the other, the disks that cuts leave. `target` is a copy of the disk as it was when the log began.

    `lies`: the disk forgets what it was told to flush, which nothing can survive: it proves that the check sees it.
    """

    def __init__(self, log: str, target: str, entries: list[Entry], *, lies: bool = False) -> None:
        self._log = os.open(log, os.O_RDONLY)
        self._target = os.open(target, os.O_RDWR)
        self._entries = entries
        self._lies = lies
        self._done = 0

    def close(self) -> None:
        """Let the files go."""
        os.close(self._log)
        os.close(self._target)

    def cut(self, cut: Cut, dice: random.Random, copy: str) -> tuple[int, int]:
        """Make `copy` the disk of this cut; cuts come in rising order. Returns how many writes were not flushed, and of how many the disk
        has something."""
        flushes = [number for number in range(self._done, cut.entry) if self._entries[number].flush]
        durable = 0 if self._lies else (flushes[-1] if flushes else self._done)
        while self._done < durable:
            self._write(self._target, self._entries[self._done])
            self._done += 1
        _copy_sparse(self._target, copy)
        open_end = [entry for entry in self._entries[self._done : cut.entry] if not entry.label and (entry.size or entry.discard)]
        kept = 0
        with open(copy, "rb+", buffering=0) as file:
            for entry in open_end:
                fate = dice.randrange(2 * _ONE_IN_TORN)
                whole = (entry.durable and not self._lies) or fate < _ONE_IN_TORN
                sectors = entry.size // SECTOR
                if whole or fate == _ONE_IN_TORN:
                    self._write(file.fileno(), entry, None if whole else dice.randrange(sectors + 1))
                    kept += 1
        return len(open_end), kept

    def _write(self, descriptor: int, entry: Entry, sectors: int | None = None) -> None:
        """Do one write, or only its first sectors. What was discarded reads as zeros."""
        size = entry.size if sectors is None else sectors * SECTOR
        if entry.label or not size:
            return
        data = bytes(size) if entry.discard else os.pread(self._log, size, entry.place)
        if len(data) != size or os.pwrite(descriptor, data, entry.offset) != size:
            raise OSError(0, f"the log's write of {size} bytes at {entry.offset} could not be copied")


def cuts(entries: list[Entry], number: int, dice: random.Random) -> list[Cut]:
    """`number` moments in rising order: half of them right after a flush or a durable write, the others anywhere."""
    boundaries = [place + 1 for place, entry in enumerate(entries) if entry.flush or entry.durable]
    chosen = set(dice.sample(boundaries, min(number // 2, len(boundaries))))
    others = [place for place in range(1, len(entries) + 1) if place not in chosen]
    chosen.update(dice.sample(others, min(number - len(chosen), len(others))))
    return [Cut(place, sum(bool(entry.label) for entry in entries[:place])) for place in sorted(chosen)]


def _copy_sparse(descriptor: int, path: str) -> None:
    """A copy of an open file, with its holes."""
    size = os.fstat(descriptor).st_size
    with open(path, "wb", buffering=0) as file:
        file.truncate(size)
        place = 0
        while place < size:
            try:
                place = os.lseek(descriptor, place, os.SEEK_DATA)
            except OSError:
                return  # no data behind (ENXIO)
            end = os.lseek(descriptor, place, os.SEEK_HOLE)
            while place < end:
                place += os.copy_file_range(descriptor, file.fileno(), end - place, place, place)
