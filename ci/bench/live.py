# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a benchmark runs: which system, round and workload, how long it takes still, and how the numbers look."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 12


def sparkline(values: Sequence[float], most: int = MOST_BARS) -> str:
    """The last values as bars from the least to the greatest of them; values that hardly differ are bars of one height."""
    shown = list(values)[-most:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high - low <= 0.02 * abs(high):
        return BARS[len(BARS) // 2] * len(shown)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in shown)


class Live:
    """Counts measurements and their times. A measurement is one system under one workload in one round.

    `rounds` includes the warm-up. The rest is expected to take what the same measurements took so far, the others their mean.
    """

    def __init__(self, names: Sequence[Hashable], rounds: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._left = dict.fromkeys(names, rounds)
        self._taken: dict[Hashable, list[float]] = {name: [] for name in names}
        self._values: dict[Hashable, list[float]] = {name: [] for name in names}
        self._clock = clock
        self._started = self._begun = clock()

    def begin(self, name: Hashable) -> None:
        """A measurement begins."""
        self._begun = self._clock()
        self._left[name] -= 1

    def end(self, name: Hashable, value: float | None) -> None:
        """It has ended, with the number of its first metric where it has one."""
        self._taken[name].append(self._clock() - self._begun)
        if value is not None:
            self._values[name].append(value)

    def drop(self, name: Hashable) -> None:
        """Nothing more is measured of this one."""
        self._left[name] = 0

    def remaining(self) -> float | None:
        """Seconds until everything that is left should have ended; None while nothing has been measured."""
        every = [seconds for taken in self._taken.values() for seconds in taken]
        if not every:
            return None
        mean = sum(every) / len(every)
        return sum(left * (sum(taken) / len(taken) if (taken := self._taken[name]) else mean) for name, left in self._left.items())

    def text(self, name: Hashable) -> str:
        """`12 s, until about 09:58:10 (40 s)  ▃▅▄` for the measurement that has just begun."""
        parts = [f"{self._clock() - self._started:.0f} s"]
        rest = self.remaining()
        if rest is not None:
            taken = self._taken[name]
            rest += sum(taken) / len(taken) if taken else 0.0
            parts.append(f"until about {datetime.now() + timedelta(seconds=rest):%H:%M:%S} ({rest:.0f} s)")
        line = sparkline(self._values[name])
        return ", ".join(parts) + (f"  {line}" if line else "")
