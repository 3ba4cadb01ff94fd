# SPDX-License-Identifier: Apache-2.0
"""What a person reads after a benchmark: a line for each finding, and one for all that two systems may not be compared in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci.bench import baseline
from ci.bench.baseline import Change, Judgement
from ci.bench.compare import Comparison, Finding
from ci.errors import ProductFailure, UsageError
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Series, Verdict
from ci.pipeline import person
from ci.pipeline.benching import Choice, followed, require_no_regression, sentences, show_series

pytestmark = pytest.mark.unit

OTHER = "reached as: on this machine, not a server"


def found(metric: str, finding: Finding, reason: str = "", *numbers: float) -> Comparison:
    return Comparison("mine", "other", "vectors", metric, finding, reason, *numbers)


def test_what_is_refused_for_one_reason_is_one_line_and_findings_come_first() -> None:
    refused = [found(metric, Finding.REFUSED, OTHER) for metric in ("insert", "delete", "reopen")]
    faster = found("search", Finding.FASTER, "the interval excludes 1", 2.0, 1.5, 2.5)
    assert sentences([*refused, faster]) == [
        "vectors search: mine against other: faster, 2.00 times (95 % interval 1.50 to 2.50)",
        f"3 metrics: mine against other: refused ({OTHER})",
    ]


@pytest.mark.parametrize(("metric", "word"), [("memory", "better"), ("search k=10 recall", "better"), ("insert", "faster")])
def test_only_times_and_rates_are_faster(metric: str, word: str) -> None:
    assert sentences([found(metric, Finding.FASTER, "", 2.0, 1.5, 2.5)])[0].startswith(f"vectors {metric}: mine against other: {word}, ")


def test_other_reasons_and_other_pairs_have_lines_of_their_own() -> None:
    missing = found("disk", Finding.NOT_MEASURED, "other has no samples (skip)")
    theirs = Comparison("mine", "third", "vectors", "insert", Finding.REFUSED, OTHER)
    assert sentences([found("insert", Finding.REFUSED, OTHER), missing, theirs]) == [
        f"vectors insert: mine against other: refused ({OTHER})",
        "vectors disk: mine against other: not measured (other has no samples (skip))",
        f"vectors insert: mine against third: refused ({OTHER})",
    ]


def test_what_is_missing_for_one_reason_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    def series(metric: str, failure: str | None, *samples: float) -> Series:
        verdict = Verdict.SKIP if failure else Verdict.PASS
        return Series("qdrant", "vectors", metric, "ms", "lower", samples, {}, failure=failure, verdict=verdict)

    show_series([series("insert", "no engine"), series("delete", "no engine"), series("disk", "unseen"), series("search", None, 1.0, 2.0)])
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["skip", "vectors,", "2", "metrics"],
        ["skip", "vectors", "disk", "qdrant"],
        ["pass", "vectors", "search", "qdrant"],
    ]


class TestFollow:
    """Night after night: what there is not yet, or was measured on another machine, is said; a regression fails."""

    def test_the_first_night_is_judged_by_nothing_and_kept(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        choice = followed(tmp_path, Choice(follow="nightly"))
        assert (choice.against, choice.save) == ("", "nightly") and "no baseline 'nightly' yet" in capsys.readouterr().out

    def test_the_next_is_judged_by_it_and_takes_its_place(self, tmp_path: Path) -> None:
        baseline.save(tmp_path, "nightly", "run", "c0ffee", [Series("mine", "w", "m", "ms", "lower", (1.0, 2.0), {})])
        choice = followed(tmp_path, Choice(follow="nightly"))
        assert (choice.against, choice.save) == ("nightly", "nightly")

    def test_it_does_not_go_with_what_it_stands_for(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="stands for"):
            followed(tmp_path, Choice(follow="nightly", save="other"))
        with pytest.raises(UsageError, match="cannot be the name"):
            followed(tmp_path, Choice(follow="../nightly"))

    def test_another_machine_is_no_failure_and_everything_else_is(self) -> None:
        def of(change: Change) -> list[Judgement]:
            return [Judgement("mine", "w", "m", change, "why")]

        require_no_regression(of(Change.REFUSED), "nightly", another_machine=True)
        with pytest.raises(UsageError, match="refused"):
            require_no_regression(of(Change.REFUSED), "nightly")
        with pytest.raises(UsageError, match="missing"):
            require_no_regression(of(Change.MISSING), "nightly", another_machine=True)
        with pytest.raises(ProductFailure, match="regression"):
            require_no_regression(of(Change.REGRESSION), "nightly", another_machine=True)


SHORT = WorkloadSpec("short", "metadata", (("files", "500"),), quick=(("files", "20"),))
LONG = WorkloadSpec("long", "metadata", (("files", "9000"),), long=True)
SESSION: Any = SimpleNamespace(manifest=SimpleNamespace(benchmarks=(BenchmarkSpec("files", ("mine", "ext4"), (SHORT, LONG), 5, 9, 9),)))


@pytest.mark.parametrize(
    ("choice", "workloads", "systems"),
    [
        (Choice(), {"short": "500", "long": "9000"}, ("mine", "ext4")),
        (Choice(quick=True), {"short": "20"}, ("mine", "ext4")),
        (Choice(quick=True, workloads=("long",)), {"long": "9000"}, ("mine", "ext4")),
        (Choice(workloads=("short",), systems=("ext4",)), {"short": "500"}, ("ext4",)),
    ],
    ids=["all", "quick", "a long one by its name", "one of one system"],
)
def test_what_was_asked_for_is_measured_and_nothing_else(choice: Choice, workloads: dict[str, str], systems: tuple[str, ...]) -> None:
    (spec,) = choice.benchmarks(SESSION)
    assert {item.name: dict(item.options)["files"] for item in spec.workloads} == workloads
    assert spec.systems == systems


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no workload 'shor' in what is to be measured; did you mean 'short'"):
        Choice(workloads=("shor",)).benchmarks(SESSION)
    with pytest.raises(UsageError, match="no system 'xfs' in what is to be measured; expected one of: ext4, mine"):
        Choice(systems=("xfs",)).benchmarks(SESSION)


def test_a_baseline_is_asked_only_for_what_was_measured() -> None:
    series = Series("ext4", "long", "create", "operations/s", "higher", (1.0,), {})
    assert Choice().names(series) and Choice(workloads=("long",), systems=("ext4",)).names(series)
    assert not Choice(workloads=("short",)).names(series) and not Choice(systems=("mine",)).names(series)


@pytest.mark.parametrize("suite", ["tool", "overhead"])
def test_what_a_suite_outside_of_the_manifest_cannot_do_is_refused_and_not_left_out(suite: str) -> None:
    for choice in (Choice(suite, control=True), Choice(suite, save="mine"), Choice(suite, workloads=("random-read",))):
        with pytest.raises(UsageError, match=f"'{suite}' takes --rounds and --quick, and nothing else"):
            person.bench(SESSION, choice, guest="", require_kvm=False, cold=False)
