# SPDX-License-Identifier: Apache-2.0
"""One system's page: what it is, what it says of itself, all of its numbers, how it stands against the others, what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ci.report.benchmarks import Benchmarks, Failure, Finding, Row

KINDS = {"kernel-module": "built here, a kernel module", "daemon": "built here, a FUSE daemon"}
REFERENCE = "a reference, not built here"
_TOLD = ("durability", "durability of a write", "reached as")
# A finding of A against B, read from B's side.
_MIRROR = {"faster": "slower", "slower": "faster"}


@dataclass(frozen=True)
class Measure:
    """One number of the system: which measure, and its row in that measure's chart."""

    workload: str
    metric: str
    unit: str
    better: str
    row: Row


@dataclass(frozen=True)
class Against:
    """One comparison from this system's side; the ratio stays as the record has it, `of` says whose over whose."""

    other: str
    measure: str
    finding: str
    reason: str
    of: str
    recorded: Finding


@dataclass(frozen=True)
class Page:
    """Everything of one system."""

    name: str
    slug: str
    colour: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    measures: tuple[Measure, ...]
    against: tuple[Against, ...]
    failures: tuple[Failure, ...]
    absent: tuple[Failure, ...]

    @property
    def standing(self) -> str:
        """Its comparisons in one sentence."""
        said = {"faster": "better", "slower": "worse", "no difference shown": "without a shown difference"}
        parts = [f"{self.count(finding)} {text}" for finding, text in said.items()]
        other = len(self.against) - sum(map(self.count, said))
        rest = f" {other} could not be compared." if other else ""
        return f"In {len(self.against)} comparisons: {', '.join(parts)}.{rest}"

    def count(self, finding: str) -> int:
        """How many comparisons have this finding from the system's side."""
        return sum(item.finding == finding for item in self.against)


def slug(name: str) -> str:
    """The anchor of a system's page; different names of one record that would share one are told apart by their letters' codes."""
    return "system-" + re.sub(r"[^A-Za-z0-9-]", lambda match: f"_{ord(match.group()):x}", name)


def pages(content: Benchmarks, stages: Sequence[Mapping[str, Any]], artifacts: Sequence[Mapping[str, Any]]) -> list[Page]:
    """A page for each system that the record names in a series, in its order."""
    kinds = {str(item["name"]): KINDS.get(str(item["kind"]), str(item["kind"])) for item in artifacts}
    return [_page(name, content, stages, kinds) for name in content.colours]


def _page(name: str, content: Benchmarks, stages: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> Page:
    measures = [
        Measure(workload, chart.metric, chart.unit, chart.better, row)
        for workload, charts in content.workloads.items()
        for chart in charts
        for row in chart.rows
        if row.system == name
    ]
    return Page(
        name=name,
        slug=slug(name),
        colour=content.colours[name],
        kind=_kind(name, measures, kinds),
        facts=_facts(name, content, stages),
        measures=tuple(measures),
        against=tuple(_against(name, content)),
        failures=tuple(item for item in content.failures if item.system == name),
        absent=tuple(item for item in content.absent if item.system == name),
    )


def _kind(name: str, measures: Sequence[Measure], kinds: Mapping[str, str]) -> str:
    if name in kinds:
        return kinds[name]
    return "built here, in another setting" if any(item.row.artifact_sha256 for item in measures) else REFERENCE


def _facts(name: str, content: Benchmarks, stages: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """What it said of itself, and the conditions that are its own."""
    rows = list(content.details.facts.get(name, {}).items())
    known = {key for key, _ in rows}
    for stage in stages:
        for item in stage.get("results", {}).get("series", []):
            for key in _TOLD if item["system"] == name else ():
                value = item.get("dimensions", {}).get(key)
                if value and key not in known and (key, value) not in rows:
                    rows.append((key, str(value)))
    return tuple(rows)


def _against(name: str, content: Benchmarks) -> list[Against]:
    found = []
    for (system, baseline), findings in content.pairs.items():
        if name not in (system, baseline):
            continue
        mine = name == system
        for item in findings:
            finding = item.finding if mine else _MIRROR.get(item.finding, item.finding)
            of = f"{system} over {baseline}"
            found.append(Against(baseline if mine else system, f"{item.workload}: {item.metric}", finding, item.reason, of, item))
    return found
