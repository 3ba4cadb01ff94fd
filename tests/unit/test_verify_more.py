# SPDX-License-Identifier: Apache-2.0
"""The commit behind an artifact (V8), budgets of findings (V11), expected failures (B11), floods (B10), as rules."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ci import config, flood
from ci.errors import Hang, InfrastructureError, ProductFailure, UsageError, VexciError
from ci.manifest import Expectation
from ci.model import Artifact, Check, Kind, Verdict
from ci.pipeline import budget, expected
from ci.store import RunFolder
from ci.verify import findings, origin
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.unit

HEAD = "a" * 40


def subject(folder: Path, commit: str = HEAD, dirty: bool = False) -> Subject:
    made = Artifact("d", Kind.DAEMON, folder / "d", "0" * 64, 1, (), builds.TRIPLE, None, commit, dirty, "", 0, 0, 0, False, "log")
    return Subject(made, builds.DAEMON, None, "", RunFolder(folder))


@pytest.mark.parametrize(
    ("commit", "dirty", "says"),
    [
        (HEAD, True, "the tree differed from commit aaaaaaaaaaaa: commit or remove the changes"),
        ("b" * 40, False, "it was built from commit bbbbbbbbbbbb, the tree is at aaaaaaaaaaaa: run './inv build' again"),
        ("unknown", True, "it was built outside git"),
    ],
)
def test_what_is_not_its_commit_is_recorded_and_fails_for_a_release(tmp_path: Path, commit: str, dirty: bool, says: str) -> None:
    daily = origin.check(subject(tmp_path, commit, dirty), HEAD, release=False)
    assert daily.verdict is Verdict.PASS and says in daily.detail and "(a release would fail)" in daily.detail
    strict = origin.check(subject(tmp_path, commit, dirty), HEAD, release=True)
    assert strict.id == "V8" and strict.verdict is Verdict.FAIL and strict.required and says in strict.detail


def test_a_clean_commit_passes_for_a_release(tmp_path: Path) -> None:
    assert origin.check(subject(tmp_path), HEAD, release=True).verdict is Verdict.PASS


FOUND = [("a.c:1", "one"), ("b.c:2", "two")]


@pytest.mark.parametrize(
    ("limit", "verdicts", "says"),
    [
        (0, ["fail", "fail", "fail"], "2 findings, the budget is 0; mend the new ones"),
        (2, ["pass", "known", "known"], "2 of 2"),
        (5, ["pass", "known", "known"], "lower 'findings: {sparse: 5}' in the manifest to 2"),
    ],
)
def test_findings_against_their_budget(tmp_path: Path, limit: int, verdicts: list[str], says: str) -> None:
    found = findings.checks(subject(tmp_path), "sparse", limit, FOUND)
    assert [check.verdict.value for check in found] == verdicts and says in found[0].detail
    assert [check.detail for check in found[1:]] == ["a.c:1: one", "b.c:2: two"]
    assert all(check.required == (check.verdict is not Verdict.KNOWN) for check in found)


MANIFEST = """\
version: 1
project: p
artifacts:
  m: {builder: kbuild, folder: k, module: m, kernels: [h], findings: {sparse: 1, compiler: 0}}
kernels:
  h: {provider: host}
"""


@pytest.mark.parametrize(
    ("now", "verdicts", "says"),
    [
        ("{sparse: 0, compiler: 0}", ["pass", "pass"], "sparse 0, in the last commit 1"),
        ("{sparse: 2, compiler: 0}", ["fail", "pass"], "put 'sparse: 1' back under 'findings:'"),
        ("{sparse: 1}", ["pass", "fail"], "compiler is not asked any more, in the last commit 0"),
    ],
)
def test_a_budget_of_findings_may_only_shrink(tmp_path: Path, now: str, verdicts: list[str], says: str) -> None:
    (tmp_path / "k").mkdir()
    path = tmp_path / "vexci.yaml"
    path.write_text(MANIFEST)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, timeout=20)
    path.write_text(MANIFEST.replace("{sparse: 1, compiler: 0}", now))
    found = budget.checks(config.read(path))
    assert [check.id for check in found] == ["V11", "V11"]
    assert [check.verdict.value for check in found] == verdicts and any(says in check.detail for check in found)


EXPECTING = replace(builds.MODULE, expect=Expectation("gone since 6.5", ("new",)))


@pytest.mark.parametrize(
    ("kernel", "error", "excused"),
    [
        ("new", ProductFailure("does not build"), True),
        ("old", ProductFailure("does not build"), False),
        ("new", Hang("did not end"), False),
        ("new", InfrastructureError("the disk is full"), False),
        ("new", UsageError("no Makefile"), False),
    ],
)
def test_only_the_failure_that_was_declared_is_excused(kernel: str, error: VexciError, excused: bool) -> None:
    row = expected.known(EXPECTING, kernel, error)
    assert (row is not None) is excused
    assert row is None or row["reason"] == "gone since 6.5"


def test_checks_that_fail_as_expected_are_known_and_where_none_does_that_is_a_failure(tmp_path: Path) -> None:
    made = replace(subject(tmp_path).artifact, kernel="new")
    good = Check("V1", "a", "m", Verdict.PASS, "fine")
    bad = Check("V2", "b", "m", Verdict.FAIL, "not fine")
    known = expected.judged(EXPECTING, made, [good, bad])
    assert [check.verdict for check in known] == [Verdict.PASS, Verdict.KNOWN] and "gone since 6.5" in known[1].detail
    passing = expected.judged(EXPECTING, made, [good])
    assert [check.id for check in passing] == ["V1", "B11"] and passing[1].verdict is Verdict.FAIL
    assert expected.judged(EXPECTING, replace(made, kernel="old"), [bad]) == [bad]


def test_a_disk_that_others_fill_is_no_flood_and_one_that_this_folder_fills_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([1000 << 20, 900 << 20, 800 << 20])
    monkeypatch.setattr(flood, "free_bytes", lambda _: next(free))
    watch = flood.Flood(tmp_path, 50 << 20)
    assert watch.seen() == ""  # 100 MiB are gone, none of them here
    monkeypatch.setattr(flood, "folder_bytes", lambda _: 60 << 20)
    assert watch.seen() == f"flooded {tmp_path} with 60 MiB (it may take 50) and was stopped"
