# SPDX-License-Identifier: Apache-2.0
"""Series and comparisons of a record, ordered for charts and tables. A failed system keeps its row, without a number."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.report.evidence import Files, Link


@dataclass(frozen=True)
class Summary:
    """Median and spread; quartiles interpolate linearly, as in ci/bench/statistics.py."""

    median: float
    minimum: float
    maximum: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Row:
    """One system in one chart. `colour` is a CSS class: s1, s2, … for artifacts, r1, r2, … for references.

    `raw` has one link a sample, in the same order; it may be shorter where a record names fewer files.
    """

    system: str
    colour: str
    samples: tuple[float, ...]
    summary: Summary | None
    verdict: str
    failure: str
    raw: tuple[Link | None, ...]
    artifact_sha256: str
    artifact_known: bool
    durability: str


@dataclass(frozen=True)
class Chart:
    """One metric of one workload over all systems."""

    workload: str
    metric: str
    unit: str
    better: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Failure:
    """One system that has no numbers under one workload."""

    system: str
    workload: str
    verdict: str
    reason: str
    evidence: tuple[Link, ...]


@dataclass(frozen=True)
class Finding:
    """One comparison as the record has it."""

    system: str
    baseline: str
    workload: str
    metric: str
    finding: str
    reason: str
    ratio: float | None
    low: float | None
    high: float | None

    @property
    def measured(self) -> bool:
        return self.ratio is not None and self.low is not None and self.high is not None


@dataclass
class Benchmarks:
    """All series of a run."""

    charts: list[Chart] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    pairs: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    conditions: list[tuple[str, str]] = field(default_factory=list)
    colours: dict[str, str] = field(default_factory=dict)

    @property
    def workloads(self) -> dict[str, list[Chart]]:
        """The charts of each workload, in the record's order."""
        found: dict[str, list[Chart]] = {}
        for chart in self.charts:
            found.setdefault(chart.workload, []).append(chart)
        return found


def benchmarks(stages: Sequence[Mapping[str, Any]], files: Files, artifacts: Sequence[Mapping[str, Any]]) -> Benchmarks:
    """Everything that the stages of a record say about speed."""
    found = Benchmarks()
    series = [item for stage in stages for item in stage.get("results", {}).get("series", [])]
    known = {str(artifact["sha256"]) for artifact in artifacts}
    found.colours = _colours(series)
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for item in series:
        groups.setdefault((item["workload"], item["metric"], item["unit"], item["better"]), []).append(item)
    found.charts = [Chart(*key, tuple(_row(item, files, known, found.colours) for item in items)) for key, items in groups.items()]
    found.failures = _failures(series, files)
    for stage in stages:
        for item in stage.get("results", {}).get("comparisons", []):
            finding = Finding(**{name: item.get(name) for name in Finding.__dataclass_fields__})
            found.pairs.setdefault((finding.system, finding.baseline), []).append(finding)
    found.conditions = _conditions(series)
    return found


def _colours(series: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A class for each system, the same in all charts."""
    ours = any(item.get("artifact_sha256") for item in series)
    colours: dict[str, str] = {}
    for item in series:
        if item["system"] not in colours:
            letter = "s" if item.get("artifact_sha256") or not ours else "r"
            colours[item["system"]] = f"{letter}{1 + sum(value.startswith(letter) for value in colours.values()) % 4}"
    return colours


def _row(item: Mapping[str, Any], files: Files, known: set[str], colours: Mapping[str, str]) -> Row:
    samples = tuple(float(value) for value in item["samples"])
    raw: list[Link | None] = [files.link(e) for e in item.get("evidence", []) if e["kind"] == "samples"]
    sha256 = str(item.get("artifact_sha256") or "")
    return Row(
        system=item["system"],
        colour=colours[item["system"]],
        samples=samples,
        summary=_summary(samples),
        verdict=item["verdict"] if samples or item["verdict"] != "pass" else "fail",
        failure=item.get("failure") or ("" if samples else "no samples and no reason were recorded"),
        raw=tuple((raw + [None] * len(samples))[: len(samples)]),
        artifact_sha256=sha256,
        artifact_known=sha256 in known,
        durability=str(item.get("dimensions", {}).get("durability", "unknown")),
    )


def _summary(samples: Sequence[float]) -> Summary | None:
    if not samples:
        return None
    lower, middle, upper = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
    return Summary(middle, min(samples), max(samples), lower, upper)


def _failures(series: Sequence[Mapping[str, Any]], files: Files) -> list[Failure]:
    """One entry for each system and workload, however many metrics it has."""
    found: dict[tuple[str, str, str], Failure] = {}
    for item in series:
        if item["samples"] and item["verdict"] in ("pass", "known") and not item.get("failure"):
            continue
        reason = item.get("failure") or "no samples and no reason were recorded"
        verdict = item["verdict"] if item["verdict"] != "pass" else "fail"
        evidence = files.links([e for e in item.get("evidence", []) if e["kind"] != "samples"])
        found.setdefault((item["system"], item["workload"], reason), Failure(item["system"], item["workload"], verdict, reason, evidence))
    return list(found.values())


def _conditions(series: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Dimensions of the series: those that all share as one row, others as one row for each value with who has it."""
    names: dict[str, dict[str, list[str]]] = {}
    for item in series:
        for name, value in item.get("dimensions", {}).items():
            owners = names.setdefault(name, {}).setdefault(str(value), [])
            owner = item["workload"] if name in ("options", "tool") else item["system"]
            if owner not in owners:
                owners.append(owner)
    rows = []
    for name, values in names.items():
        for value, owners in values.items():
            rows.append((name if len(values) == 1 else f"{name} ({', '.join(owners)})", value))
    return rows
