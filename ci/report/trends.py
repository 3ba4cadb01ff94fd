# SPDX-License-Identifier: Apache-2.0
"""Every measure over all runs that measured it alike: a chart for each way of measuring, and what its newest run says of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.fingerprint import key
from ci.report.benchmarks import colours
from ci.report.history import HistoryChart, history
from ci.report.recorded import measured
from ci.samples import LEAST_SAMPLES, Ratio, ratio_of_medians

Measure = tuple[str, str, str]


@dataclass(frozen=True)
class Step:
    """A system's newest median against that of the run `before`: the ratio and its 95 % interval; None where `finding` says why not."""

    system: str
    before: str
    finding: str
    ratio: Ratio | None = None


@dataclass(frozen=True)
class Trend:
    """A chart over runs, the conditions that all of them share, and the last step of each system."""

    chart: HistoryChart
    conditions: str
    steps: tuple[Step, ...]


@dataclass
class Trends:
    """`alone` counts the measures of which no two runs can stand beside each other."""

    found: list[Trend] = field(default_factory=list)
    alone: int = 0


def trends(records: Sequence[Mapping[str, Any]]) -> Trends:
    """Of records, oldest first. A run that is on a chart of a newer one begins none of its own."""
    found = Trends()
    shown: set[tuple[str, Measure]] = set()
    lonely: set[Measure] = set()
    for at in range(len(records) - 1, -1, -1):
        record = records[at]
        series = [item for stage in record["stages"] for item in stage["results"].get("series", [])]
        if not series:
            continue
        charts = history(record, records[:at], colours(series)).charts
        for chart in charts:
            if (str(record["id"]), chart.measure) not in shown:
                found.found.append(Trend(chart, _conditions(record, chart), _steps(records, chart)))
                shown |= {(run.id, chart.measure) for run in chart.runs}
        lonely |= {measure for measure in _measures(record) if (str(record["id"]), measure) not in shown}
    found.alone = len(lonely - {trend.chart.measure for trend in found.found})
    return found


def _measures(record: Mapping[str, Any]) -> set[Measure]:
    return {key(item) for item in measured(record) if item.samples and not item.failure}


def _conditions(record: Mapping[str, Any], chart: HistoryChart) -> str:
    """The few of the conditions that a reader asks for first."""
    item = next(item for item in measured(record) if key(item) == chart.measure)
    rows = [(name, item.dimensions.get(name, "")) for name in ("kernel", "accelerator", "machine")]
    return ", ".join(f"{name} {value}" for name, value in rows if value)


def _steps(records: Sequence[Mapping[str, Any]], chart: HistoryChart) -> tuple[Step, ...]:
    by_id = {str(record["id"]): record for record in records}
    found = []
    for track in chart.tracks:
        if len(track.marks) < 2:
            continue
        before, after = (chart.runs[mark.at].id for mark in track.marks[-2:])
        one, other = (_samples(by_id[run], chart, track.system) for run in (before, after))
        if min(len(one), len(other)) < LEAST_SAMPLES or min(*one, *other) <= 0:
            found.append(Step(track.system, before, "too few rounds to tell" if min(*one, *other) > 0 else "no ratio to zero"))
            continue
        ratio = ratio_of_medians(other, one)
        better = (ratio.ratio > 1) == (chart.better == "higher")
        found.append(Step(track.system, before, ("better" if better else "worse") if ratio.differs else "no difference shown", ratio))
    return tuple(found)


def _samples(record: Mapping[str, Any], chart: HistoryChart, system: str) -> tuple[float, ...]:
    for item in measured(record):
        if item.system == system and key(item) == chart.measure and item.samples:
            return item.samples
    raise KeyError(f"{system}: {chart.title}")
