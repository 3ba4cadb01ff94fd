# SPDX-License-Identifier: Apache-2.0
"""What a record holds of benchmarks beside one number a round: recall against rate, latencies, what systems say of themselves."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TYPICAL = 50.0  # the percentile that charts name


@dataclass(frozen=True)
class Point:
    """One effort of an approximate engine (0 for an exact one): medians over the rounds, and the spread of the rate.

    `recall` is a share from 0 to 1, rates are queries a second.
    """

    effort: int
    recall: float
    rate: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Curve:
    """One system's points, by effort."""

    system: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class RecallChart:
    """All systems of one workload at one k."""

    workload: str
    k: int
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Latency:
    """Quantiles in milliseconds by percent, of `count` single operations of all rounds together."""

    system: str
    colour: str
    count: int
    quantiles: tuple[tuple[float, float], ...]

    def at(self, percent: float) -> float | None:
        """The quantile at a percentage, None where the record does not have it."""
        return dict(self.quantiles).get(percent)


@dataclass(frozen=True)
class LatencyChart:
    """The distributions of one operation in one workload."""

    workload: str
    what: str
    rows: tuple[Latency, ...]


@dataclass
class Details:
    """Everything of this kind in a record; empty where nothing was measured that has it."""

    recalls: list[RecallChart] = field(default_factory=list)
    latencies: list[LatencyChart] = field(default_factory=list)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)


def details(stages: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> Details:
    """Read them; `colours` are the classes of the systems."""
    found = Details()
    curves: dict[tuple[str, int], list[Curve]] = {}
    rows: dict[tuple[str, str], list[Latency]] = {}
    for stage in stages:
        results = stage.get("results", {})
        for item in results.get("sweeps", []):
            points = tuple(_point(point) for point in item["points"])
            curve = Curve(item["system"], colours.get(item["system"], "r1"), points)
            curves.setdefault((item["workload"], int(item["k"])), []).append(curve)
        for item in results.get("latencies", []):
            quantiles = tuple(sorted((float(percent), float(value)) for percent, value in item["quantiles"]))
            row = Latency(item["system"], colours.get(item["system"], "r1"), int(item["count"]), quantiles)
            rows.setdefault((item["workload"], str(item["what"])), []).append(row)
        # What a vector workload found, {"system": …, "facts": {…}}; other stages keep other things under this name.
        for item in results.get("systems", []):
            found.facts[item["system"]] = {str(name): str(value) for name, value in item["facts"].items()}
    found.recalls = [RecallChart(workload, k, tuple(group)) for (workload, k), group in curves.items()]
    found.latencies = [LatencyChart(workload, what, tuple(group)) for (workload, what), group in rows.items()]
    return found


def _point(item: Mapping[str, Any]) -> Point:
    rates = [float(rate) for rate in item["rate"]]
    recall = statistics.median(float(value) for value in item["recall"])
    return Point(int(item["effort"]), recall, statistics.median(rates), min(rates), max(rates))
