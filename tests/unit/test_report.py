# SPDX-License-Identifier: Apache-2.0
"""A report says what its record says, of good runs and of bad ones, and never more."""

from __future__ import annotations

import json
import re
import statistics
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import ci.report
from ci.report import svg, words
from ci.report.benchmarks import Chart, Row
from ci.report.html import TEMPLATES, script_hash
from tests.unit.report_records import record, with_vectors

pytestmark = pytest.mark.unit

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The page as a reader's browser would take it: its text, links, ids; unbalanced tags are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.pieces: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"] or "")
        if "id" in values:
            self.ids.append(values["id"] or "")
        assert not any(name.startswith("on") for name in values), "no script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


def written(data: dict[str, Any], folder: Path) -> tuple[str, Page]:
    """The summary and the page of a record."""
    (folder / "record.json").write_text(json.dumps(data))
    summary, report, *_ = ci.report.write(json.loads(json.dumps(data)), folder)
    return summary.read_text(), Page(report.read_text())


def test_a_good_run_shows_its_counts_and_every_number_is_linked_to_its_raw_file(tmp_path: Path) -> None:
    data = record(tmp_path)
    summary, page = written(data, tmp_path)
    assert "✓ passed" in summary
    assert "24 cases passed; 18 of 18 series measured" in page.text
    assert "What went wrong" not in page.text
    assert "What went wrong" not in summary
    series = [item for stage in data["stages"] for item in stage["results"].get("series", [])]
    raw = [evidence["path"] for item in series for evidence in item["evidence"]]
    assert len(raw) == 90
    for path in raw:
        assert path in page.links
        assert f"]({path})" in summary
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (tmp_path / link).is_file(), link
    for artifact in data["artifacts"]:
        assert artifact["sha256"] in page.text
        assert f"#artifact-{artifact['sha256']}" in page.links


def test_a_failed_system_is_shown_as_failed_with_its_reason_and_without_a_number(tmp_path: Path) -> None:
    summary, page = written(record(tmp_path, failing=True), tmp_path)
    for text in (summary.replace("\\", ""), page.text):
        assert "made no progress for 30 s (no log growth, no CPU time)" in text
        assert "BUG: kernel NULL pointer dereference" in text
        assert "7 cases ran, at least 12 must" in text
        assert "vermagic is '6.12.57'" in text
        assert "vexfs-fuse has no samples (hang)" in text
    assert "kernel panic" in summary.splitlines()[0]
    assert "13 of 18 series measured" in page.text
    assert "bench/files/metadata/vexfs-fuse/round-3/diagnosis/index.txt" in page.links
    charts = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(), re.DOTALL)
    hung = [chart for chart in charts if "vexfs-fuse: hung, no number" in chart]
    assert len(hung) == 5
    assert all(chart.count('class="bar ') == 2 for chart in hung)
    assert not re.search(r"\b(inf|nan)\b", page.text)


def test_evidence_that_is_missing_or_changed_is_said_to_be_so_and_not_linked_as_if_it_were_there(tmp_path: Path) -> None:
    data = record(tmp_path)
    base = "bench/files/sequential-write/ext4"
    (tmp_path / f"{base}/round-2/raw.json").unlink()
    (tmp_path / f"{base}/round-3/raw.json").write_text("forged")
    summary, page = written(data, tmp_path)
    for text in (summary.replace("\\", ""), page.text):
        assert f"{base}/round-2/raw.json: missing" in text
        assert f"{base}/round-3/raw.json: changed since it was recorded" in text
    assert "Missing or changed since the run: 2 files of evidence" in page.text
    assert f"{base}/round-2/raw.json" not in page.links
    assert f"{base}/round-3/raw.json" not in page.links
    assert "What went wrong" in page.text


def test_evidence_outside_the_run_folder_is_named_and_not_linked(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    data = record(folder)
    data["stages"][1]["checks"][0]["evidence"] = [
        {"kind": "log", "path": "/etc/hostname", "sha256": "0"},
        {"kind": "log", "path": "../../../etc/hostname", "sha256": "0"},
        {"kind": "log", "path": "javascript:alert(1)", "sha256": "0"},
    ]
    _, page = written(data, folder)
    assert not any(link.startswith(("/", "..", "javascript")) for link in page.links)


def test_an_artifact_of_another_run_is_not_linked_as_one_of_this_run(tmp_path: Path) -> None:
    data = record(tmp_path)
    data["artifacts"][0]["sha256"] = "77" * 32
    _, page = written(data, tmp_path)
    assert "not among the artifacts of this run" in page.text
    assert f"#artifact-{'3f' * 32}" not in page.links


HOSTILE = "<script>alert('x')</script>\"'&</svg></style>|`]] [a](javascript:alert(1)) {{ 7*7 }} \u202e\n# h"


def _poison(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _poison(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_poison(item, key) for item in value]
    keep = {"verdict", "path", "reproduce", "started", "ended", "kind", "finding", "better", "artifact_sha256", "sha256"}
    return f"{value} {HOSTILE}" if isinstance(value, str) and key not in keep else value


@pytest.mark.parametrize("failing", [False, True])
def test_hostile_texts_stay_texts(tmp_path: Path, failing: bool) -> None:
    summary, page = written(_poison(record(tmp_path, failing=failing)), tmp_path)
    assert page.tags.count("script") == 1, "that which sorts tables"
    html = (tmp_path / "report.html").read_text()
    assert f"script-src '{script_hash((TEMPLATES / 'sort.js').read_text())}'" in html, "and no other one would run"
    assert "<script>alert('x')</script>" in page.text, "it is shown as it is"
    assert not any("javascript:" in link for link in page.links)
    tokens = [child for token in MarkdownIt("commonmark").enable("table").parse(summary) for child in [token, *(token.children or [])]]
    assert not [token.content for token in tokens if token.type.startswith("html")]
    assert not [href for token in tokens if token.type == "link_open" and "javascript" in (href := str(token.attrs["href"]))]
    assert len([token for token in tokens if token.type == "link_open"]) > 10
    assert "\n# h" not in summary


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_well_formed_charts(text: str) -> None:
    row = Row(text, "s1", (1.0, 2.0), None, "hang", text, (None, None), "", False, "")
    drawn = svg.bars(Chart(text, text, text, "higher", (row,)), "n")
    visible = "".join(c for c in drawn if c in "\t\n\r" or (ord(c) >= 32 and c not in "\ufffe\uffff"))
    ElementTree.fromstring(visible)


def empty(folder: Path, **changes: Any) -> dict[str, Any]:
    data = record(folder)
    return {**data, "stages": [], "artifacts": [], "accelerator": None, **changes}


def test_a_run_that_was_interrupted_at_once_claims_nothing(tmp_path: Path) -> None:
    data = empty(tmp_path, verdict="interrupted", detail="interrupted by SIGINT", requested=["ci"], seconds=None, ended=None)
    summary, page = written(data, tmp_path)
    assert "Nothing was observed in this run" in page.text
    assert "Nothing was built: it is not in this run (asked for: ci)" in page.text
    assert "Nothing was measured: it is not in this run" in page.text
    assert "was interrupted" in summary
    assert "✓" not in page.text
    assert "pass" not in summary.split("## Reproduce")[0]


def test_a_run_that_died_in_a_stage_says_in_which(tmp_path: Path) -> None:
    data = record(tmp_path)
    data.update(verdict="interrupted", running="bench", stages=data["stages"][:-1])
    _, page = written(data, tmp_path)
    assert "Nothing was measured: it was running when the record was last written, and did not end" in page.text


def test_a_report_inside_its_own_run_shows_the_verdict_of_the_stages_before_it(tmp_path: Path) -> None:
    data = record(tmp_path)
    data.update(verdict="running", running="report", ended=None, seconds=None)
    _, page = written(data, tmp_path)
    assert "✓ Passed" in page.text
    assert "the verdict is that of the stages before it" in page.text
    data["stages"][-1]["verdict"] = "hang"
    _, page = written(data, tmp_path)
    assert "✕ Hung" in page.text


def test_a_run_that_still_runs_is_not_called_passed(tmp_path: Path) -> None:
    data = record(tmp_path)
    data.update(verdict="running", running="bench")
    _, page = written(data, tmp_path)
    assert "Not ended" in page.text
    assert "had not ended when this report was written" in page.text


def test_a_skipped_benchmark_says_why(tmp_path: Path) -> None:
    data = record(tmp_path)
    data["stages"][-1].update(verdict="skip", detail="not asked for (--skip-bench)", results={})
    summary, page = written(data, tmp_path)
    assert "Nothing was measured: not asked for (--skip-bench)" in page.text
    assert "stage bench not asked for (--skip-bench)" in page.text
    assert "not asked for \\(--skip-bench\\)" in summary


def test_series_without_samples_and_without_a_reason_are_failures_all_the_same(tmp_path: Path) -> None:
    data = record(tmp_path)
    data["stages"][-1]["results"]["series"][0].update(samples=[], verdict="pass", failure=None)
    _, page = written(data, tmp_path)
    assert "no samples and no reason were recorded" in page.text
    assert "17 of 18 series measured" in page.text
    assert "benchmark sequential-write on vexfs-kernel" in page.text


def earlier(data: dict[str, Any], day: int, factor: float = 1.0, **dimensions: str) -> dict[str, Any]:
    """The run of another day: its samples times `factor`, measured under other `dimensions` where such are given."""
    other: dict[str, Any] = json.loads(json.dumps(data))
    other["id"] = f"202611{day:02}T062011Z-0c8cb6"
    for stage in other["stages"]:
        for item in stage["results"].get("series", []):
            item["samples"] = [factor * value for value in item["samples"]]
            item["dimensions"].update(dimensions)
    return other


def test_what_an_engine_does_not_have_did_not_run_and_is_not_called_wrong(tmp_path: Path) -> None:
    summary, page = written(with_vectors(tmp_path), tmp_path)
    assert "25 of 27 series measured, 2 skipped, each with its reason" in page.text
    assert "What went wrong" not in page.text
    assert "What went wrong" not in summary
    assert "benchmark 10k-128 on faiss: index build there is no index" in page.text
    assert "benchmark 10k-128 on faiss: index build" in summary.split("## What did not run")[1].replace("\\", "")
    chart = next(c for c in charts_of(tmp_path) if ">10k-128: index build<" in c)
    assert "faiss: did not run, no number: there is no index" in chart
    assert 'class="failed"' not in chart


def charts_of(folder: Path) -> list[str]:
    return re.findall(r"<svg.*?</svg>", (folder / "report.html").read_text(), re.DOTALL)


def test_recall_against_rate_and_latencies_are_drawn_with_the_numbers_of_the_record(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    written(data, tmp_path)
    results = data["stages"][-1]["results"]
    curve = next(c for c in charts_of(tmp_path) if "recall against rate" in c)
    for sweep in results["sweeps"]:
        for point in sweep["points"]:
            recall, rate = statistics.median(point["recall"]), statistics.median(point["rate"])
            assert f"recall {recall:.3f}, {words.number(rate)} queries/s" in curve
    assert curve.count("<polyline") == 1, "one engine has efforts, the exact ones are points"
    latency = next(c for c in charts_of(tmp_path) if "search k=10, distribution" in c)
    for row in results["latencies"]:
        assert f"{row['system']}, p50 {words.number(row['quantiles'][0][1])} ms" in latency


def test_each_system_has_its_page_with_all_of_its_numbers(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    _, page = written(data, tmp_path)
    for system in ("vexfs-kernel", "vexfs-fuse", "ext4", "faiss", "qdrant-edge"):
        assert f"#system-{system}" in page.links
        own = (tmp_path / "report.html").read_text().split(f'<article id="system-{system}"')[1].split("</article>")[0]
        for item in data["stages"][-1]["results"]["series"]:
            if item["system"] == system and item["samples"]:
                assert f"<b>{words.number(statistics.median(item['samples']))}</b>" in own
    assert "qdrant-edge 1.2.3" in page.text, "what it says of itself"


def test_the_history_holds_runs_that_were_measured_alike_and_names_what_differs_in_the_others(tmp_path: Path) -> None:
    data = record(tmp_path)
    others = [earlier(data, 20, kernel="5.10"), earlier(data, 21, 0.8, harness="another"), earlier(data, 22, 0.9), earlier(data, 28)]
    ci.report.write(data, tmp_path, others)
    page = Page((tmp_path / "report.html").read_text())
    drawn = [c for c in charts_of(tmp_path) if "over 3 runs" in c]
    assert len(drawn) == 6
    write = next(c for c in drawn if ">sequential-write: write bandwidth over" in c)
    mine = next(item for item in data["stages"][-1]["results"]["series"] if item["system"] == "ext4")
    median = statistics.median(mine["samples"])
    for other, factor in ((others[1]["id"], 0.8), (others[2]["id"], 0.9), (data["id"], 1.0)):
        assert f"ext4 in {other}: {words.number(factor * median)} MiB/s" in write
    assert others[3]["id"] not in write, "a later run is no history"
    assert "sequential-write write bandwidth of vexfs-kernel: kernel is '5.10' against '6.1.0-41-cloud-amd64'" in page.text


def test_the_module_stands_beside_the_daemon(tmp_path: Path) -> None:
    _, page = written(record(tmp_path), tmp_path)
    assert "vexfs-kernel is better in 6 of 6 measures, vexfs-fuse in 0" in page.text


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    written(record(tmp_path), tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    assert "@import" not in html
    assert "url(" not in html


def test_the_same_record_gives_the_same_report(tmp_path: Path) -> None:
    data = record(tmp_path)
    written(data, tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    written(data, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_ticks_are_few_round_and_within_the_axis(top: float) -> None:
    found = svg.ticks(top)
    assert found[0] == 0
    assert 2 <= len(found) <= 5
    assert found[-1] <= top * 1.000001
    assert float(f"{found[1]:.0e}") == pytest.approx(found[1])


@given(st.floats(min_value=1e-3, max_value=0.5), st.floats(min_value=2, max_value=1e5))
def test_a_ratio_axis_always_shows_1(low: float, high: float) -> None:
    found = svg.ratio_ticks(low, high)
    assert 1 in found
    assert all(low <= value <= high for value in found)
    assert len(found) <= 9


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "0.0123"), (4.123, "4.12"), (41.23, "41.2"), (412.3, "412"), (4123.4, "4,123"), (1e6, "1,000,000")]
)
def test_numbers_have_three_digits_at_least(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (3900.0, "1 h 5 min"), (None, "unknown")],
)
def test_durations_are_read_at_a_glance(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


def test_a_comparison_has_its_effect_size_and_one_without_samples_has_none(tmp_path: Path) -> None:
    data = record(tmp_path, failing=True)
    page = ci.report.write(data, tmp_path)[1].read_text()
    rows = re.findall(
        r'<tr><th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>.*?data-value="([^"]*)">([^<]*)</td><td class="w', page
    )
    shown = {(system, other, measure): (value, text) for system, other, measure, _, value, text in rows}
    for item in data["stages"][-1]["results"]["comparisons"]:
        value, text = shown[item["system"], item["baseline"], f"{item['workload']}: {item['metric']}"]
        expected = (str(item["effect"]), f"{item['effect']:+.2f}") if item["effect"] is not None else ("", "none")
        assert (value, text) == expected
    assert {text for _, text in shown.values()} >= {"+1.00", "none"}
