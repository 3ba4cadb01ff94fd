# SPDX-License-Identifier: Apache-2.0
"""Trees of small files, as a source tree is unpacked, walked, read and removed; each step timed and its result looked at.

Sizes follow a log-normal distribution around 3 KiB, as those of source files do, and content differs from file to file. The same
seed gives the same tree everywhere. Writes one JSON file with operations and nanoseconds for each step.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ci.bench.guest.metadata import Steps, Wrong, program

Item = TypeVar("Item")
FILES_A_FOLDER = 12
FOLDERS_A_FOLDER = 4
MIDDLE, SPREAD, LARGEST = 3072, 1.2, 1 << 16


@dataclass(frozen=True)
class File:
    """A file of the tree: its path below the root, its size in bytes, and where its content begins in the block of bytes."""

    path: str
    size: int
    start: int


def shape(files: int, seed: int) -> tuple[list[str], list[File]]:
    """(folders, parents first; files), paths from the tree's root on."""
    generator = random.Random(seed)
    folders = [""]
    for number in range(1, max(1, -(-files // FILES_A_FOLDER))):
        above = folders[(number - 1) // FOLDERS_A_FOLDER]
        folders.append(f"{above}/folder-{number:05d}" if above else f"folder-{number:05d}")
    found = []
    for number in range(files):
        size = min(LARGEST, max(1, int(generator.lognormvariate(0, SPREAD) * MIDDLE)))
        name = f"file-{number:06d}.c"
        above = folders[number // FILES_A_FOLDER]
        found.append(File(f"{above}/{name}" if above else name, size, generator.randrange(LARGEST)))
    return folders[1:], found


def measure(directory: Path, files: int, seed: int, meet: Callable[[], object] = lambda: None, pause: float = 0) -> Steps:
    """Operations, begin and end in nanoseconds of each step. `pause` in seconds slows each file, for the control.

    Wrong or OSError where it fails.
    """
    folders, chosen = shape(files, seed)
    block = random.Random(seed).randbytes(2 * LARGEST)
    root = str(directory)
    os.mkdir(root)
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    steps: dict[str, Callable[[], int]] = {
        "unpack": lambda: _unpack(root, handle, folders, chosen, block, pause),
        "walk": lambda: _walk(root, folders, chosen, pause),
        "read": lambda: _read(root, chosen, block, pause),
        "remove": lambda: _remove(root, folders, chosen, pause),
    }
    result: Steps = {}
    try:
        for step, action in steps.items():
            meet()
            begin = time.perf_counter_ns()
            operations = action()
            result[step] = (operations, begin, time.perf_counter_ns())
        if left := os.listdir(root):
            raise Wrong(f"{left[0]} is there after everything was removed")
    finally:
        os.close(handle)
    os.rmdir(root)
    return result


def _unpack(root: str, handle: int, folders: list[str], files: list[File], block: bytes, pause: float) -> int:
    """Makes everything, and asks for it to be safe before the clock stops."""
    for folder in folders:
        os.mkdir(f"{root}/{folder}")
    for file in _slowly(files, pause):
        with open(f"{root}/{file.path}", "xb", buffering=0) as written:
            if written.write(block[file.start : file.start + file.size]) != file.size:
                raise Wrong(f"short write to {file.path}")
    if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), root)
    return len(files)


def _walk(root: str, folders: list[str], files: list[File], pause: float) -> int:
    """Lists every folder and asks for the size of every file."""
    seen = size = below = 0
    for current, inside, names in os.walk(root):
        below += len(inside)
        for name in _slowly(names, pause):
            size += os.stat(f"{current}/{name}").st_size
            seen += 1
    if (seen, below, size) != (len(files), len(folders), sum(file.size for file in files)):
        raise Wrong(f"the tree shows {seen} files in {below} folders with {size} bytes, which is not what was made")
    return len(files)


def _read(root: str, files: list[File], block: bytes, pause: float) -> int:
    for file in _slowly(files, pause):
        with open(f"{root}/{file.path}", "rb", buffering=0) as stored:
            content = stored.read()
        if zlib.crc32(content) != zlib.crc32(block[file.start : file.start + file.size]):
            raise Wrong(f"{file.path} does not hold what was written")
    return len(files)


def _remove(root: str, folders: list[str], files: list[File], pause: float) -> int:
    for file in _slowly(files, pause):
        os.unlink(f"{root}/{file.path}")
    for folder in reversed(folders):
        os.rmdir(f"{root}/{folder}")
    return len(files)


def _slowly(items: list[Item], pause: float) -> Iterator[Item]:
    for item in items:
        if pause:
            time.sleep(pause)
        yield item


def main(arguments: list[str]) -> int:
    """The command `tree`; see `program`, with `--seed`."""
    return program("tree", "seed", arguments, measure)
