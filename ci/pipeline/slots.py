# SPDX-License-Identifier: Apache-2.0
"""Several guests at once: each slot has a guest of its own and takes the next item when it is free."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from ci import console
from ci.errors import InfrastructureError, UsageError
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


class Slots(Generic[Item]):
    """Shares out `items` among as many slots as the pool has; the pool itself is the first. A context: it lets go of the others' guests.

    `kernel` says which kernel of vexci.yaml an item needs: a slot stays with one as long as there is an item for it, so that guests
    are not exchanged more than necessary.
    """

    def __init__(self, pool: Pool, items: Sequence[Item], *, kernel: Callable[[Item], str] | None = None) -> None:
        self._waiting = _Waiting(items, kernel or (lambda _: ""))
        self._stack = ExitStack()
        self._problems: list[BaseException] = []
        self.count = min(pool.slots, len(items))
        self._pools = [pool, *(self._stack.enter_context(pool.beside(number)) for number in range(2, self.count + 1))]
        turns = [self._next(number, own, own.spec.kernel if kernel else "") for number, own in enumerate(list(self._pools), 1)]
        self._first = [turn for turn in turns if turn is not None]  # there are no more slots than items

    def __enter__(self) -> Slots[Item]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def start(self) -> None:
        """Have all first guests started, at the same time. What the first slot's start raises is raised; another's is tried again, and
        then judged, when its item needs it."""

        def start(number: int, turn: _Turn[Item]) -> None:
            try:
                turn.pool.guest()
            except InfrastructureError as error:
                if number == 1:
                    raise
                console.note(f"slot {number}: {error}")

        self._in_threads(start)

    def run(self, work: Callable[[Pool, Item], None]) -> None:
        """`work(slot's pool, item)` for each item. The first error that it raises is raised here when every slot has come to its end; no
        slot takes another item then. On Ctrl-C the guests are ended first, which ends what waits for them."""

        def slot(number: int, first: _Turn[Item]) -> None:
            turn: _Turn[Item] | None = first
            while turn is not None and not self._problems:
                work(turn.pool, turn.item)
                turn = self._next(number, turn.pool, turn.kernel)

        self._in_threads(slot)

    def _next(self, number: int, own: Pool, at: str) -> _Turn[Item] | None:
        """What the slot does next, with another pool in the place of `own` where the item needs another kernel; None at the end."""
        taken = self._waiting.take(number, at)
        if taken is None:
            return None
        item, kernel = taken
        if kernel != at:
            own.discard()
            own = self._stack.enter_context(own.on(kernel))
            self._pools.append(own)
        return _Turn(own, item, kernel)

    def _in_threads(self, body: Callable[[int, _Turn[Item]], None]) -> None:
        """`body(slot, its first turn)` in all slots at once; the first error of any is raised when all have ended."""

        def noted(number: int, turn: _Turn[Item]) -> None:
            try:
                body(number, turn)
            except BaseException as error:
                self._problems.append(error)

        def stop() -> None:
            for own in self._pools:
                own.end("the end of the tool")

        if self.count == 1:
            noted(1, self._first[0])
        else:
            threads = [threading.Thread(target=noted, args=each, name=f"slot-{each[0]}") for each in enumerate(self._first, 1)]
            run_all(threads, self._problems, stop)
        if self._problems:
            raise self._problems[0]


@dataclass(frozen=True)
class _Turn(Generic[Item]):
    """An item, and the pool with the kernel that it needs."""

    pool: Pool
    item: Item
    kernel: str


class _Waiting(Generic[Item]):
    """The items that no slot has taken yet."""

    def __init__(self, items: Sequence[Item], kernel: Callable[[Item], str]) -> None:
        self._items = list(items)
        self._kernel = kernel
        self._kernel_of: dict[int, str] = {}  # by slot
        self._lock = threading.Lock()

    def take(self, slot: int, at: str) -> tuple[Item, str] | None:
        """The next item for a slot, and the kernel that it needs; None where none is left.

        A slot stays with its kernel. Where there is nothing left for it, and at first, it takes a kernel that no other slot has, the
        pool's own (`at`) before others, and then that with the most items.
        """
        with self._lock:
            left = Counter(self._kernel(item) for item in self._items)
            needed = self._kernel_of.get(slot, "")
            if slot not in self._kernel_of or needed not in left:
                others = {name for number, name in self._kernel_of.items() if number != slot}
                if not left:
                    return None
                needed = max(left, key=lambda name: (name not in others, name == at, left[name]))
            self._kernel_of[slot] = needed
            index = next(index for index, item in enumerate(self._items) if self._kernel(item) == needed)
            return self._items.pop(index), needed
