# SPDX-License-Identifier: Apache-2.0
"""What cells cost, from records alone, and what a matrix of them would take on so many machines.

A cell is a suite on an artifact in a kernel, on a machine that builds and boots by itself (`./inv validate --cell`). Its cost is the
time of the suite, which was measured, and what stands before it: build, verify, image, a guest that starts. Nothing is assumed: a
suite that no record has is named, not guessed.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_BEFORE = ("build", "verify", "image", "vm")
_COUNTS = ("pass", "known", "fail")  # one that panicked or hung ended early, or late
MINUTE = 60.0
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """Seconds of one suite on one artifact: the median of its runs, the least and the most."""

    suite: str
    artifact: str
    runs: int
    median: float
    least: float
    most: float


@dataclass
class Costs:
    """`before` is the median of each stage that a cell has before its suite, over the records that have it, with how many these are;
    `accelerators` are those under which the guests ran."""

    suites: list[Cost] = field(default_factory=list)
    before: dict[str, tuple[float, int]] = field(default_factory=dict)
    accelerators: list[str] = field(default_factory=list)
    records: int = 0

    @property
    def overhead(self) -> float:
        """Seconds of a cell before its suite begins."""
        return sum(seconds for seconds, _ in self.before.values())


@dataclass(frozen=True)
class Plan:
    """A matrix on `machines` with one slot each: seconds until the last cell ends, and how much of the machines' time is used."""

    machines: int
    seconds: float
    used: float


def measured(records: Iterable[Record]) -> Costs:
    """The costs that these records show."""
    found = Costs()
    suites: dict[tuple[str, str], list[float]] = {}
    stages: dict[str, list[float]] = {}
    accelerators: set[str] = set()
    for record in records:
        rows = [suite for stage in record["stages"] for suite in stage["results"].get("suites", []) if suite["verdict"] in _COUNTS]
        if not rows or any(stage["name"] == "merge" for stage in record["stages"]):
            continue  # a merged record has the suites of others
        found.records += 1
        accelerators |= {str((record.get("accelerator") or {}).get("name", ""))} - {""}
        for suite in rows:
            suites.setdefault((str(suite["suite"]), str(suite["artifact"])), []).append(float(suite["seconds"]))
        for name in _BEFORE:
            mine = [float(stage["seconds"]) for stage in record["stages"] if stage["name"] == name and stage["verdict"] == "pass"]
            if mine:
                stages.setdefault(name, []).append(statistics.median(mine))
    found.suites = [Cost(*key, len(times), statistics.median(times), min(times), max(times)) for key, times in sorted(suites.items())]
    found.before = {name: (statistics.median(stages[name]), len(stages[name])) for name in _BEFORE if name in stages}
    found.accelerators = sorted(accelerators)
    return found


def cells(costs: Costs, kernels: int) -> list[float]:
    """Seconds of every cell of a matrix with so many kernels, each suite on each artifact that it was measured on."""
    return [costs.overhead + cost.median for cost in costs.suites for _ in range(kernels)]


def plan(seconds: Sequence[float], machines: int) -> Plan:
    """The longest cells first, each to the machine that is free first (R. L. Graham, SIAM J. Appl. Math. 17 (1969) 416-429): at most a
    third longer than the best there is."""
    ends = [0.0] * machines
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + each)
    last = max(ends)
    return Plan(machines, last, sum(seconds) / (last * machines) if last else 0.0)


def limit(seconds: Sequence[float]) -> int:
    """The number of machines beyond which nothing gets faster: the longest cell is then all that is waited for."""
    if not seconds:
        return 0
    longest = max(seconds)
    low, high = 1, len(seconds)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if plan(seconds, middle).seconds <= longest * (1 + 1e-9) else (middle + 1, high)
    return low
