# SPDX-License-Identifier: Apache-2.0
"""Two runs beside each other as a page: what became of each measure, drawn, and what else differs between the runs.

Measures that were not taken alike are named with the field that differs, and never drawn beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ci.fingerprint import key
from ci.model import Series
from ci.report import between, html, words
from ci.report.benchmarks import Chart, Finding, Row, Summary, summary
from ci.report.comparing import Judged, counted
from ci.report.recorded import measured

OLDER, NEWER = "older", "newer"
# What a change is called in a chart; the others are called as they are. Of what is no time and no rate the chart says better and worse.
SAID = {"improvement": "faster", "regression": "slower"}


@dataclass(frozen=True)
class Side:
    """One of the two runs; `report` leads to its own report where that lies beside this page."""

    name: str
    id: str
    began: str
    commit: str
    command: str
    report: str


@dataclass(frozen=True)
class Measure:
    """One line of the table; a side that has no number is None."""

    judged: Judged
    unit: str
    older: Summary | None
    newer: Summary | None


@dataclass(frozen=True)
class Beside:
    """The page. `workloads` are bars of both runs, `systems` ratios with their intervals, `silent` what neither has, by its reason."""

    project: str
    sides: tuple[Side, Side]
    said: str
    threshold: float
    worse: tuple[Judged, ...]
    better: tuple[Judged, ...]
    measures: tuple[Measure, ...]
    added: tuple[str, ...]
    differs: tuple[between.Change, ...]
    workloads: dict[str, list[Chart]] = field(default_factory=dict)
    systems: dict[str, list[Finding]] = field(default_factory=dict)
    silent: dict[tuple[str, str], list[Judged]] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """`2 regressions`, or what was not shown."""
        if self.worse:
            return words.count(len(self.worse), "regression")
        return "No regression shown" if any(item.ratio is not None for item in (m.judged for m in self.measures)) else "Nothing to compare"

    @property
    def verdict(self) -> str:
        """The class of the headline's colour."""
        return "fail" if self.worse else "skip" if self.silent else "pass"


def page(
    old: Mapping[str, Any], new: Mapping[str, Any], found: Sequence[Judged], added: Sequence[str], threshold: float, folder: Path
) -> str:
    """The page as HTML; `folder` is where it will lie, that of the newer run."""
    return html.fill("compare.html.j2", view=view(old, new, found, added, threshold, folder))


def view(
    old: Mapping[str, Any], new: Mapping[str, Any], found: Sequence[Judged], added: Sequence[str], threshold: float, folder: Path
) -> Beside:
    """Everything that the page shows; `found` has an entry for each series of the older run that has samples, in its order."""
    before = [item for item in measured(old) if item.samples and not item.failure]
    after = {(item.system, *key(item)): item for item in measured(new)}
    pairs = [(judged, item, after.get((item.system, *key(item)))) for judged, item in zip(found, before, strict=True)]
    changes = between.between(old, new)
    content = Beside(
        str(new.get("project", "")),
        (_side(OLDER, old, folder), _side(NEWER, new, folder)),
        counted(found),
        threshold,
        tuple(item for item in found if str(item.change) == "regression"),
        tuple(item for item in found if str(item.change) == "improvement"),
        tuple(_measure(*pair) for pair in pairs),
        tuple(added),
        (*changes.artifacts, *changes.conditions),
    )
    for judged, item, now in pairs:
        content.systems.setdefault(judged.system, []).append(_finding(judged))
        if judged.ratio is None:
            content.silent.setdefault((str(judged.change), judged.reason), []).append(judged)
        if str(judged.change) != "refused":
            _draw(content.workloads, item, now, judged)
    return content


def _side(name: str, record: Mapping[str, Any], folder: Path) -> Side:
    path = Path("report.html") if name == NEWER else Path("..") / str(record["id"]) / "report.html"
    commit = str(record["commit"])[:12] + (" with changes" if record.get("dirty") else "")
    report = str(path) if (folder / path).is_file() else ""
    return Side(name, str(record["id"]), words.time(record.get("started")), commit, str(record["command"]), report)


def _measure(judged: Judged, old: Series, new: Series | None) -> Measure:
    alike = new is not None and not new.failure and str(judged.change) != "refused"
    newer = summary(new.samples) if new is not None and alike else None
    return Measure(judged, old.unit, summary(old.samples), newer)


def _finding(judged: Judged) -> Finding:
    change = str(judged.change)
    said = SAID.get(change, change)
    numbers = (judged.ratio, judged.low, judged.high)
    return Finding(judged.system, OLDER, judged.workload, judged.metric, said, judged.reason, *numbers)


def _draw(workloads: dict[str, list[Chart]], old: Series, new: Series | None, judged: Judged) -> None:
    """Two bars of one system, in the chart of its measure."""
    charts = workloads.setdefault(old.workload, [])
    rows = (_row(OLDER, "r1", old, ""), _row(NEWER, "s1", new, judged.reason))
    benchmark = old.dimensions.get("benchmark", "")
    for at, chart in enumerate(charts):
        if (chart.metric, chart.unit, chart.benchmark) == (old.metric, old.unit, benchmark):
            charts[at] = Chart(chart.workload, chart.metric, chart.unit, chart.better, (*chart.rows, *_named(old.system, rows)), benchmark)
            return
    charts.append(Chart(old.workload, old.metric, old.unit, old.better, _named(old.system, rows), benchmark))


def _named(system: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(replace(row, system=f"{system}, {row.system}") for row in rows)


def _row(name: str, colour: str, item: Series | None, reason: str) -> Row:
    samples = item.samples if item is not None and not item.failure else ()
    verdict = "pass" if samples else str(item.verdict.value) if item is not None and item.failure else "skip"
    return Row(name, colour, samples, summary(samples), verdict, "" if samples else reason, (), "", False, "")
