# SPDX-License-Identifier: Apache-2.0
"""Known failures: what the list excuses, what it does not, and when the list itself is wrong."""

from __future__ import annotations

import datetime
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ci import config
from ci.errors import ProductFailure
from ci.model import Case, SuiteResult, Verdict
from ci.pipeline import releasing
from ci.pipeline.session import Session
from ci.reader import ConfigError
from ci.release.papers import Key
from ci.validate import known
from ci.validate.known import Entry, Ledger

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
TODAY = datetime.date(2026, 6, 1)
ENTRY = Entry("one", "posix", ("times.*",), "no noatime", "daemon", datetime.date(2026, 7, 1), artifacts=("vexfs-fuse",), line=3)


def result(*cases: tuple[str, Verdict], beside: Verdict = Verdict.PASS, artifact: str = "vexfs-fuse") -> SuiteResult:
    made = tuple(Case(name, verdict, "because", 0.1) for name, verdict in cases)
    bad = any(case.verdict is not Verdict.PASS for case in made)
    return SuiteResult("posix", artifact, "6.1.0", Verdict.FAIL if bad else Verdict.PASS, "", 1, made, 1.0, beside=beside)


def ledger(*entries: Entry, whole: bool = True) -> Ledger:
    return Ledger(entries, whole=whole, today=TODAY)


def problems(used: Ledger) -> list[str]:
    return [check.detail for check in used.checks(Path("known-failures.yaml")) if not check.verdict.ok]


def test_a_listed_failure_is_known_with_its_owner_reason_and_date() -> None:
    used = ledger(ENTRY)
    judged = used.judge(result(("times.noatime", Verdict.FAIL), ("rename.x", Verdict.PASS)), "debian-6.1")
    assert judged.verdict is Verdict.KNOWN
    assert judged.cases[0].verdict is Verdict.KNOWN
    assert judged.cases[0].detail == "known until 2026-07-01 (daemon): no noatime; because"
    assert problems(used) == []


def test_a_suite_on_several_artifacts_at_once_is_a_suite_on_each_of_them() -> None:
    entry = replace(ENTRY, suite="differential", tests=("batch-1",))
    judged = replace(result(("batch-1", Verdict.FAIL), artifact="vexfs-kernel+vexfs-fuse"), suite="differential")
    used = ledger(entry)
    assert used.judge(judged, "debian-6.1").verdict is Verdict.KNOWN and problems(used) == []
    wrong = ledger(replace(entry, tests=("batch-9",)))
    assert wrong.judge(judged, "debian-6.1").verdict is Verdict.FAIL and "matches no case" in problems(wrong)[0]


def test_one_that_is_not_listed_still_fails_the_suite() -> None:
    judged = ledger(ENTRY).judge(result(("times.noatime", Verdict.FAIL), ("rename.x", Verdict.FAIL)), "debian-6.1")
    assert judged.verdict is Verdict.FAIL and "rename.x" in judged.detail


def test_what_is_no_cases_own_is_never_excused() -> None:
    judged = ledger(ENTRY).judge(result(("times.noatime", Verdict.FAIL), beside=Verdict.PANIC), "debian-6.1")
    assert judged.verdict is Verdict.PANIC


@pytest.mark.parametrize("verdict", [Verdict.PANIC, Verdict.HANG, Verdict.INFRA, Verdict.SKIP])
def test_only_a_failure_can_be_known(verdict: Verdict) -> None:
    judged = ledger(ENTRY).judge(result(("times.noatime", verdict)), "debian-6.1")
    assert judged.cases[0].verdict is verdict


@pytest.mark.parametrize(
    "entry", [replace(ENTRY, artifacts=("vexfs-kernel",)), replace(ENTRY, kernels=("debian-6.12",)), replace(ENTRY, suite="smoke")]
)
def test_the_condition_counts(entry: Entry) -> None:
    used = ledger(entry)
    assert used.judge(result(("times.noatime", Verdict.FAIL)), "debian-6.1").verdict is Verdict.FAIL
    assert problems(used) == [], "an entry of another subject is not looked at"


def test_one_that_passes_fails_the_run() -> None:
    used = ledger(ENTRY)
    used.judge(result(("times.noatime", Verdict.PASS)), "debian-6.1")
    (problem,) = problems(used)
    assert problem == "is listed as failing, and passes: times.noatime on vexfs-fuse [6.1.0]; take it off the list"


def test_one_that_matches_nothing_fails_the_run_unless_only_some_cases_were_asked_for() -> None:
    for whole, expected in ((True, 1), (False, 0)):
        used = ledger(ENTRY, whole=whole)
        used.judge(result(("rename.x", Verdict.PASS)), "debian-6.1")
        assert len(problems(used)) == expected


def test_one_that_has_expired_excuses_nothing_and_fails_the_run_although_its_suite_did_not_run() -> None:
    old = replace(ENTRY, expires=datetime.date(2026, 5, 31))
    used = ledger(old)
    assert problems(used) == ["has expired on 2026-05-31 (daemon): mend what fails, or look again and set another date"]
    assert used.judge(result(("times.noatime", Verdict.FAIL)), "debian-6.1").verdict is Verdict.FAIL
    assert problems(ledger(replace(ENTRY, expires=TODAY))) == [], "on its last day it still counts"


def written(tmp_path: Path, text: str) -> tuple[Entry, ...]:
    (tmp_path / known.FILE).write_text(text)
    return known.read(replace(config.read(ROOT / "vexci.yaml"), root=tmp_path))


def test_the_file_is_read(tmp_path: Path) -> None:
    body = "suite: smoke, tests: [unlink], reason: r, owner: o, expires: 2027-01-31, artifacts: [vexfs-fuse], kernels: [debian-6.1]"
    (entry,) = written(tmp_path, f"version: 1\nfailures:\n  a:\n    {{{body}}}\n")
    assert (entry.suite, entry.tests, entry.expires) == ("smoke", ("unlink",), datetime.date(2027, 1, 31))


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert known.read(replace(config.read(ROOT / "vexci.yaml"), root=tmp_path)) == ()


def test_every_mistake_of_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    text = "version: 1\nfailures:\n  a:\n    suite: smok\n    tests: [x]\n    reason: r\n    expires: soon\n    artifacts: [vexfs-fues]\n"
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, text)
    found = {problem.key: problem for problem in caught.value.problems}
    assert "did you mean 'smoke'?" in found["failures.a.suite"].message and found["failures.a.suite"].line == 4
    assert "did you mean 'vexfs-fuse'?" in found["failures.a.artifacts"].message
    assert found["failures.a.owner"].message == "is missing"
    assert "such as 2027-01-31" in found["failures.a.expires"].message


LISTED = """\
version: 1
failures:
  old: {suite: posix, tests: [times.x], reason: r, owner: o, expires: 2026-05-31}
  live: {suite: posix, tests: [times.y], reason: r, owner: o, expires: 2026-06-01}
"""


def test_a_release_is_told_of_what_has_expired_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / known.FILE).write_text(LISTED)
    manifest = replace(config.read(ROOT / "vexci.yaml"), root=tmp_path)
    words = "has expired on 2026-05-31 (o): mend what fails, or look again and set another date"
    assert known.expired(manifest, TODAY) == [f"known-failures.yaml:3: 'old' {words}"]
    assert known.expired(manifest, datetime.date(2026, 5, 31)) == []


def test_release_itself_refuses_it_beside_its_other_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, tmp_path / "clone"], check=True)
    (tmp_path / "clone" / known.FILE).write_text(LISTED)
    monkeypatch.setenv("VEXCI_CONFIG", str(tmp_path / "clone/vexci.yaml"))
    monkeypatch.setenv("COLUMNS", "300")
    session = Session(["release"])
    with pytest.raises(ProductFailure, match="no release: "):
        releasing.release(session, releasing.Wanted(session.manifest.release, Key()))
    assert "known-failures.yaml:3: 'old' has expired on 2026-05-31 (o)" in capsys.readouterr().out
    assert not session.working, "nothing was begun"


def test_the_projects_own_list_has_no_mistake() -> None:
    known.read(config.read(ROOT / "vexci.yaml"))
