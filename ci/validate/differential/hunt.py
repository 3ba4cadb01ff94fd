# SPDX-License-Identifier: Apache-2.0
"""Draws sequences, has them run in batches, and lets Hypothesis shrink the first one whose answers differ.

Hypothesis draws the same sequences again for the same seed. So they are drawn twice: first to be sent to the guest, many at a time;
then with the answers known, which is where Hypothesis sees the failure and shrinks it, one sequence a question.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import HypothesisException

from ci.validate.differential.differences import Difference, compare
from ci.validate.differential.sequences import SEQUENCES, Operation

Sequence = list[Operation]
SHRINK_SECONDS = 120.0


@dataclass(frozen=True)
class Finding:
    """A sequence and the first thing about it that differs; `remounted` where it shows only after a remount."""

    operations: Sequence
    difference: Difference

    @property
    def remounted(self) -> bool:
        return self.difference.where.endswith("after a remount")


class _Different(Exception):
    """Hypothesis shrinks what raises this."""


def draw(seed: int, count: int) -> list[Sequence]:
    """`count` different sequences; the same for the same seed and the same version of Hypothesis."""
    drawn: list[Sequence] = []
    _with_hypothesis(seed, count, (Phase.generate,), drawn.append)
    return drawn


def shrink(seed: int, count: int, found: Finding, ask: Callable[[Sequence], Finding | None], seconds: float = SHRINK_SECONDS) -> Finding:
    """The smallest sequence that Hypothesis gets to within `seconds` and that still differs; `found` is one of `draw(seed, count)`.

    A sequence counts as failing where it shows the difference at the same system: another fault would lead away from the first.
    """
    best = found
    known: dict[str, Finding | None] = {_key(found.operations): found}
    before = {_key(operations) for operations in _until(seed, count, found.operations)}
    end = time.monotonic() + seconds

    def test(operations: Sequence) -> None:
        nonlocal best
        key = _key(operations)
        if key not in known:
            if key in before or time.monotonic() > end:
                return
            known[key] = ask(operations)
        answer = known[key]
        if answer is not None and answer.difference.system == found.difference.system:
            if _size(answer.operations) <= _size(best.operations):
                best = answer
            raise _Different

    with suppress(_Different, HypothesisException):  # the latter where its time was over while it shrank
        _with_hypothesis(seed, count, (Phase.generate, Phase.shrink), test)
    return _one_less(best, ask, end)


def _one_less(best: Finding, ask: Callable[[Sequence], Finding | None], end: float) -> Finding:
    """Leave out single operations as long as what is left still differs: Hypothesis ends at what is simple, not always short."""
    at = 0
    while at < len(best.operations) > 1 and time.monotonic() < end:
        answer = ask(best.operations[:at] + best.operations[at + 1 :])
        if answer is not None and answer.difference.system == best.difference.system:
            best = answer
        else:
            at += 1
    return best


def judge(names: tuple[str, ...], operations: Sequence, systems: dict[str, dict[str, object]]) -> Finding | None:
    """The first difference of any system from the first one, the reference; the answers by system are as the guest told them."""
    reference, *others = names
    for name in others:
        difference = compare(name, operations, systems[reference], systems[name])
        if difference is not None:
            return Finding(operations, difference)
    return None


def _until(seed: int, count: int, last: Sequence) -> list[Sequence]:
    """What is drawn before `last`: these agreed."""
    drawn = draw(seed, count)
    return drawn[: drawn.index(last)]


def _with_hypothesis(seed: int, count: int, phases: tuple[Phase, ...], test: Callable[[Sequence], None]) -> None:
    @seeded(seed)
    @settings(
        max_examples=count, phases=phases, database=None, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False
    )
    @given(SEQUENCES)
    def drawn(operations: Sequence) -> None:
        test(operations)

    drawn()


def _size(operations: Sequence) -> tuple[int, int]:
    return len(operations), len(_key(operations))


def _key(operations: Sequence) -> str:
    return json.dumps(operations)
