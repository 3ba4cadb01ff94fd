# SPDX-License-Identifier: Apache-2.0
"""Recommendations: each follows from the numbers by a rule that is printed beside it, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ci.report import words
from ci.report.standing import APART, BETTER, EVEN, WORSE, Edge, Pair

CLEAR = 2.0  # times; a difference whose whole interval lies beyond it is worth work, or a claim
MOST = 3  # recommendations of one rule

RULES = {
    "R1": "The form of the file system that is better in a measure of a workload, and worse in none, is recommended for it.",
    "R2": f"Work is recommended where the whole 95 % interval of the factor by which another system is better lies above {CLEAR:g}.",
    "R3": f"A claim is recommended where the whole 95 % interval of the factor by which ours is better lies above {CLEAR:g}, "
    "and R2 recommends no work on that measure.",
    "R4": "No claim is recommended where the interval includes 1, or where the conditions were unequal.",
}


@dataclass(frozen=True)
class Recommendation:
    """One sentence and the rule that gave it."""

    rule: str
    text: str


def recommendations(found: Sequence[Pair]) -> list[Recommendation]:
    """Rule by rule; a rule that applies to nothing says nothing."""
    others = [pair for pair in found if pair.competes]
    return [*_forms(found), *_work(others), *_claims(others), *_silence(found)]


def _forms(found: Sequence[Pair]) -> list[Recommendation]:
    made = []
    for pair in found:
        if not pair.forms:
            continue
        first: list[str] = []
        second: list[str] = []
        neither: list[str] = []
        for workload in dict.fromkeys(edge.workload for edge in pair.edges):
            outcomes = {edge.outcome for edge in pair.edges if edge.workload == workload}
            both = BETTER in outcomes and WORSE in outcomes
            chosen = neither if both or not outcomes & {BETTER, WORSE} else first if BETTER in outcomes else second
            chosen.append(workload)
        parts = [f"{name} for {', '.join(group)}" for name, group in ((pair.system, first), (pair.other, second)) if group]
        rest = f"; the numbers favour neither for {', '.join(neither)}" if neither else ""
        if parts:
            made.append(Recommendation("R1", f"Use {' and '.join(parts)}{rest}."))
        elif neither:
            made.append(Recommendation("R1", f"Choose between {pair.system} and {pair.other} by other reasons{rest}."))
    return made


def _work(found: Sequence[Pair]) -> list[Recommendation]:
    edges = sorted(_lost(found), key=lambda edge: edge.high or 1.0)
    return [Recommendation("R2", f"Work on {edge.measure} of {edge.system}: {edge.other} is {_turned(edge)}.") for edge in _spread(edges)]


def _lost(found: Sequence[Pair]) -> list[Edge]:
    return [edge for pair in found for edge in pair.of(WORSE) if edge.high is not None and 1 / edge.high > CLEAR]


def _turned(edge: Edge) -> str:
    return edge.said.replace(f"times {WORSE}", "times better")


def _claims(found: Sequence[Pair]) -> list[Recommendation]:
    lost = {(edge.system, edge.measure) for edge in _lost(found)}
    won = [edge for pair in found for edge in pair.of(BETTER) if (edge.system, edge.measure) not in lost]
    edges = [edge for edge in won if edge.low is not None and edge.low > CLEAR]
    edges.sort(key=lambda edge: edge.low or 1.0, reverse=True)
    return [
        Recommendation("R3", f"{edge.system} may be put forward for {edge.measure}: {edge.said} than {edge.other}.")
        for edge in _spread(edges)
    ]


def _spread(edges: Sequence[Edge]) -> list[Edge]:
    """The first of each measure, at most MOST, so that one measure against five systems does not fill the list."""
    chosen: dict[str, Edge] = {}
    for edge in edges:
        chosen.setdefault(f"{edge.system} {edge.measure}", edge)
    return list(chosen.values())[:MOST]


def _silence(found: Sequence[Pair]) -> list[Recommendation]:
    even = sum(len(pair.of(EVEN)) for pair in found)
    apart = sum(len(pair.of(APART)) for pair in found)
    if not even and not apart:
        return []
    parts = [f"{words.count(even, 'comparison')} without a shown difference"] if even else []
    parts += [f"{apart} that could not be made"] if apart else []
    return [Recommendation("R4", f"Claim nothing of {' and '.join(parts)}; the report lists them.")]
