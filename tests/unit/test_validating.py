# SPDX-License-Identifier: Apache-2.0
"""What the stage validate does with a result: the machine's failures once more, the product's never; listed ones; the time spent."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ci.board import Board
from ci.errors import InfrastructureError, Interrupted, ProductFailure
from ci.manifest import Manifest, SuiteSpec
from ci.model import Case, SuiteResult, Verdict
from ci.pipeline import choice, validating
from ci.pipeline.choice import Item, Request
from ci.pipeline.pool import Pool
from ci.record import Stage
from ci.report import cases
from ci.store import RunFolder
from ci.validate.known import Entry, Ledger

pytestmark = pytest.mark.unit

SUITES = tuple(SuiteSpec(name, ("a",), 1, 1.0, 1.0, kernels=kernels) for name, kernels in (("smoke", ("k1", "k2")), ("posix", ())))
DEBUG = SuiteSpec("debug", (), 1, 1.0, 1.0, on_request=True, kernels=("d",), parts=("smoke", "posix"))


class Tries:
    """Stands for a pool, and remembers how often its guest was replaced."""

    def __init__(self, folder: Path, kept: str = "") -> None:
        self.kept, self.discarded, self.ended = kept, 0, ""
        record = SimpleNamespace(run=RunFolder(folder))
        self.session = SimpleNamespace(record=record, manifest=SimpleNamespace(root=folder), kernels={})

    def discard(self) -> None:
        self.discarded += 1


def result(verdict: Verdict, seconds: float = 2.0) -> SuiteResult:
    return SuiteResult("smoke", "a", "6.1", verdict, f"it was {verdict}", 1, (Case("mount", verdict, "", 1.5),), seconds)


def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: Sequence[object], kept: str = "") -> tuple[Tries, Stage, list[str]]:
    """Run one item whose tries come out as `outcomes`."""
    said: list[str] = []
    monkeypatch.setattr(validating.console, "note", said.append)
    left = list(outcomes)

    def run(self: object, pool: object, item: object) -> SuiteResult:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return cast(SuiteResult, outcome)

    monkeypatch.setattr(validating._Work, "_run", run)
    pool, stage = Tries(tmp_path, kept), Stage("validate")
    doing = validating._Work(stage, Ledger(()), (), Board(["smoke on a"]))
    doing.one(cast(Pool, pool), Item(SUITES[0], "k1", "a", None))
    assert left == [], "every try was made"
    return pool, stage, said


def test_what_the_machine_spoilt_is_tried_once_more_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, first in enumerate((result(Verdict.INFRA), InfrastructureError("the guest did not start"))):
        pool, stage, said = work(tmp_path / str(number), monkeypatch, [first, result(Verdict.PASS)])
        assert [each.verdict for each in stage.results["suites"]] == [Verdict.PASS]
        assert len(stage.results["retried"]) == pool.discarded == 1
        assert any(line.startswith("infra, tried once more in a fresh guest: smoke on a (reference) in k1: ") for line in said)


def test_a_second_failure_of_the_machine_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stage, _ = work(tmp_path, monkeypatch, [result(Verdict.INFRA), result(Verdict.INFRA)])
    assert [each.verdict for each in stage.results["suites"]] == [Verdict.INFRA]
    with pytest.raises(InfrastructureError):
        work(tmp_path / "raised", monkeypatch, [result(Verdict.INFRA), InfrastructureError("again")])


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.PANIC, Verdict.HANG])
def test_a_failure_of_the_product_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    _, stage, _ = work(tmp_path, monkeypatch, [result(verdict)])
    assert [each.verdict for each in stage.results["suites"]] == [verdict] and stage.results["retried"] == []
    with pytest.raises(ProductFailure):
        work(tmp_path / "raised", monkeypatch, [ProductFailure("another build runs")])


def test_a_guest_that_somebody_keeps_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stage, _ = work(tmp_path, monkeypatch, [result(Verdict.INFRA)], kept="mine")
    assert stage.results["retried"] == []


@pytest.mark.parametrize("lost", [result(Verdict.INFRA), InfrastructureError("the guest was lost")])
def test_a_guest_that_ended_with_the_tool_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: object) -> None:
    """In another thread than Ctrl-C arrives in: there the guest is lost."""
    monkeypatch.setattr(Tries, "ended", property(lambda _: "the end of the tool", lambda _self, _value: None), raising=False)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, monkeypatch, [lost])


def test_ctrl_c_keeps_the_cases_that_had_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, stage = Tries(tmp_path), Stage("validate")
    doing = validating._Work(stage, Ledger(()), (), Board(["smoke on a"]))

    def run(self: validating._Work, pool: object, item: Item) -> SuiteResult:
        self._ended[item.number] = [Case("load", Verdict.PASS, "", 0.1), Case("mount", Verdict.FAIL, "no", 0.1)]
        raise Interrupted("SIGTERM")

    monkeypatch.setattr(validating._Work, "_run", run)
    with pytest.raises(Interrupted):
        doing.one(cast(Pool, pool), Item(SUITES[0], "k1", "a", None))
    (kept,) = stage.results["suites"]
    assert (kept.verdict, kept.detail) == (Verdict.INTERRUPTED, "interrupted by SIGTERM after 2 cases")
    assert [case.id for case in kept.cases] == ["load", "mount"] and stage.results["retried"] == []
    text = cases.junit([kept])
    assert 'name="mount"' in text and 'name="(suite)"' in text and "<error" in text


def test_the_record_says_how_much_of_the_time_was_in_cases() -> None:
    stage = Stage("validate")
    validating._say_overhead(stage, [result(Verdict.PASS), result(Verdict.PASS, 3.0)], 10.0)
    assert stage.results["seconds"] == {"slots": 10.0, "cases": 3.0, "suites": 2.0}


def asked(**request: Any) -> tuple[list[str], list[str]]:
    """The suites and kernels of a request."""
    manifest = cast(Manifest, SimpleNamespace(suites=(*SUITES, DEBUG), root=Path()))
    made = Request(**request)
    return [suite.name for suite in choice._chosen(manifest, made)], choice.kernels(manifest, made, "machine")


def test_each_suite_runs_on_its_kernels_and_on_the_machines_where_it_names_none() -> None:
    assert asked() == (["smoke", "posix"], ["k1", "k2", "machine"])
    assert asked(suite="posix") == (["posix"], ["machine"])


def test_a_kernel_that_is_named_takes_the_place_of_all() -> None:
    assert asked(kernel="d") == (["smoke", "posix"], ["d"])


def test_a_suite_with_parts_is_these_on_its_kernels() -> None:
    assert asked(suite="debug") == (["smoke", "posix"], ["d"])


LISTED = Entry("one", "smoke", ("mount",), "why", "who", datetime.date(2999, 1, 1), line=3)


@pytest.mark.parametrize(
    ("entry", "verdict", "words"),
    [
        (LISTED, Verdict.PASS, "is listed as failing, and passes: mount on a"),
        (replace(LISTED, tests=("unmount",)), Verdict.PASS, "matches no case of smoke that ran"),
        (replace(LISTED, expires=datetime.date(2020, 1, 1)), Verdict.PASS, "has expired on 2020-01-01 (who)"),
        (LISTED, Verdict.FAIL, ""),
    ],
)
def test_a_list_that_is_wrong_fails_a_run_whose_suites_passed(entry: Entry, verdict: Verdict, words: str) -> None:
    stage, ledger = Stage("validate"), Ledger((entry,))
    judged = ledger.judge(result(verdict), "k1")
    stage.checks += ledger.checks(Path("known-failures.yaml"))
    assert judged.verdict.ok
    if not words:
        return validating._judge(stage, [judged])
    with pytest.raises(ProductFailure) as caught:
        validating._judge(stage, [judged])
    assert words in str(caught.value) and str(caught.value).startswith("known-failures.yaml:3: one ")


class TestAskedFor:
    """`--test` names cases and groups; one that there is none of must not pass by what stands around it."""

    CASES = tuple(Case(name, Verdict.PASS, "", 0.1) for name in ("load", "mount", "rename.x", "rename.y", "unmount"))

    def judged(self, *names: str) -> SuiteResult:
        return validating.with_all(replace(result(Verdict.PASS), cases=self.CASES), names)

    @pytest.mark.parametrize("names", [(), ("rename",), ("rename.x", "rename.y"), ("mount",)])
    def test_all_are_there(self, names: tuple[str, ...]) -> None:
        assert self.judged(*names) == replace(result(Verdict.PASS), cases=self.CASES)

    def test_one_is_not(self) -> None:
        found = self.judged("rename.x", "rename.z", "renam")
        assert found.verdict is Verdict.FAIL
        assert found.detail == "smoke on a has no case rename.z, renam; it was pass"

    def test_where_nothing_ran_the_reason_for_that_stands(self) -> None:
        nothing = replace(result(Verdict.INFRA), cases=())
        assert validating.with_all(nothing, ("rename",)) == nothing


class TestCheckouts:
    """Suites of checkouts that are not there: a skip by name, which fails the run; left out of `all`, which says so."""

    SUITES = (SUITES[0], SuiteSpec("pjdfstest", ("a",), 1, 1.0, 1.0, on_request=True))

    def test_by_its_name_it_is_skipped_with_the_way_out_and_the_run_fails(self, tmp_path: Path) -> None:
        doing = validating._Work(Stage("validate"), Ledger(()), (), Board(["pjdfstest on a"]))
        pool = Tries(tmp_path)
        doing.one(cast(Pool, pool), Item(self.SUITES[1], "k1", "a", None))
        (found,) = doing.results
        assert found.verdict is Verdict.SKIP and found.detail.startswith("not run: no checkout is named: git clone ")
        with pytest.raises(ProductFailure):
            validating._judge(Stage("validate"), doing.results)

    def test_all_does_without_it_and_says_so(self, tmp_path: Path) -> None:
        manifest = cast(Manifest, SimpleNamespace(suites=self.SUITES, root=tmp_path))
        assert list(choice.left_out(manifest, Request("all"))) == ["pjdfstest"]
        assert choice.left_out(manifest, Request("pjdfstest")) == choice.left_out(manifest, Request()) == {}
        assert [suite.name for suite in choice._chosen(manifest, Request("all"))] == ["smoke"]
        assert [suite.name for suite in choice._chosen(manifest, Request("pjdfstest"))] == ["pjdfstest"]
