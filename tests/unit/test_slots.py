# SPDX-License-Identifier: Apache-2.0
"""Items are shared out among slots; an error ends all of them, and none is lost."""

from __future__ import annotations

import threading
from itertools import pairwise
from types import TracebackType
from typing import cast

import pytest

from ci.errors import InfrastructureError, ProductFailure, UsageError
from ci.manifest import MachineSpec
from ci.pipeline import pool as pools
from ci.pipeline.pool import Pool
from ci.pipeline.slots import Slots, check_slots

pytestmark = pytest.mark.unit


class Guests:
    """Stands for a pool: it has no guests, but remembers who worked in it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.others: list[Guests] = []
        self.closed = False
        self.ended = ""
        self.started = 0
        self.together: threading.Barrier | None = None
        self.broken: BaseException | None = None

    def __enter__(self) -> Guests:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closed = True

    def beside(self, number: int) -> Guests:
        self.others.append(Guests(self.slots))
        return self.others[-1]

    def discard(self) -> None:
        """There is no guest to let go of."""

    def guest(self) -> None:
        """Starts, at the same time as another, where that is asked for, or does not."""
        self.started += 1
        if self.together is not None:
            self.together.wait()
        if self.broken:
            raise self.broken

    def end(self, why: str) -> None:
        self.ended = why


def run(slots: int, items: list[int], work: object) -> Guests:
    pool = Guests(slots)
    try:
        with Slots(cast(Pool, pool), items) as slots_of:
            slots_of.run(work)  # type: ignore[arg-type]
    finally:
        assert all(other.closed for other in pool.others), "the other slots' guests are ended"
    return pool


def test_two_slots_work_at_the_same_time_and_do_every_item_once() -> None:
    together = threading.Barrier(2, timeout=20)
    done: list[tuple[object, int]] = []

    def work(own: object, item: int) -> None:
        together.wait()  # passes only where both slots are at work
        done.append((own, item))

    run(2, [1, 2, 3, 4], work)
    assert sorted(item for _, item in done) == [1, 2, 3, 4] and len({id(own) for own, _ in done}) == 2


def test_there_are_no_more_slots_than_items() -> None:
    assert run(4, [1, 2], lambda own, item: None).others != [] and len(run(4, [1, 2], lambda own, item: None).others) == 1
    assert run(1, [1, 2, 3], lambda own, item: None).others == []


def test_the_first_error_ends_all_slots() -> None:
    def work(own: object, item: int) -> None:
        raise ProductFailure(f"item {item}")

    with pytest.raises(ProductFailure, match="item"):
        run(2, list(range(50)), work)


@pytest.mark.parametrize("slots", [1, 2])
def test_no_error_is_taken_for_the_end_of_the_work(slots: int) -> None:
    """An index that is wrong inside an item once looked like a list of items that is empty: the item was lost, and nobody said so."""

    def work(own: object, item: int) -> None:
        raise IndexError(f"item {item}")

    with pytest.raises(IndexError, match="item"):
        run(slots, [1, 2, 3], work)


def test_ctrl_c_ends_the_guests_so_that_nobody_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Guests(2)

    def work(own: Guests, item: int) -> None:
        while not own.ended:
            threading.Event().wait(0.01)
        raise ProductFailure("the guest was lost")

    joins = iter([None, KeyboardInterrupt("SIGINT")])
    real = threading.Thread.join

    def join(self: threading.Thread, timeout: float | None = None) -> None:
        error = next(joins, None) if timeout else None
        if error is not None:
            raise error
        real(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt), Slots(cast(Pool, pool), [1, 2]) as slots:
        slots.run(work)  # type: ignore[arg-type]
    assert pool.ended and all(other.ended for other in pool.others)


def test_a_guest_gets_no_more_processors_than_its_slot_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools.os, "cpu_count", lambda: 2)
    spec = MachineSpec("m", "i", "k", cpus=2)
    assert [pools.in_slots(spec, slots).cpus for slots in (1, 2)] == [2, 1]
    for wrong in (0, 3):
        with pytest.raises(UsageError, match="expected 1 to 2"):
            check_slots(wrong)
    with pytest.raises(UsageError, match="contradict"):
        check_slots(2, "default")


class Kernels(Guests):
    """A pool of guests with one kernel, which makes others on demand."""

    def __init__(self, slots: int, kernel: str = "a") -> None:
        super().__init__(slots)
        self.spec = MachineSpec("m", "i", kernel)

    def beside(self, number: int) -> Guests:
        self.others.append(Kernels(self.slots, self.spec.kernel))
        return self.others[-1]

    def on(self, kernel: str) -> Guests:
        self.others.append(Kernels(self.slots, kernel))
        return self.others[-1]


@pytest.mark.parametrize("slots", [1, 2])
def test_each_item_runs_with_its_kernel_and_a_slot_stays_with_one(slots: int) -> None:
    pool, done = Kernels(slots), list[tuple[int, str, str]]()
    together = threading.Barrier(slots, timeout=20)

    def work(own: Kernels, item: str) -> None:
        if threading.get_ident() not in {thread for thread, _, _ in done}:
            together.wait()
        done.append((threading.get_ident(), own.spec.kernel, item))

    items = ["a1", "b1", "a2", "b2", "a3", "b3"]
    with Slots(cast(Pool, pool), items, kernel=lambda item: item[0]) as given:
        given.run(work)  # type: ignore[arg-type]
    assert sorted(item for _, _, item in done) == sorted(items)
    assert all(kernel == item[0] for _, kernel, item in done)
    for slot in {thread for thread, _, _ in done}:
        order = [kernel for thread, kernel, _ in done if thread == slot]
        assert sum(one != two for one, two in pairwise(order)) <= 1, order
    if slots == 2:
        firsts = {thread: kernel for thread, kernel, _ in reversed(done)}
        assert sorted(firsts.values()) == ["a", "b"], "the slots begin with a kernel each"


def started(first: BaseException | None = None, second: BaseException | None = None) -> list[Guests]:
    """Both slots' pools, after their guests were asked to start at the same time; each may fail to."""
    pool = Guests(2)
    pool.broken = first
    with Slots(cast(Pool, pool), [1, 2]) as slots:
        both = [pool, pool.others[0]]
        together = threading.Barrier(2, timeout=20)  # passes only where both are being started
        for each in both:
            each.together = together
        both[1].broken = second
        slots.start()
    return both


def test_the_first_guests_of_all_slots_start_at_the_same_time() -> None:
    assert [each.started for each in started()] == [1, 1]


def test_a_guest_of_the_first_slot_that_does_not_start_is_told_before_anything_runs() -> None:
    with pytest.raises(InfrastructureError, match="no memory"):
        started(first=InfrastructureError("no memory"))


def test_a_guest_of_another_slot_that_does_not_start_is_said_and_left_to_its_item(capsys: pytest.CaptureFixture[str]) -> None:
    started(second=InfrastructureError("no memory"))
    captured = capsys.readouterr()
    assert "slot 2: no memory" in captured.out + captured.err
    with pytest.raises(ProductFailure):
        started(second=ProductFailure("the module is refused"))
