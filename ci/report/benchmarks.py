# SPDX-License-Identifier: Apache-2.0
"""Series and comparisons of a record, ordered for charts and tables. A failed system keeps its row, without a number."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.report.details import Details, details
from ci.report.evidence import Files, Link
from ci.samples import LEAST_SAMPLES, median_interval

# How many colours the style sheet has: s for artifacts, r for references.
COLOURS = {"s": 4, "r": 6}


@dataclass(frozen=True)
class Summary:
    """Median and spread; quartiles interpolate linearly, as in ci/samples.py.

    `low` and `high` are the 95 % interval of the median; None where there are too few samples to support one.
    """

    median: float
    minimum: float
    maximum: float
    lower: float
    upper: float
    low: float | None = None
    high: float | None = None


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
    """One metric of one workload of one benchmark over all systems."""

    workload: str
    metric: str
    unit: str
    better: str
    rows: tuple[Row, ...]
    benchmark: str = ""

    @property
    def measured(self) -> bool:
        return any(row.summary for row in self.rows)


@dataclass(frozen=True)
class Failure:
    """One system that has no numbers under one workload, in all metrics or in those that are named."""

    system: str
    workload: str
    verdict: str
    reason: str
    evidence: tuple[Link, ...]
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One comparison as the record has it; `effect` is Cliff's delta, from the side of `system` (ci/bench/compare.py)."""

    system: str
    baseline: str
    workload: str
    metric: str
    finding: str
    reason: str
    ratio: float | None
    low: float | None
    high: float | None
    effect: float | None = None

    @property
    def measured(self) -> bool:
        return self.ratio is not None and self.low is not None and self.high is not None


@dataclass
class Benchmarks:
    """All series of a run."""

    charts: list[Chart] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    absent: list[Failure] = field(default_factory=list)
    pairs: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    conditions: list[tuple[str, str]] = field(default_factory=list)
    colours: dict[str, str] = field(default_factory=dict)
    details: Details = field(default_factory=Details)

    def forms(self, artifacts: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Finding]]:
        """Those comparisons in which a kernel module stands beside a daemon."""
        kinds = {str(item["name"]): str(item["kind"]) for item in artifacts}
        return {pair: found for pair, found in self.pairs.items() if {kinds.get(name) for name in pair} == {"kernel-module", "daemon"}}

    @property
    def workloads(self) -> dict[str, list[Chart]]:
        """The charts of each workload, in the record's order; a benchmark's name stands before it where there are several."""
        several = len({chart.benchmark for chart in self.charts}) > 1
        found: dict[str, list[Chart]] = {}
        for chart in self.charts:
            found.setdefault(f"{chart.benchmark}: {chart.workload}" if several and chart.benchmark else chart.workload, []).append(chart)
        return found


def benchmarks(stages: Sequence[Mapping[str, Any]], files: Files, artifacts: Sequence[Mapping[str, Any]]) -> Benchmarks:
    """Everything that the stages of a record say about speed."""
    found = Benchmarks()
    series = [item for stage in stages for item in stage.get("results", {}).get("series", [])]
    known = {str(artifact["sha256"]) for artifact in artifacts}
    found.colours = colours(series)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for item in series:
        benchmark = str(item.get("dimensions", {}).get("benchmark", ""))
        groups.setdefault((item["workload"], item["metric"], item["unit"], item["better"], benchmark), []).append(item)
    for (workload, metric, unit, better, benchmark), items in groups.items():
        rows = tuple(_row(item, files, known, found.colours) for item in items)
        found.charts.append(Chart(workload, metric, unit, better, rows, benchmark))
    found.failures = _failures([item for item in series if item["verdict"] != "skip"], files)
    found.absent = _failures([item for item in series if item["verdict"] == "skip"], files)
    found.details = details(stages, found.colours)
    for stage in stages:
        for item in stage.get("results", {}).get("comparisons", []):
            finding = Finding(**{name: item.get(name) for name in Finding.__dataclass_fields__})
            found.pairs.setdefault((finding.system, finding.baseline), []).append(finding)
    found.conditions = _conditions(series)
    return found


def colours(series: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A class for each system, the same in all charts."""
    ours = any(item.get("artifact_sha256") for item in series)
    found: dict[str, str] = {}
    for item in series:
        if item["system"] not in found:
            letter = "s" if item.get("artifact_sha256") or not ours else "r"
            before = sum(value.startswith(letter) for value in found.values())
            found[item["system"]] = f"{letter}{1 + before % COLOURS[letter]}"
    return found


def _row(item: Mapping[str, Any], files: Files, known: set[str], colours: Mapping[str, str]) -> Row:
    samples = tuple(float(value) for value in item["samples"])
    raw: list[Link | None] = [files.link(e) for e in item.get("evidence", []) if e["kind"] == "samples"]
    sha256 = str(item.get("artifact_sha256") or "")
    return Row(
        system=item["system"],
        colour=colours[item["system"]],
        samples=samples,
        summary=summary(samples),
        verdict=item["verdict"] if samples or item["verdict"] != "pass" else "fail",
        failure=item.get("failure") or ("" if samples else "no samples and no reason were recorded"),
        raw=tuple((raw + [None] * len(samples))[: len(samples)]),
        artifact_sha256=sha256,
        artifact_known=sha256 in known,
        durability=str(item.get("dimensions", {}).get("durability", "unknown")),
    )


def summary(samples: Sequence[float]) -> Summary | None:
    """Median and spread of the samples; None where there are none."""
    if not samples:
        return None
    lower, middle, upper = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
    interval = median_interval(samples) if len(samples) >= LEAST_SAMPLES else None
    ends = (interval.low, interval.high) if interval else (None, None)
    return Summary(middle, min(samples), max(samples), lower, upper, *ends)


def _failures(series: Sequence[Mapping[str, Any]], files: Files) -> list[Failure]:
    """One entry for each system, workload and reason, with the metrics that it concerns."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for item in series:
        if item["samples"] and item["verdict"] in ("pass", "known") and not item.get("failure"):
            continue
        reason = item.get("failure") or "no samples and no reason were recorded"
        groups.setdefault((item["system"], item["workload"], reason), []).append(item)
    found = []
    for (system, workload, reason), items in groups.items():
        verdict = items[0]["verdict"] if items[0]["verdict"] != "pass" else "fail"
        evidence = files.links([e for e in items[0].get("evidence", []) if e["kind"] != "samples"])
        found.append(Failure(system, workload, verdict, reason, evidence, tuple(str(item["metric"]) for item in items)))
    return found


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
