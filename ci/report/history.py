# SPDX-License-Identifier: Apache-2.0
"""A run's measures beside those of earlier runs that were measured alike; the others are counted and not drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.fingerprint import OF_THE_TOOL, differences, key
from ci.model import Series
from ci.report.recorded import measured
from ci.samples import median_interval

MOST_RUNS = 20


@dataclass(frozen=True)
class Run:
    """A run on the axis; `label` is its day and its commit, short."""

    id: str
    label: str


@dataclass(frozen=True)
class Mark:
    """One run's median with its 95 % interval; `at` is the run's place on the axis."""

    at: int
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Track:
    """One system over the runs."""

    system: str
    colour: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class HistoryChart:
    """One measure over the runs; `measure` is its key (ci/fingerprint.py)."""

    title: str
    unit: str
    better: str
    runs: tuple[Run, ...]
    tracks: tuple[Track, ...]
    measure: tuple[str, str, str] = ("", "", "")


@dataclass
class History:
    """`refused` says of each earlier run that measured the same, but otherwise, in which field first."""

    charts: list[HistoryChart] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def history(record: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]], colours: Mapping[str, str]) -> History:
    """Every measure of the run that at least one earlier run has in the same way; at most the last 20 runs are looked at."""
    now = [item for item in measured(record) if item.samples and not item.failure]
    older = [other for other in earlier if other["id"] < record["id"]][-MOST_RUNS:]
    found = History()
    alike: dict[str, dict[tuple[str, ...], Series]] = {}
    for other in older:
        kept, refusal = _alike(now, measured(other))
        if kept:
            alike[str(other["id"])] = kept
        elif refusal:
            found.refused.append((str(other["id"]), refusal))
    runs = [other for other in older if str(other["id"]) in alike]
    alike[str(record["id"])] = {_name(item): item for item in now}
    found.charts = _charts(now, [*runs, record], alike, colours)
    return found


def _name(item: Series) -> tuple[str, ...]:
    """Which measure of which system."""
    return (*key(item), item.system)


def _alike(now: Sequence[Series], then: Sequence[Series]) -> tuple[dict[tuple[str, ...], Series], str]:
    """The series of an earlier run that may stand beside ours, and the first difference of those that may not."""
    ours = {_name(item): item for item in now}
    kept: dict[tuple[str, ...], Series] = {}
    refusal = ""
    for item in then:
        mine = ours.get(_name(item))
        if mine is None or not item.samples or item.failure:
            continue
        different = differences(item, mine, ignored=OF_THE_TOOL)
        if not different:
            kept[_name(item)] = item
        elif not refusal:
            refusal = f"{item.workload} {item.metric} of {item.system}: {different[0]}"
    return kept, refusal


def _charts(
    now: Sequence[Series],
    runs: Sequence[Mapping[str, Any]],
    alike: Mapping[str, Mapping[tuple[str, ...], Series]],
    colours: Mapping[str, str],
) -> list[HistoryChart]:
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for item in now:
        groups.setdefault(key(item), []).append(item)
    charts = []
    for items in groups.values():
        mine = [run for run in runs if any(_name(item) in alike[str(run["id"])] for item in items)]
        if len(mine) < 2:
            continue
        tracks = [Track(item.system, colours[item.system], _marks(_name(item), mine, alike)) for item in items]
        shown = tuple(Run(str(run["id"]), _label(run)) for run in mine)
        title = f"{items[0].workload}: {items[0].metric}"
        charts.append(HistoryChart(title, items[0].unit, items[0].better, shown, tuple(tracks), key(items[0])))
    return charts


def _marks(
    which: tuple[str, ...], runs: Sequence[Mapping[str, Any]], alike: Mapping[str, Mapping[tuple[str, ...], Series]]
) -> tuple[Mark, ...]:
    found = []
    for at, run in enumerate(runs):
        item = alike[str(run["id"])].get(which)
        if item is not None:
            interval = median_interval(item.samples)
            found.append(Mark(at, interval.median, interval.low, interval.high))
    return tuple(found)


def _label(run: Mapping[str, Any]) -> str:
    name, commit = str(run["id"]), str(run.get("commit", "unknown"))
    return f"{name[4:6]}-{name[6:8]} {commit[:7]}"
