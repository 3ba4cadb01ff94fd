# SPDX-License-Identifier: Apache-2.0
"""The metadata loop: create, stat, list, rename and unlink many small files, each step timed and its result looked at.

Writes one JSON file with operations and nanoseconds for each step; who reads it computes the rates. The interpreter's
own time is part of each operation and the same for every system that is measured beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

# One listing of a few hundred files is over in a millisecond, which the clock and the scheduler would drown.
READDIR_PASSES = 20
READ_BACK = 32


class Wrong(Exception):
    """The file system answered something false; a rate of it would mean nothing."""


def _create(folder: str, names: list[str], content: bytes) -> int:
    for name in names:
        handle = os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            if content and os.write(handle, content) != len(content):
                raise Wrong(f"short write to {name}")
        finally:
            os.close(handle)
    return len(names)


def _stat(folder: str, names: list[str], size: int) -> int:
    for name in names:
        if (seen := os.stat(f"{folder}/{name}").st_size) != size:
            raise Wrong(f"{name} has {seen} bytes, {size} were written")
    return len(names)


def _readdir(folder: str, names: list[str]) -> int:
    for _ in range(READDIR_PASSES):
        if (seen := len(os.listdir(folder))) != len(names):
            raise Wrong(f"the folder lists {seen} of {len(names)} files")
    return READDIR_PASSES * len(names)


def _rename(folder: str, names: list[str]) -> int:
    for name in names:
        os.rename(f"{folder}/{name}", f"{folder}/renamed-{name}")
    return len(names)


def _unlink(folder: str, names: list[str]) -> int:
    for name in names:
        os.unlink(f"{folder}/renamed-{name}")
    return len(names)


def _look(folder: str, expected: list[str], content: bytes) -> None:
    """Not timed: are exactly these files there, and do some of them hold what was written?"""
    if (seen := sorted(os.listdir(folder))) != sorted(expected):
        raise Wrong(f"the folder lists {len(seen)} files where {len(expected)} were expected")
    for name in expected[:: max(1, len(expected) // READ_BACK)]:
        if Path(folder, name).read_bytes() != content:
            raise Wrong(f"{name} does not hold what was written")


def measure(directory: Path, files: int, size: int) -> dict[str, dict[str, int]]:
    """Operations and nanoseconds of each step on `files` files of `size` bytes; Wrong or OSError where it fails."""
    folder = str(directory / "metadata")
    os.mkdir(folder)
    names = [f"file-{number:06d}" for number in range(files)]
    content = bytes(index % 251 for index in range(size))
    steps: dict[str, Callable[[], int]] = {
        "create": lambda: _create(folder, names, content),
        "stat": lambda: _stat(folder, names, size),
        "readdir": lambda: _readdir(folder, names),
        "rename": lambda: _rename(folder, names),
        "unlink": lambda: _unlink(folder, names),
    }
    after = {"create": names, "rename": [f"renamed-{name}" for name in names], "unlink": []}
    result: dict[str, dict[str, int]] = {}
    for step, action in steps.items():
        print(f"step {step}", flush=True)
        begin = time.perf_counter_ns()
        operations = action()
        result[step] = {"operations": operations, "nanoseconds": time.perf_counter_ns() - begin}
        if step in after:
            _look(folder, after[step], content)
    os.rmdir(folder)
    return result


def main(arguments: list[str]) -> int:
    """`metadata --directory D --files N --size BYTES --output FILE`; exit 1 with a sentence where an answer is wrong."""
    parser = argparse.ArgumentParser(prog="metadata")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--files", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        steps = measure(options.directory, options.files, options.size)
    except (OSError, Wrong) as error:
        print(f"metadata: {error}", flush=True)
        return 1
    options.output.write_text(json.dumps({"files": options.files, "size": options.size, "steps": steps}, indent=1) + "\n")
    return 0
