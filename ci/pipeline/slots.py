# SPDX-License-Identifier: Apache-2.0
"""Several guests at once: each slot has a guest of its own and takes the next item when it is free."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

from ci.errors import UsageError
from ci.pipeline.pool import Pool

Item = TypeVar("Item")
_LOOK_SECONDS = 0.1


def check_slots(slots: int, guest: str = "") -> None:
    """Refuse a number of slots that cannot be."""
    most = os.cpu_count() or 1
    if slots < 1 or slots > most:
        raise UsageError(f"--slots {slots}: expected 1 to {most}, the number of processors here")
    if slots > 1 and guest:
        raise UsageError(f"--slots {slots} and --guest {guest} contradict each other: one running guest is one slot")


def distribute(pool: Pool, items: Sequence[Item], work: Callable[[Pool, Item], None]) -> None:
    """`work(slot's pool, item)` for each item, in as many slots as the pool has; the pool itself is the first.

    The first error that `work` raises is raised here when every slot has come to its end; no slot takes another item then.
    On Ctrl-C the guests are ended first, which ends what waits for them.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    problems: list[BaseException] = []

    def slot(own: Pool) -> None:
        try:
            while not problems:
                work(own, waiting.get_nowait())
        except queue.Empty:
            return
        except BaseException as error:
            problems.append(error)

    count = min(pool.slots, len(items))
    with ExitStack() as stack:
        pools = [pool, *(stack.enter_context(pool.beside(number)) for number in range(2, count + 1))]
        if count == 1:
            slot(pool)
        else:
            _in_threads(pools, slot, problems)
    if problems:
        raise problems[0]


def _in_threads(pools: list[Pool], slot: Callable[[Pool], None], problems: list[BaseException]) -> None:
    threads = [threading.Thread(target=slot, args=(own,), name=f"slot-{number}") for number, own in enumerate(pools, 1)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():  # in short waits, so that a signal is seen
                thread.join(_LOOK_SECONDS)
    except BaseException as error:
        problems.append(error)
        for own in pools:
            own.discard()
        for thread in threads:
            thread.join()
        raise
