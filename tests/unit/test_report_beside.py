# SPDX-License-Identifier: Apache-2.0
"""Two runs beside each other as a page: what changed is said and drawn, and what was not measured alike is not drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ci.bench import baseline
from ci.report import beside
from ci.report.recorded import measured
from tests.unit.report_records import with_vectors

pytestmark = pytest.mark.unit


def runs(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two records of the same numbers: the second is the newer one."""
    found = []
    for day in (20, 21):
        folder = tmp_path / f"202611{day}T062011Z-0c8cb6"
        folder.mkdir()
        data: dict[str, Any] = json.loads(json.dumps(with_vectors(folder)))
        data.update(id=folder.name, started=f"2026-11-{day}T06:20:11Z")
        found.append(data)
    return found[0], found[1]


def series(record: dict[str, Any], system: str, metric: str) -> dict[str, Any]:
    every: list[dict[str, Any]] = record["stages"][-1]["results"]["series"]
    return next(item for item in every if (item["system"], item["metric"]) == (system, metric))


def judged(old: dict[str, Any], new: dict[str, Any]) -> list[baseline.Judgement]:
    return baseline.judge(measured(new), [item for item in measured(old) if item.samples and not item.failure])


def view(old: dict[str, Any], new: dict[str, Any], folder: Path) -> beside.Beside:
    return beside.view(old, new, judged(old, new), (), baseline.THRESHOLD, folder)


def test_a_change_is_named_at_the_top_and_drawn_with_both_medians(tmp_path: Path) -> None:
    old, new = runs(tmp_path)
    slower = series(new, "vexfs-kernel", "create")
    slower["samples"] = [value / 2 for value in slower["samples"]]
    content = view(old, new, tmp_path)
    assert (content.headline, content.verdict) == ("1 regression", "fail")
    assert [(item.system, item.metric) for item in content.worse] == [("vexfs-kernel", "create")] and content.better == ()
    chart = next(chart for chart in content.workloads["metadata"] if chart.metric == "create")
    bars = {row.system: row.summary.median for row in chart.rows if row.summary}
    assert bars["vexfs-kernel, newer"] == pytest.approx(bars["vexfs-kernel, older"] / 2)
    finding = next(item for item in content.systems["vexfs-kernel"] if item.metric == "create")
    assert (finding.finding, finding.ratio) == ("slower", pytest.approx(0.5))


def test_equal_runs_show_no_regression(tmp_path: Path) -> None:
    content = view(*runs(tmp_path), tmp_path)
    assert (content.headline, content.verdict, content.silent) == ("No regression shown", "pass", {})


def test_what_was_not_measured_alike_is_named_with_the_field_and_never_drawn(tmp_path: Path) -> None:
    old, new = runs(tmp_path)
    series(new, "ext4", "unlink")["dimensions"]["kernel"] = "5.10"
    content = view(old, new, tmp_path)
    ((change, reason),) = content.silent
    assert change == "refused" and "kernel is '5.10' against" in reason
    chart = next(chart for chart in content.workloads["metadata"] if chart.metric == "unlink")
    assert {row.system for row in chart.rows} == {
        f"{name}, {side}" for name in ("vexfs-kernel", "vexfs-fuse") for side in ("older", "newer")
    }
    assert content.verdict == "skip", "not everything was compared"


def test_what_failed_in_the_newer_run_stands_beside_its_older_number_without_one(tmp_path: Path) -> None:
    old, new = runs(tmp_path)
    series(new, "ext4", "stat").update(samples=[], failure="it hung", verdict="hang")
    content = view(old, new, tmp_path)
    chart = next(chart for chart in content.workloads["metadata"] if chart.metric == "stat")
    row = next(row for row in chart.rows if row.system == "ext4, newer")
    assert (row.summary, row.verdict, row.failure) == (None, "hang", "it hung")
    page = beside.page(old, new, judged(old, new), ("a <b>",), baseline.THRESHOLD, tmp_path)
    assert "Only in the newer run: a &lt;b&gt;." in page and "it hung" in page
    assert "http" not in page.replace("http-equiv", ""), "one self-contained file"


def test_a_page_links_to_the_reports_of_its_runs_only_where_they_are(tmp_path: Path) -> None:
    old, new = runs(tmp_path)
    folder = tmp_path / new["id"]
    assert [side.report for side in view(old, new, folder).sides] == ["", ""]
    for record in (old, new):
        (tmp_path / record["id"] / "report.html").write_text("<!doctype html>")
    assert [side.report for side in view(old, new, folder).sides] == [f"../{old['id']}/report.html", "report.html"]
