# SPDX-License-Identifier: Apache-2.0
"""The executive summary says what the numbers support, where ours loses too, and is refused where they are worth nothing."""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ci.report
from ci.report.executive import Refused, _findings, executive
from ci.report.exports import COLUMNS
from ci.report.page import row
from ci.report.refusals import Now, refusals
from ci.report.rules import RULES, recommendations
from ci.report.standing import BETTER, EVEN, WORSE, Edge, Pair, pairs, ranks
from tests.unit.report_records import artifacts, record, with_vectors

pytestmark = pytest.mark.unit

Record = dict[str, Any]
_OUTCOMES = ((WORSE, (0.08, 0.06, 0.09)), (EVEN, (1.0, 0.8, 1.2)))


def now(data: Record) -> Now:
    """The tree as it was when the run was made."""
    return Now(data["commit"], {(item.name, item.target): item.sha256 for item in artifacts()})


def series_of(data: Record) -> list[Record]:
    return data["stages"][-1]["results"]["series"]  # type: ignore[no-any-return]


def test_a_whole_run_gives_findings_positions_ranks_and_recommendations(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    content = executive(data, tmp_path, now(data))
    assert content.findings[0].startswith("vexfs-kernel against vexfs-fuse: better in 6 of 6 measures, worse in 0")
    assert any(text.startswith("The clearest loss: vexfs-fuse in 10k-128 search k=10 p50") for text in content.findings)
    assert any("qdrant-edge 0.972" in text for text in content.findings), "a rate without its recall means nothing"
    assert {(pair.system, pair.other) for pair in content.pairs} >= {("vexfs-fuse", "qdrant-edge"), ("vexfs-fuse", "ext4")}
    assert any(rank.said == "1. qdrant-edge; 2. faiss; 3. vexfs-fuse" for rank in content.ranks)
    assert {item.rule for item in content.recommendations} <= set(RULES)
    assert any(item.rule == "R2" and "qdrant-edge is 6" in item.text for item in content.recommendations)
    assert any("index build of faiss (there is no index)" in text for text in content.limits)


def test_the_page_says_what_was_called_and_that_quick_workloads_are_small(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    assert not any("--quick" in text for text in executive(data, tmp_path, now(data)).limits)
    data.update(argv=["bench", "--suite", "competitors", "--quick"], command="./inv bench --suite competitors --quick")
    content = executive(data, tmp_path, now(data))
    assert ("Command", "./inv bench --suite competitors --quick") in content.facts
    assert any(text.startswith("The workloads were the small ones of --quick") for text in content.limits)


def test_every_factor_of_a_position_is_the_ratio_of_medians_turned_so_that_more_is_better(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    medians = {(s["system"], s["workload"], s["metric"]): statistics.median(s["samples"]) for s in series_of(data) if s["samples"]}
    better = {(s["workload"], s["metric"]): s["better"] for s in series_of(data)}
    seen = 0
    for pair in pairs(data):
        for edge in pair.edges:
            if edge.factor is None:
                continue
            ratio = medians[edge.system, edge.workload, edge.metric] / medians[edge.other, edge.workload, edge.metric]
            assert edge.factor == pytest.approx(ratio if better[edge.workload, edge.metric] == "higher" else 1 / ratio)
            assert edge.low is not None and edge.high is not None and edge.low <= edge.factor <= edge.high
            assert edge.outcome == (BETTER if edge.low > 1 else WORSE if edge.high < 1 else EVEN)
            seen += 1
    assert seen == 3 * 6 + 2 + 2


def test_systems_that_no_number_tells_apart_share_a_rank_or_have_none(tmp_path: Path) -> None:
    data = record(tmp_path)
    for item in series_of(data):
        if item["metric"] == "write bandwidth":
            item["samples"] = [100, 104, 98, 103, 101] if item["system"] == "ext4" else [99, 102, 100, 97, 103]
        if item["metric"] == "stat" and item["system"] != "ext4":
            item["samples"] = [50000, 51000, 49000, 50500, 49500]
    found = {rank.metric: rank for rank in ranks(data)}
    assert "write bandwidth" not in found, "no ranking where everything is noise"
    assert found["stat"].said == "1. vexfs-fuse, vexfs-kernel; 3. ext4"


def test_a_rank_is_among_those_that_were_measured_alike_and_names_the_others(tmp_path: Path) -> None:
    data = record(tmp_path)
    server = [{**item, "system": "server", "artifact_sha256": None} for item in series_of(data) if item["system"] == "ext4"]
    for item in server:
        item["dimensions"] = {**item["dimensions"], "reached as": "a server over loopback"}
    series_of(data).extend(server)
    found = {rank.metric: rank for rank in ranks(data)}
    assert found["stat"].said.endswith("vexfs-fuse (not comparable: server)") and "server" not in dict(found["stat"].places).values()


def test_a_system_with_which_nothing_is_comparable_has_its_reason_in_place_of_counts(tmp_path: Path) -> None:
    data = record(tmp_path)
    reason = "x and ext4 were not measured alike: reached as is 'a' against 'b'"
    for item in data["stages"][-1]["results"]["comparisons"]:
        if item["baseline"] == "ext4":
            item.update(finding="refused", reason=reason, ratio=None, low=None, high=None)
    rows = {row(pair)[0]: row(pair)[1:] for pair in pairs(data)}
    assert rows["vexfs-kernel against ext4"] == ("none", "none", "none", "not compared: reached as is 'a' against 'b'", "")
    assert rows["vexfs-kernel against vexfs-fuse"][0] == "6"


def test_a_system_that_is_not_there_at_all_is_named_before_single_measures(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    gone = {"system": "qdrant-server", "samples": [], "verdict": "skip", "failure": "no engine answers", "evidence": []}
    series_of(data).extend([{**item, **gone} for item in series_of(data) if item["system"] == "faiss"])
    content = executive(data, tmp_path, now(data))
    assert content.limits[0].startswith("Not there to be measured: qdrant-server (no engine answers); ")
    assert dict(content.facts)["Artifacts"].count(",") == 1, "what was measured, and nothing that was only built"


def test_the_slowed_control_stands_in_no_ranking(tmp_path: Path) -> None:
    data = record(tmp_path)
    control = [{**item, "system": "vexfs-kernel (slowed control)"} for item in series_of(data) if item["system"] == "vexfs-kernel"]
    series_of(data).extend(control)
    assert not any("control" in rank.said for rank in ranks(data))


def _drop_samples(data: Record, folder: Path) -> None:
    series_of(data)[1].update(samples=[], verdict="hang", failure="made no progress for 30 s")


def _other_commit(data: Record, folder: Path) -> None:
    data["commit"] = "1234abcd" * 5


def _dirty(data: Record, folder: Path) -> None:
    data["dirty"] = True


def _other_artifact(data: Record, folder: Path) -> None:
    data["artifacts"][1]["sha256"] = "77" * 32


def _raw_file_gone(data: Record, folder: Path) -> None:
    (folder / series_of(data)[0]["evidence"][0]["path"]).unlink()


def _raw_file_forged(data: Record, folder: Path) -> None:
    (folder / series_of(data)[0]["evidence"][0]["path"]).write_text("better numbers")


def _other_kernel(data: Record, folder: Path) -> None:
    series_of(data)[1]["dimensions"]["kernel"] = "5.10"


def _false_finding(data: Record, folder: Path) -> None:
    for item in series_of(data):
        if item["system"] == "ext4":
            item["dimensions"]["durability"] = "durable (disk)"


def _finding_of_nothing(data: Record, folder: Path) -> None:
    data["stages"][-1]["results"]["comparisons"][0]["baseline"] = "a system that was never there"


def _few_rounds(data: Record, folder: Path) -> None:
    series_of(data)[0]["samples"] = series_of(data)[0]["samples"][:4]


def _interrupted(data: Record, folder: Path) -> None:
    series_of(data)[0].update(verdict="interrupted", failure="interrupted after 5 of 9 rounds")


def _nothing_of_ours(data: Record, folder: Path) -> None:
    for item in series_of(data):
        item["artifact_sha256"] = None


def _stage_failed(data: Record, folder: Path) -> None:
    data["stages"][-1].update(verdict="fail", detail="the slowed control does not show up")


def _nothing_measured(data: Record, folder: Path) -> None:
    data["stages"][-1].update(verdict="skip", results={})


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_drop_samples, "missing", "vexfs-fuse in sequential-write (hang): made no progress for 30 s"),
        (_other_commit, "stale", "the run is of commit 1234abcd1234, the tree is at 4be1c0de4be1"),
        (_dirty, "stale", "the tree differed from the commit 4be1c0de4be1"),
        (_other_artifact, "stale", "vexfs-fuse was measured as 9a9a9a9a9a9a, which this run has not built"),
        (_raw_file_gone, "missing", "raw.json: missing"),
        (_raw_file_forged, "missing", "raw.json: changed since it was recorded"),
        (_other_kernel, "unequal", "vexfs-fuse and vexfs-kernel in sequential-write: kernel is '5.10' against '6.1.0-41-cloud-amd64'"),
        (_false_finding, "unequal", "durability is 'volatile (memory)' against 'durable (disk)'"),
        (_finding_of_nothing, "missing", "is of a series that the record does not have"),
        (_few_rounds, "missing", "4 rounds of write bandwidth, fewer than 5 support no finding"),
        (_interrupted, "missing", "(interrupted): interrupted after 5 of 9 rounds"),
        (_nothing_of_ours, "missing", "no artifact of this project is among what was measured"),
        (_stage_failed, "missing", "the stage bench ended with fail: the slowed control does not show up"),
        (_nothing_measured, "missing", "has measured nothing"),
    ],
)
def test_it_is_refused_and_says_why(tmp_path: Path, spoil: Callable[[Record, Path], None], kind: str, words: str) -> None:
    data = record(tmp_path)
    today = now(data)
    spoil(data, tmp_path)
    found = refusals(data, tmp_path, today)
    assert [reason for reason in found if reason.kind == kind and words in reason.what], found
    (tmp_path / "executive.html").write_text("an older one")
    with pytest.raises(Refused) as refused:
        ci.report.write_executive(data, tmp_path, today)
    assert words in refused.value.hint
    assert kind in refused.value.message
    assert not (tmp_path / "executive.html").exists(), "an older one must not stand for it"


def test_an_artifact_that_was_built_anew_since_makes_it_stale(tmp_path: Path) -> None:
    data = record(tmp_path)
    built = dict(now(data).artifacts)
    assert refusals(data, tmp_path, Now(data["commit"], built)) == []
    name = next(iter(built))
    found = refusals(data, tmp_path, Now(data["commit"], {**built, name: "55" * 32}))
    assert [str(reason) for reason in found] == [f"stale: {name[0]} [{name[1]}] was measured as 3f3f3f3f3f3f and is 555555555555 now"]


def test_the_summary_has_the_findings_or_says_why_there_are_none(tmp_path: Path) -> None:
    data = record(tmp_path)
    good = ci.report.write(data, tmp_path)[0].read_text()
    assert "## Findings" in good and "better in 6 of 6 measures" in good
    _drop_samples(data, tmp_path)
    bad = ci.report.write(data, tmp_path)[0].read_text().replace("\\", "")
    assert "None are drawn from this run" in bad
    assert "missing: vexfs-fuse in sequential-write (hang)" in bad
    assert "better in" not in bad


def test_recommendations_follow_the_rules_and_nothing_is_said_without_a_number(tmp_path: Path) -> None:
    data = record(tmp_path)
    for item in series_of(data):
        item["samples"] = [100, 104, 98, 103, 101]
    for item in data["stages"][-1]["results"]["comparisons"]:
        item.update(finding="no difference shown", reason="the 95 % interval of the ratio includes 1", ratio=1.0, low=0.9, high=1.1)
    found = recommendations(pairs(data))
    assert {item.rule for item in found} == {"R1", "R4"}
    assert found[0].text.startswith("Choose between vexfs-kernel and vexfs-fuse by other reasons")


def test_no_claim_is_recommended_in_a_measure_on_which_work_is() -> None:
    better = Edge("ours", "chroma", "w", "delete", BETTER, "", 14.1, 6.9, 16.7)
    others = [Edge("ours", "qdrant-edge", "w", "delete", outcome, "", *numbers) for outcome, numbers in _OUTCOMES]
    worse, even = [Pair("ours", "chroma", False, [better])], [Pair("ours", "chroma", False, [better])]
    worse.append(Pair("ours", "qdrant-edge", False, [others[0]]))
    even.append(Pair("ours", "qdrant-edge", False, [others[1]]))
    assert [item.rule for item in recommendations(worse)] == ["R2"]
    assert [item.rule for item in recommendations(even)] == ["R3", "R4"]


def test_the_page_cache_is_a_limit_and_neither_work_nor_a_lost_claim_follows_from_it() -> None:
    ours = Edge("ours", "ext4", "fsync-heavy", "fsync p50", BETTER, "", 3.1, 2.6, 4.0)
    limit = Edge("ours", "tmpfs", "fsync-heavy", "fsync p50", WORSE, "", 0.0006, 0.0003, 0.001)
    found = [Pair("ours", "ext4", False, [ours]), Pair("ours", "tmpfs", False, [limit])]
    assert [item.rule for item in recommendations(found)] == ["R3"]
    lead, loss = _findings({"stages": []}, found)
    assert lead.endswith("than ext4.")
    assert loss == "The clearest loss: none; no measure of this run supports one (tmpfs is the limit, and no competitor)."


def test_the_page_holds_only_what_it_needs_and_escapes_texts(tmp_path: Path) -> None:
    data = record(tmp_path)
    data["project"] = "<script>alert(1)</script>"
    text = ci.report.write_executive(data, tmp_path).read_text()
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "report.html", "record.json", "numbers.csv"]


def test_the_exports_hold_every_sample_and_every_series_without_one(tmp_path: Path) -> None:
    data = with_vectors(tmp_path)
    ci.report.write(data, tmp_path)
    rows = list(csv.DictReader((tmp_path / "numbers.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    wanted = [(s["system"], s["workload"], s["metric"], value) for s in series_of(data) for value in s["samples"]]
    assert [(r["system"], r["workload"], r["metric"], float(r["value"])) for r in rows if r["value"]] == wanted
    assert all((tmp_path / row["raw_file"]).is_file() for row in rows if row["value"])
    assert [(r["system"], r["verdict"], r["reason"]) for r in rows if not r["value"]] == [
        ("vexfs-fuse", "skip", "there is no index"),
        ("faiss", "skip", "there is no index"),
    ]
    whole = json.loads((tmp_path / "numbers.json").read_text())
    assert [s["samples"] for s in whole["series"]] == [s["samples"] for s in series_of(data)]
    assert whole["commit"] == data["commit"]
    assert len(whole["sweeps"]) == 3
    assert whole["series"][0]["interval"]["median"] == statistics.median(series_of(data)[0]["samples"])
