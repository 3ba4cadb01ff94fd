# SPDX-License-Identifier: Apache-2.0
"""Who stands where: each artifact against each other system in counts and extremes, and ranks where the numbers support them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.fingerprint import CONTROL, LIMITS, OF_THE_TOOL, differences, key
from ci.model import Series
from ci.report import words
from ci.report.recorded import measured
from ci.samples import LEAST_SAMPLES, ratio_of_medians

BETTER, WORSE, EVEN, APART = "better", "worse", "no difference shown", "not compared"


@dataclass(frozen=True)
class Edge:
    """One measure in which `system` was compared with `other`. `factor` is how many times better it is: above 1 in both directions of
    "better", so that a time of 2 ms against 4 ms is 2; with its 95 % interval. None where nothing may be said."""

    system: str
    other: str
    workload: str
    metric: str
    outcome: str
    reason: str
    factor: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def measure(self) -> str:
        return f"{self.workload} {self.metric}"

    @property
    def said(self) -> str:
        """`3.1 times better (2.8 to 3.4)`, or `0.4 times` turned round as `2.5 times worse`."""
        if self.factor is None or self.low is None or self.high is None:
            return f"{self.outcome}: {self.reason}"
        if self.outcome == EVEN:
            return f"{EVEN} (interval {words.number(self.low)} to {words.number(self.high)} times)"
        turned = self.outcome == WORSE
        factor, low, high = (1 / self.factor, 1 / self.high, 1 / self.low) if turned else (self.factor, self.low, self.high)
        return f"{words.number(factor)} times {self.outcome} ({words.number(low)} to {words.number(high)})"


@dataclass
class Pair:
    """An artifact of ours against one other system, over all measures that both have."""

    system: str
    other: str
    forms: bool
    edges: list[Edge] = field(default_factory=list)

    def of(self, outcome: str) -> list[Edge]:
        """The measures with this outcome, the most decided first: by the end of the interval that is nearest to 1."""
        chosen = [edge for edge in self.edges if edge.outcome == outcome]
        return sorted(chosen, key=_certainty, reverse=True)

    @property
    def competes(self) -> bool:
        """Whether the other system is a competitor: no other form of ours, and no limit."""
        return not self.forms and self.other not in LIMITS

    @property
    def silence(self) -> str:
        """Why nothing of the two may be compared, by the reason that most measures have; empty where something is."""
        if not self.edges or any(edge.outcome != APART for edge in self.edges):
            return ""
        (reason, _), *_ = Counter(edge.reason for edge in self.edges).most_common(1)
        return reason.partition("measured alike: ")[2] or reason

    @property
    def counts(self) -> str:
        """`better in 5 of 9 measures, worse in 3, no difference shown in 1`."""
        compared = [edge for edge in self.edges if edge.outcome != APART]
        rest = f"; {len(self.edges) - len(compared)} could not be compared" if len(compared) < len(self.edges) else ""
        parts = [f"better in {len(self.of(BETTER))} of {words.count(len(compared), 'measure')}", f"worse in {len(self.of(WORSE))}"]
        return ", ".join([*parts, f"no difference shown in {len(self.of(EVEN))}"]) + rest


def _certainty(edge: Edge) -> float:
    if edge.low is None or edge.high is None:
        return 0.0
    return edge.low if edge.outcome == BETTER else 1 / edge.high


@dataclass(frozen=True)
class Rank:
    """One measure with its systems by rank: 1 + the number of systems that are shown to be better. Equal ranks are a tie.

    `apart` were measured otherwise (as a server, or with another durability) and stand in no order with these.
    """

    workload: str
    metric: str
    places: tuple[tuple[int, str], ...]
    apart: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """`1. faiss, numpy; 3. ours`, and where there is one, `(not comparable: a server)`."""
        groups: dict[int, list[str]] = {}
        for place, system in self.places:
            groups.setdefault(place, []).append(system)
        rest = f" (not comparable: {', '.join(self.apart)})" if self.apart else ""
        return "; ".join(f"{place}. {', '.join(systems)}" for place, systems in sorted(groups.items())) + rest


def pairs(record: Mapping[str, Any]) -> list[Pair]:
    """Every comparison of the record from our side: the module before the daemon, ours before references."""
    kinds = {str(item["name"]): str(item["kind"]) for item in record.get("artifacts", [])}
    series = measured(record)
    ours = {item.system for item in series if item.artifact_sha256}
    better = {(item.workload, item.metric): item.better for item in series}
    found: dict[tuple[str, str], Pair] = {}
    for stage in record.get("stages", []):
        for item in stage.get("results", {}).get("comparisons", []):
            one, other = str(item["system"]), str(item["baseline"])
            if one.endswith(CONTROL) or other.endswith(CONTROL):
                continue
            turned = (kinds.get(other) == "kernel-module" and kinds.get(one) == "daemon") or (one not in ours and other in ours)
            edge = _edge(item, better.get((item["workload"], item["metric"]), "higher"), turned=turned)
            forms = {kinds.get(one), kinds.get(other)} == {"kernel-module", "daemon"}
            found.setdefault((edge.system, edge.other), Pair(edge.system, edge.other, forms)).edges.append(edge)
    return [pair for pair in found.values() if pair.system in ours]


def _edge(item: Mapping[str, Any], better: str, *, turned: bool) -> Edge:
    outcome = {"faster": BETTER, "slower": WORSE, "no difference shown": EVEN}.get(str(item["finding"]), APART)
    numbers = [item.get(name) for name in ("ratio", "low", "high")]
    if turned:
        outcome = {BETTER: WORSE, WORSE: BETTER}.get(outcome, outcome)
    factor, low, high = (float(value) if value is not None else None for value in numbers)
    if factor is not None and low is not None and high is not None and (better == "lower") != turned:
        factor, low, high = 1 / factor, 1 / high, 1 / low
    names = (item["baseline"], item["system"]) if turned else (item["system"], item["baseline"])
    return Edge(str(names[0]), str(names[1]), item["workload"], item["metric"], outcome, item["reason"], factor, low, high)


def ranks(record: Mapping[str, Any]) -> list[Rank]:
    """A rank for each measure, among those that were measured alike, where one of them is shown to be better than another."""
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for item in measured(record):
        if len(item.samples) >= LEAST_SAMPLES and not item.failure and not item.system.endswith(CONTROL):
            groups.setdefault(key(item), []).append(item)
    found = []
    for items in groups.values():
        for first in items:
            alike = [item for item in items if not differences(first, item, ignored=OF_THE_TOOL)]
            if alike[0] is not first:
                continue  # its like have been ranked
            places = sorted((1 + sum(_beats(other, item) for other in alike if other is not item), item.system) for item in alike)
            if len({place for place, _ in places}) > 1:
                apart = tuple(item.system for item in items if item not in alike)
                found.append(Rank(first.workload, first.metric, tuple(places), apart))
    return found


def _beats(one: Series, other: Series) -> bool:
    ratio = ratio_of_medians(one.samples, other.samples)
    return ratio.differs and (ratio.ratio > 1) == (one.better == "higher")


def one_a_workload(found: Sequence[Rank]) -> list[Rank]:
    """For a short text: of each workload the measure that tells most systems apart, the first in the record where several do."""
    best: dict[str, Rank] = {}
    for rank in found:
        now = best.get(rank.workload)
        if now is None or len({place for place, _ in rank.places}) > len({place for place, _ in now.places}):
            best[rank.workload] = rank
    return list(best.values())
