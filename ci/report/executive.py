# SPDX-License-Identifier: Apache-2.0
"""The one page for people who decide: findings with their uncertainty, position, ranks, recommendations, method, evidence.

It is refused where refusals.py has a reason. Every sentence is made from the record; nothing is written by hand.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.errors import UsageError
from ci.fingerprint import LIMITS
from ci.model import Series
from ci.report import words
from ci.report.recorded import measured
from ci.report.refusals import Now, Refusal, refusals
from ci.report.rules import RULES, Recommendation, recommendations
from ci.report.standing import APART, BETTER, WORSE, Edge, Pair, Rank, one_a_workload, pairs, ranks

MOST_RANKS = 8
MOST_PAIRS = 10


@dataclass(frozen=True)
class Executive:
    """What the page says."""

    project: str
    run: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    pairs: tuple[Pair, ...]
    ranks: tuple[Rank, ...]
    unranked: int
    recommendations: tuple[Recommendation, ...]
    rules: tuple[tuple[str, str], ...]
    method: tuple[str, ...]
    limits: tuple[str, ...]

    @property
    def more_pairs(self) -> int:
        return max(0, len(self.pairs) - MOST_PAIRS)


class Refused(UsageError):
    """No summary may be made of the run; `reasons` has every one."""

    def __init__(self, run: str, reasons: Sequence[Refusal]) -> None:
        self.reasons = tuple(reasons)
        kinds = " and ".join(dict.fromkeys(reason.kind for reason in reasons))
        super().__init__(
            f"no executive summary is made of the run {run}: its results are {kinds}",
            hint="\n".join(map(str, reasons)) + "\n./inv report still shows everything; ./inv bench measures anew",
        )


def executive(record: Mapping[str, Any], folder: Path, now: Now | None = None) -> Executive:
    """The page's content, or Refused with every reason."""
    reasons = refusals(record, folder, now)
    if reasons:
        raise Refused(str(record["id"]), reasons)
    found, ranked = pairs(record), ranks(record)
    advice = recommendations(found)
    used = dict.fromkeys(item.rule for item in advice)
    return Executive(
        project=str(record["project"]),
        run=str(record["id"]),
        facts=_facts(record),
        findings=tuple(_findings(record, found)),
        pairs=tuple(sorted(found, key=lambda pair: not pair.forms)),
        ranks=tuple(one_a_workload(ranked)[:MOST_RANKS]),
        unranked=len(ranked) - len(one_a_workload(ranked)[:MOST_RANKS]),
        recommendations=tuple(advice),
        rules=tuple((rule, RULES[rule]) for rule in used),
        method=tuple(_method(record)),
        limits=tuple(_limits(record, found)),
    )


def _facts(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    host = record.get("host", {})
    machine = f"{host.get('cpu', 'unknown processor')}, {host.get('cores', host.get('cpus', '?'))} cores, Linux {host.get('kernel', '?')}"
    rows = [
        ("Commit", str(record["commit"])),
        ("Command", str(record["command"])),
        ("Measured", words.time(record.get("started"))),
        ("Machine", machine),
    ]
    accelerator = record.get("accelerator")
    if accelerator:
        rows.append(("Guests", f"{accelerator['name']}: {accelerator['reason']}"))
    taken = {item.artifact_sha256 for item in measured(record)}
    names = [f"{item['name']} {item['sha256'][:12]}" for item in record.get("artifacts", []) if item["sha256"] in taken]
    return (*rows, ("Artifacts", ", ".join(names)))


def _findings(record: Mapping[str, Any], found: Sequence[Pair]) -> list[str]:
    said = [f"{pair.system} against {pair.other}: {pair.counts}.{_most(pair)}" for pair in found if pair.forms]
    others = [pair for pair in found if pair.competes]
    limits = "".join(f" ({pair.other} is the limit, and no competitor)" for pair in found if pair.other in LIMITS)
    for name, outcome in (("The clearest lead", BETTER), ("The clearest loss", WORSE)):
        edges = [edge for pair in others for edge in pair.of(outcome)[:1]]
        if edges:
            edge = max(edges, key=lambda item: _distance(item, outcome))
            said.append(f"{name}: {edge.system} in {edge.measure}, {edge.said} than {edge.other}.")
        elif others:
            said.append(f"{name}: none; no measure of this run supports one{limits}.")
    return said + _recalls(record)


def _distance(edge: Edge, outcome: str) -> float:
    if edge.low is None or edge.high is None:
        return 0.0
    return edge.low if outcome == BETTER else 1 / edge.high


def _most(pair: Pair) -> str:
    parts = [f"{edge.measure} is {edge.said}" for outcome in (BETTER, WORSE) for edge in pair.of(outcome)[:1]]
    return f" At the most, {'; '.join(parts)}." if parts else ""


def _recalls(record: Mapping[str, Any]) -> list[str]:
    """What was found at which recall, without which a rate means nothing."""
    least: dict[str, float] = {}
    for item in measured(record):
        if item.metric.endswith("recall") and item.samples:
            least[item.system] = min(least.get(item.system, 1.0), statistics.median(item.samples))
    if not least:
        return []
    exact = [name for name, value in least.items() if value >= 1]
    rest = [f"{name} {value:.3f}" for name, value in least.items() if value < 1]
    parts = [f"1 (exact) for {', '.join(exact)}"] if exact else []
    parts += [f"at the worst {', '.join(rest)}"] if rest else []
    return [f"Recall of the searches set beside each other: {'; '.join(parts)}."]


def _method(record: Mapping[str, Any]) -> list[str]:
    rounds = sorted({len(item.samples) for item in measured(record) if item.samples})
    count = str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    return [
        f"Every system took its turn in each of {count} rounds after a warm-up that is not counted, fresh each time, and was proved to "
        "run before and after.",
        "Numbers are medians; intervals are 95 % bootstrap intervals of the ratio of medians. A difference is named only where its "
        "interval leaves out 1; systems are compared only where data, durability, machine and all other conditions were equal.",
        "A rank is 1 plus the number of systems that are shown to be better, so that systems which no number tells apart share one.",
    ]


def _absent(series: Sequence[Series]) -> list[str]:
    """What was skipped, with its reason; a system that is not there at all stands first."""
    whole: list[str] = []
    part: list[str] = []
    for system in dict.fromkeys(item.system for item in series):
        own = [item for item in series if item.system == system]
        skipped: dict[str, list[str]] = {}
        for item in own:
            if item.verdict.value == "skip":
                skipped.setdefault(str(item.failure), []).append(item.metric)
        for reason, metrics in skipped.items():
            names = list(dict.fromkeys(metrics))
            if len(metrics) == len(own):
                whole.append(f"{system} ({reason})")
            else:
                part.append(f"{names[0] if len(names) == 1 else f'{len(names)} measures'} of {system} ({reason})")
    return [*whole, *part]


def _limits(record: Mapping[str, Any], found: Sequence[Pair]) -> list[str]:
    said = []
    reasons = _absent(measured(record))
    if reasons:
        rest = f", and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        said.append(f"Not there to be measured: {'; '.join(reasons[:3])}{rest}.")
    apart = sum(len(pair.of(APART)) for pair in found)
    if apart:
        said.append(f"{words.count(apart, 'comparison')} could not be made; the report names the field that differs in each.")
    if "--quick" in record.get("argv", []):
        said.append("The workloads were the small ones of --quick: they set systems beside each other, and say little of larger loads.")
    said.append("Measured on one machine, for these workloads and sizes; nothing here speaks of others.")
    return said
