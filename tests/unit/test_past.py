# SPDX-License-Identifier: Apache-2.0
"""Many records together: which are chosen, what differs between two, what the site says of all of them."""

from __future__ import annotations

import copy
import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci.errors import UsageError
from ci.pipeline import past as pages
from ci.report import past, site, words
from ci.report.between import between
from ci.report.selection import Selection, kernels, selection
from ci.report.trends import trends
from tests.unit.report_records import KERNEL, record, with_vectors
from tests.unit.test_report import Page

pytestmark = pytest.mark.unit

CASE = "read-back"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return with_vectors(tmp_path_factory.mktemp("record"))


def run(
    base: dict[str, Any], day: int, *, commit: str = "a", case: str = "pass", dirty: bool = False, factor: float = 1.0
) -> dict[str, Any]:
    """The run of one day; `case` is how read-back on the daemon ended."""
    data = copy.deepcopy(base)
    data.update(id=f"202611{day:02}T062011Z-0c8cb6", started=f"2026-11-{day:02}T06:20:11Z", commit=commit * 40, dirty=dirty)
    suite = next(stage for stage in data["stages"] if stage["name"] == "validate")["results"]["suites"][1]
    row = next(row for row in suite["cases"] if row["id"] == CASE)
    if case != "pass":
        row.update(verdict=case, detail="bytes differ at 4096")
        suite.update(verdict=case, detail=f"1 of {len(suite['cases'])} failed")
        data["verdict"] = case
    for item in data["stages"][-1]["results"]["series"]:
        item["samples"] = [value * factor for value in item["samples"]]
    return data


def seen(*records: dict[str, Any]) -> list[past.Event]:
    return [event for each in records for event in past.events(each)]


class TestFailures:
    def test_what_never_failed_is_not_there(self, base: dict[str, Any]) -> None:
        assert past.failures(seen(run(base, 1), run(base, 2))) == []

    def test_the_first_appearance_is_the_first_bad_run_after_a_good_one(self, base: dict[str, Any]) -> None:
        days = [run(base, 1), run(base, 2, commit="b", case="fail"), run(base, 3, commit="c", case="fail")]
        (row,) = past.failures(seen(*days))
        assert (row.name, row.before, row.first.run, row.last.run) == (CASE, days[0]["id"], days[1]["id"], days[2]["id"])
        assert (row.first.commit, row.gone, row.failures, row.runs) == ("b" * 40, "", 2, 3)

    def test_one_that_passed_in_between_began_anew(self, base: dict[str, Any]) -> None:
        days = [run(base, day, commit="abcd"[day - 1], case=case) for day, case in enumerate(("fail", "pass", "hang", "hang"), 1)]
        (row,) = past.failures(seen(*days))
        assert (row.first.run, row.since.run, row.before, row.last.verdict) == (days[0]["id"], days[2]["id"], "", "hang")

    def test_one_that_passes_again_is_gone(self, base: dict[str, Any]) -> None:
        days = [run(base, 1, case="fail"), run(base, 2, commit="b")]
        (row,) = past.failures(seen(*days))
        assert row.gone == days[1]["id"]

    @pytest.mark.parametrize("verdict", ["infra", "interrupted", "skip"])
    def test_what_the_machine_spoilt_neither_fails_nor_ends_a_failure(self, base: dict[str, Any], verdict: str) -> None:
        (row,) = past.failures(seen(run(base, 1, case="fail"), run(base, 2, case=verdict)))
        assert (row.gone, row.runs) == ("", 1)
        assert past.failures(seen(run(base, 1, case=verdict))) == []

    def test_a_stage_that_failed_before_it_had_a_check_counts(self, base: dict[str, Any]) -> None:
        data = run(base, 1)
        data["stages"][0].update(verdict="fail", detail="make: exit 2")
        (row,) = past.failures(seen(data))
        assert (row.where, row.last.detail) == ("stage build", "make: exit 2")


class TestFlaky:
    def test_the_rate_is_over_the_runs_of_code_that_ended_both_ways(self, base: dict[str, Any]) -> None:
        days = [run(base, day, case="fail" if day == 2 else "pass") for day in range(1, 5)]
        days += [run(base, day, commit="b") for day in range(5, 15)]
        (row,) = past.flaky(seen(*days))
        assert (row.name, row.failures, row.runs) == (CASE, 1, 4)
        assert row.low < 0.25 < row.high

    def test_a_failure_that_came_with_a_commit_is_none(self, base: dict[str, Any]) -> None:
        assert past.flaky(seen(run(base, 1), run(base, 2, commit="b", case="fail"))) == []

    def test_nothing_is_said_of_a_changed_tree(self, base: dict[str, Any]) -> None:
        assert past.flaky(seen(run(base, 1, dirty=True), run(base, 2, dirty=True, case="fail"))) == []

    def test_other_bytes_of_the_same_commit_are_other_code(self, base: dict[str, Any]) -> None:
        one, other = run(base, 1), run(base, 2, case="fail")
        next(row for row in other["artifacts"] if row["name"] == "vexfs-fuse")["sha256"] = "f" * 64
        assert past.flaky(seen(one, other)) == []


class TestStates:
    def test_the_newest_stands_and_the_machine_s_failure_hides_nothing(self, base: dict[str, Any]) -> None:
        found = {row.artifact: row for row in past.states([run(base, 1, case="fail"), run(base, 2, case="infra")])}
        assert found["vexfs-fuse"].verdict == "fail"
        assert found["vexfs-kernel"].run.startswith("20261102")

    def test_results_of_a_merged_record_count_once(self, base: dict[str, Any]) -> None:
        parts = [run(base, 1), run(base, 2)]
        merged = run(base, 3)
        merged["stages"][0]["results"]["records"] = [part["id"] for part in parts]
        assert past.without_copies([merged, *parts]) == parts
        assert past.without_copies([merged, parts[0]]) == [merged]


class TestSelection:
    NOW = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)

    def of(self, **words: str) -> Selection:
        blank = {"command": "", "verdict": "", "kernel": "", "suite": "", "since": ""}
        return selection(**{**blank, **words}, now=self.NOW)

    @pytest.mark.parametrize("words", [{"verdict": "passed"}, {"since": "yesterday"}, {"since": "2026-13-01"}, {"since": "3y"}])
    def test_what_cannot_be_is_refused_with_what_could(self, words: dict[str, str]) -> None:
        with pytest.raises(UsageError) as refused:
            self.of(**words)
        assert next(iter(words.values())) in refused.value.message and refused.value.hint

    @pytest.mark.parametrize(
        ("words", "fits"),
        [
            ({}, True),
            ({"command": "ci"}, True),
            ({"command": "bench"}, False),
            ({"verdict": "fail,pass"}, True),
            ({"verdict": "fail"}, False),
            ({"kernel": KERNEL}, True),
            ({"kernel": "6.1.*"}, True),
            ({"kernel": "5.*"}, False),
            ({"suite": "posix,smoke"}, True),
            ({"suite": "search"}, True),
            ({"suite": "posix"}, False),
            ({"since": "2w"}, True),
            ({"since": "8d"}, True),
            ({"since": "8h"}, False),
            ({"since": "2026-11-23"}, True),
            ({"since": "2026-11-23T06:21"}, False),
        ],
    )
    def test_it_fits_what_is_asked_for(self, base: dict[str, Any], words: dict[str, str], fits: bool) -> None:
        assert self.of(**words).fits(run(base, 23)) is fits

    def test_a_kernel_has_its_release_as_a_name_too(self, base: dict[str, Any]) -> None:
        assert KERNEL in kernels(base)


class TestBetween:
    def test_a_run_and_itself_differ_in_nothing(self, base: dict[str, Any]) -> None:
        found = between(run(base, 1), run(base, 1))
        assert not (found.conditions or found.artifacts or found.worse or found.better or found.other) and found.alike > 20

    def test_what_is_worse_and_what_is_gone_are_told_apart(self, base: dict[str, Any]) -> None:
        old, new = run(base, 1), run(base, 2, commit="b", case="fail")
        suite = next(stage for stage in new["stages"] if stage["name"] == "validate")["results"]["suites"][1]
        suite["cases"] = [case for case in suite["cases"] if case["id"] != "rename"]
        found = between(old, new)
        assert [change.what.rpartition(", ")[2] for change in found.worse] == [f"smoke on vexfs-fuse [{KERNEL}]", CASE]
        assert [(change.what.rpartition(", ")[2], change.after) for change in found.other] == [("rename", "absent")]
        assert [change.what for change in found.conditions] == ["commit"]
        assert "2 outcomes worse" in found.said
        assert [change.what for change in between(new, old).better] == [change.what for change in found.worse]


class TestTrends:
    def test_one_run_makes_no_trend(self, base: dict[str, Any]) -> None:
        found = trends([run(base, 1)])
        assert found.found == [] and found.alone > 5

    def test_a_slower_run_is_named_as_worse_with_its_interval(self, base: dict[str, Any]) -> None:
        found = trends([run(base, 1), run(base, 2), run(base, 3, factor=0.5)])
        trend = next(each for each in found.found if each.chart.title == "sequential-write: write bandwidth")
        assert len(trend.chart.runs) == 3 and found.alone == 0
        for step in trend.steps:
            assert step.finding == "worse" and step.ratio is not None and step.ratio.high < 1, step
            assert step.before.startswith("20261102")

    def test_another_machine_begins_a_chart_of_its_own(self, base: dict[str, Any]) -> None:
        days = [run(base, day) for day in range(1, 5)]
        for day in days[:2]:
            for item in day["stages"][-1]["results"]["series"]:
                item["dimensions"]["cpus"] = "64"
        titles = [each.chart.title for each in trends(days).found]
        assert titles.count("sequential-write: write bandwidth") == 2


class TestSite:
    def found(self, tmp_path: Path, *records: dict[str, Any]) -> list[site.Found]:
        return [site.Found(tmp_path / "runs" / each["id"], each) for each in records]

    @pytest.mark.parametrize("file", ["notes.txt", "index.html"])
    def test_a_folder_with_other_files_is_left_alone(self, tmp_path: Path, base: dict[str, Any], file: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / file).write_text("mine")
        with pytest.raises(UsageError, match="not of a site"):
            site.write(self.found(tmp_path, run(base, 1)), tmp_path / "site")
        assert [path.name for path in (tmp_path / "site").iterdir()] == [file]

    def test_an_id_that_is_a_path_is_refused(self, tmp_path: Path, base: dict[str, Any]) -> None:
        evil = {**run(base, 1), "id": "../../outside"}
        with pytest.raises(UsageError, match="no id"):
            site.write(self.found(tmp_path, evil), tmp_path / "site")
        assert not (tmp_path / "site").exists()

    def test_every_page_is_whole_and_every_link_leads_to_a_file(self, tmp_path: Path, base: dict[str, Any]) -> None:
        days = [run(base, 1), run(base, 2, case="fail"), run(base, 3, commit="b", case="hang", factor=0.5)]
        site.write(self.found(tmp_path, *days), tmp_path / "site")
        pages = sorted((tmp_path / "site").rglob("*.html"))
        assert len(pages) == 3 + len(days)
        for path in pages:
            page = Page(path.read_text())
            for link in page.links:
                target = (path.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else path
                assert target.is_file() and target.is_relative_to(tmp_path / "site"), f"{path}: {link}"

    def test_a_new_one_takes_the_place_of_the_old_as_a_whole(self, tmp_path: Path, base: dict[str, Any]) -> None:
        folder = tmp_path / "site"
        site.write(self.found(tmp_path, run(base, 1)), folder)
        site.write(self.found(tmp_path, run(base, 2)), folder)
        assert [path.name[:8] for path in (folder / "runs").iterdir()] == ["20261102"]
        assert [path.name for path in tmp_path.iterdir()] == ["site"]

    def test_it_is_its_own_history_of_the_newest_so_many(self, tmp_path: Path, base: dict[str, Any]) -> None:
        session = SimpleNamespace(manifest=SimpleNamespace(root=tmp_path / "project"))
        nights, folder = [run(base, day) for day in (1, 2, 3)], tmp_path / "site"

        def made(night: dict[str, Any], newest: int = 0) -> set[str]:
            shutil.rmtree(tmp_path / "night", ignore_errors=True)
            (tmp_path / "night").mkdir()
            (tmp_path / "night/record.json").write_text(json.dumps(night))
            pages.make_site(session, str(folder), str(tmp_path / "night"), newest)
            return {path.parent.name for path in folder.glob("runs/*/record.json")}

        assert [len(made(night)) for night in nights] == [1, 2, 3]
        assert made(nights[0], 2) == {night["id"] for night in nights[1:]}
        with pytest.raises(UsageError, match="one run at least"):
            made(nights[0], -1)

    def test_what_a_record_says_is_shown_as_text(self, tmp_path: Path, base: dict[str, Any]) -> None:
        data = run(base, 1, case="fail")
        suite = next(stage for stage in data["stages"] if stage["name"] == "validate")["results"]["suites"][1]
        for row in suite["cases"]:
            row["detail"] = "<script>alert(1)</script>"
        page = site.write(self.found(tmp_path, {**data, "command": "./inv <b>"}), tmp_path / "site")
        assert "<script>alert" not in page.read_text()
        assert "<b>" not in (page.parent / "runs.html").read_text().split("<main>")[1]

    def test_a_long_reason_is_cut_in_the_lists_and_whole_in_its_run(self, tmp_path: Path, base: dict[str, Any]) -> None:
        data = run(base, 1, case="fail")
        suite = next(stage for stage in data["stages"] if stage["name"] == "validate")["results"]["suites"][1]
        long = " ".join(f"word{number}" for number in range(300))
        for row in suite["cases"]:
            row["detail"] = long
        page = site.write(self.found(tmp_path, {**data, "detail": long}), tmp_path / "site")
        for name in ("index.html", "runs.html"):
            text = (page.parent / name).read_text()
            assert "word9 word10" in text and "word40" not in text and " …</small>" in text, name
        assert long in (page.parent / "runs" / data["id"] / "index.html").read_text()

    @pytest.mark.parametrize(
        ("text", "shown"), [("", ""), ("a  b\nc", "a b c"), ("one two three", "one two …"), ("x" * 20, "x" * 11 + " …")]
    )
    def test_a_text_is_cut_between_two_words_if_it_has_any(self, text: str, shown: str) -> None:
        assert words.short(text, 12) == shown

    def test_a_result_of_an_older_commit_is_marked(
        self, tmp_path: Path, base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        newer = {**record(tmp_path_factory.mktemp("newer")), "id": "20261105T062011Z-0c8cb6", "commit": "c" * 40, "stages": []}
        page = site.write(self.found(tmp_path, run(base, 1), newer), tmp_path / "site")
        assert "older: <code>aaaaaaa</code>" in page.read_text()
