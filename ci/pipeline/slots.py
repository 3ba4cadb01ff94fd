# SPDX-License-Identifier: Apache-2.0
"""Several guests at once: each slot has a guest of its own and takes the next item when it is free."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Generic, TypeVar

from ci.errors import UsageError
from ci.pipeline.pool import Pool
from ci.pipeline.threads import run_all

Item = TypeVar("Item")


def check_slots(slots: int, guest: str = "") -> None:
    """Refuse a number of slots that cannot be."""
    most = os.cpu_count() or 1
    if slots < 1 or slots > most:
        raise UsageError(f"--slots {slots}: expected 1 to {most}, the number of processors here")
    if slots > 1 and guest:
        raise UsageError(f"--slots {slots} and --guest {guest} contradict each other: one running guest is one slot")


def distribute(
    pool: Pool, items: Sequence[Item], work: Callable[[Pool, Item], None], *, kernel: Callable[[Item], str] | None = None
) -> None:
    """`work(slot's pool, item)` for each item, in as many slots as the pool has; the pool itself is the first.

    `kernel` says which kernel of vexci.yaml an item needs: a slot stays with one as long as there is an item for it, so that guests
    are not exchanged more than necessary. The first error that `work` raises is raised here when every slot has come to its end; no
    slot takes another item then. On Ctrl-C the guests are ended first, which ends what waits for them.
    """
    waiting = _Waiting(items, kernel or (lambda _: ""))
    problems: list[BaseException] = []
    count = min(pool.slots, len(items))
    with ExitStack() as stack:
        pools = [pool, *(stack.enter_context(pool.beside(number)) for number in range(2, count + 1))]

        def slot(number: int, first: Pool) -> None:
            own, at = first, first.spec.kernel if kernel else ""
            try:
                while not problems:
                    item, needed = waiting.take(number, at)
                    if needed != at:
                        own.discard()
                        own, at = stack.enter_context(first.on(needed)), needed
                        pools.append(own)
                    work(own, item)
            except IndexError:
                return
            except BaseException as error:
                problems.append(error)

        if count == 1:
            slot(1, pool)
        else:
            _in_threads(pools, slot, problems)
    if problems:
        raise problems[0]


class _Waiting(Generic[Item]):
    """The items that no slot has taken yet."""

    def __init__(self, items: Sequence[Item], kernel: Callable[[Item], str]) -> None:
        self._items = list(items)
        self._kernel = kernel
        self._kernel_of: dict[int, str] = {}  # by slot
        self._lock = threading.Lock()

    def take(self, slot: int, at: str) -> tuple[Item, str]:
        """The next item for a slot, and the kernel that it needs; IndexError where none is left.

        A slot stays with its kernel. Where there is nothing left for it, and at first, it takes a kernel that no other slot has, the
        pool's own (`at`) before others, and then that with the most items.
        """
        with self._lock:
            left = Counter(self._kernel(item) for item in self._items)
            needed = self._kernel_of.get(slot, "")
            if slot not in self._kernel_of or needed not in left:
                others = {name for number, name in self._kernel_of.items() if number != slot}
                if not left:
                    raise IndexError("no item is left")
                needed = max(left, key=lambda name: (name not in others, name == at, left[name]))
            self._kernel_of[slot] = needed
            index = next(index for index, item in enumerate(self._items) if self._kernel(item) == needed)
            return self._items.pop(index), needed


def _in_threads(pools: list[Pool], slot: Callable[[int, Pool], None], problems: list[BaseException]) -> None:
    threads = [threading.Thread(target=slot, args=(number, own), name=f"slot-{number}") for number, own in enumerate(pools, 1)]

    def stop() -> None:
        for own in pools:
            own.end("the end of the tool")

    run_all(threads, problems, stop)
