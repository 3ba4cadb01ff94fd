# SPDX-License-Identifier: Apache-2.0
"""Several guests at once: each slot has a guest of its own and takes the next item when it is free."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
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
        self._kernel = kernel
        self._waiting = _Waiting(items, kernel or (lambda _: ""))
        self._stack = ExitStack()
        self._problems: list[BaseException] = []
        self.count = min(pool.slots, len(items))
        self._pools = [pool, *(self._stack.enter_context(pool.beside(number)) for number in range(2, self.count + 1))]
        taken = [self._waiting.take(number, self._at(own)) for number, own in enumerate(self._pools, 1)]
        self._first = [each for each in taken if each is not None]  # there are no more slots than items
        given = list(self._pools)
        self._now = [self._for(own, self._at(own), needed) for own, (_, needed) in zip(given, self._first, strict=True)]

    def __enter__(self) -> Slots[Item]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def start(self) -> None:
        """Have all first guests started, at the same time. What the first slot's start raises is raised; another's is tried again, and
        then judged, when its item needs it."""

        def start(number: int, own: Pool) -> None:
            try:
                own.guest()
            except InfrastructureError as error:
                if number == 1:
                    self._problems.append(error)
                else:
                    console.note(f"slot {number}: {error}")
            except BaseException as error:
                self._problems.append(error)

        self._in_threads(start)
        if self._problems:
            raise self._problems[0]

    def run(self, work: Callable[[Pool, Item], None]) -> None:
        """`work(slot's pool, item)` for each item. The first error that it raises is raised here when every slot has come to its end; no
        slot takes another item then. On Ctrl-C the guests are ended first, which ends what waits for them."""

        def slot(number: int, own: Pool) -> None:
            try:
                item, at = self._first[number - 1]
                while not self._problems:
                    work(own, item)
                    following = self._waiting.take(number, at)
                    if following is None:
                        return
                    item, needed = following
                    own, at = self._for(own, at, needed), needed
            except BaseException as error:
                self._problems.append(error)

        self._in_threads(slot)
        if self._problems:
            raise self._problems[0]

    def _at(self, own: Pool) -> str:
        """The kernel of its guests, as an item would name it."""
        return own.spec.kernel if self._kernel else ""

    def _for(self, own: Pool, at: str, kernel: str) -> Pool:
        """The pool for guests with this kernel, in the place of `own`, whose guests have the kernel `at`."""
        if at == kernel:
            return own
        own.discard()
        self._pools.append(self._stack.enter_context(own.on(kernel)))
        return self._pools[-1]

    def _in_threads(self, body: Callable[[int, Pool], None]) -> None:
        if self.count == 1:
            body(1, self._now[0])
            return
        threads = [threading.Thread(target=body, args=(number, own), name=f"slot-{number}") for number, own in enumerate(self._now, 1)]

        def stop() -> None:
            for own in self._pools:
                own.end("the end of the tool")

        run_all(threads, self._problems, stop)


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
