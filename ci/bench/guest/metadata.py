# SPDX-License-Identifier: Apache-2.0
"""The metadata loop: create, stat, list, rename and unlink many small files, each step timed and its result looked at.

Writes one JSON file with operations and nanoseconds for each step; who reads it computes the rates. The interpreter's
own time is part of each operation, the same for every system that is measured beside it; not of listings, of which it would be most.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ci.bench.guest import listing

# One listing of a few hundred files is over in a millisecond, which the clock and the scheduler would drown.
READDIR_PASSES = 20
READ_BACK = 32


Steps = dict[str, tuple[int, int, int]]


class Wrong(Exception):
    """The file system answered something false; a rate of it would mean nothing."""


# The control that must show up as slower: each operation of it waits this long first.
SLOWED_SECONDS = 0.0005


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
    passes = [b"".join(listing.blocks(folder)) for _ in range(READDIR_PASSES)]
    for found in passes[1:]:
        if found != passes[0]:
            raise Wrong("the folder, which nobody changes, is listed in two ways")
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


def measure(directory: Path, files: int, size: int, meet: Callable[[], object] = lambda: None, pause: float = 0) -> Steps:
    """Operations, and the begin and the end in nanoseconds, of each step on `files` files of `size` bytes.

    `meet` is called before each step, so that those who work beside each other begin it together. `pause` in seconds slows each
    operation, for the control. Wrong or OSError where it fails.
    """
    folder = str(directory)
    os.mkdir(folder)
    names = [f"file-{number:06d}" for number in range(files)]
    content = bytes(index % 251 for index in range(size))
    steps: dict[str, Callable[[list[str]], int]] = {
        "create": lambda some: _create(folder, some, content),
        "stat": lambda some: _stat(folder, some, size),
        "readdir": lambda some: _readdir(folder, names),
        "rename": lambda some: _rename(folder, some),
        "unlink": lambda some: _unlink(folder, some),
    }
    after = {"create": names, "rename": [f"renamed-{name}" for name in names], "unlink": []}
    result: Steps = {}
    for step, action in steps.items():
        meet()
        begin = time.perf_counter_ns()
        operations = _slowly(action, names, pause) if pause and step != "readdir" else action(names)
        result[step] = (operations, begin, time.perf_counter_ns())
        if step == "readdir" and (seen := listing.count(listing.blocks(folder))) != len(names):
            raise Wrong(f"the folder lists {seen} of {len(names)} files")
        if step in after:
            _look(folder, after[step], content)
    os.rmdir(folder)
    return result


def _slowly(action: Callable[[list[str]], int], names: list[str], pause: float) -> int:
    operations = 0
    for name in names:
        time.sleep(pause)
        operations += action([name])
    return operations


def together(directory: Path, count: int, work: Callable[[Path, Callable[[], object]], Steps]) -> dict[str, dict[str, int]]:
    """`count` processes, each in a folder of its own, begin each step together; a step lasts from the first begin to the last end.

    `work` measures in a folder that is not there yet, and calls what it is given before each of its steps.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    results: Any = context.SimpleQueue()

    def one(number: int) -> None:
        try:
            results.put(work(directory / f"part-{number}", barrier.wait))
        except BaseException as error:  # said by the parent, which the others must not wait for
            barrier.abort()
            results.put(error if isinstance(error, (OSError, Wrong)) else Wrong(f"{type(error).__name__}: {error}"))

    workers = [context.Process(target=one, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    answers = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    if failed:
        raise next((error for error in failed if not isinstance(error, Wrong) or "BrokenBarrier" not in str(error)), failed[0])
    return {
        step: {
            "operations": sum(answer[step][0] for answer in answers),
            "nanoseconds": max(answer[step][2] for answer in answers) - min(answer[step][1] for answer in answers),
        }
        for step in answers[0]
    }


def program(name: str, option: str, arguments: list[str], measured: Callable[[Path, int, int, Callable[[], object], float], Steps]) -> int:
    """A loop's command line: `NAME --directory D --files N --OPTION NUMBER --output FILE`; exit 1 with a sentence where an answer is wrong.

    `measured` gets a worker's folder, the two numbers, what to call before each step, and the pause of the slowed control in seconds.
    """
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--files", type=int, required=True)
    parser.add_argument(f"--{option}", dest="number", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--slowed", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    print("begins", flush=True)
    pause = SLOWED_SECONDS if given.slowed else 0

    def work(folder: Path, meet: Callable[[], object]) -> Steps:
        return measured(folder, given.files, given.number, meet, pause)

    try:
        steps = together(given.directory, given.threads, work)
    except (OSError, Wrong) as error:
        print(f"{name}: {error}", flush=True)
        return 1
    given.output.write_text(json.dumps({"files": given.files, option: given.number, "steps": steps}, indent=1) + "\n")
    return 0


def main(arguments: list[str]) -> int:
    """The command `metadata`; see `program`, with `--size` in bytes."""
    return program("metadata", "size", arguments, measure)
