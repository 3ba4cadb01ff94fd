# SPDX-License-Identifier: Apache-2.0
"""`./inv bisect` on a real git repository. Only the guest is stood for: what would be recorded there follows from a file of the commit."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci import leftovers
from ci.commits import Repository, Search, Word
from ci.errors import InfrastructureError, Interrupted, ProductFailure, UsageError
from ci.model import Verdict
from ci.pipeline import bisecting
from ci.pipeline.bisecting import Question, Trial, judged
from ci.pipeline.session import Session

pytestmark = pytest.mark.unit

MANIFEST = """\
version: 1
project: small
artifacts:
  daemon: {builder: cargo, folder: fuse, binary: d, filesystem: fuse.d, mount: ["{artifact}", "{mountpoint}"]}
suites:
  smoke: {artifacts: [daemon], minimum: 1, deadline: 10}
"""
SMOKE = Question("smoke")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


class Small:
    """A repository whose commits say in the file `state` what comes of them."""

    def __init__(self, root: Path) -> None:
        self.root, self._count = root, 0
        (root / "fuse").mkdir(parents=True)
        git(root, "init", "-q", "-b", "main")
        (root / "vexci.yaml").write_text(MANIFEST)
        (root / ".gitignore").write_text(".runs/\n")
        (root / "fuse/Cargo.toml").write_text("")

    def commit(self, state: str, subject: str = "") -> str:
        (self.root / "state").write_text(state)
        self._count += 1
        (self.root / "count").write_text(str(self._count))
        git(self.root, "add", "--all")
        git(self.root, "commit", "-q", "--allow-empty", "-m", subject or state)
        return git(self.root, "rev-parse", "HEAD")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    monkeypatch.setenv("VEXCI_CONFIG", str(tmp_path / "small/vexci.yaml"))
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    return Small(tmp_path / "small")


def record(state: str) -> dict[str, Any]:
    """What `./inv validate` would have recorded: `pass`, `build` (does not build), `infra`, or the verdict of the case `unlink`."""
    if state == "build":
        stages = [{"name": "build", "verdict": "fail", "detail": "main.rs:3: no such name", "required": True, "results": {}}]
        return {"verdict": "fail", "detail": "main.rs:3: no such name", "stages": stages}
    cases = [
        {"id": "mount", "verdict": "pass", "detail": "", "required": True},
        {"id": "unlink", "verdict": "skip" if state == "infra" else state, "detail": f"it was {state}", "required": True},
    ]
    suite = {"suite": "smoke", "artifact": "daemon", "verdict": state, "detail": f"unlink: it was {state}", "cases": cases}
    stage = {"name": "validate", "verdict": state, "detail": "", "required": True, "results": {"suites": [suite]}}
    return {"verdict": state, "detail": "", "stages": [stage]}


def ask(manifest: Path, question: Question, log: Path) -> tuple[float, Path | None]:
    log.write_text("it ran\n")
    state = (manifest.parent / "state").read_text()
    if state == "nothing":
        log.write_text("usage: vexci.yaml:7: the suite 'smoke' is not known\n")
        return 0.0, None
    folder = manifest.parent / ".runs/one"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record(state)))
    return 1.0, folder


def bisect(good: str, bad: str, question: Question = SMOKE, how: Callable[..., Any] = ask) -> tuple[list[Trial], dict[str, Any]]:
    session = Session(["bisect"])
    trials = bisecting.run(session, question, good=good, bad=bad, ask=how)
    (stage,) = session.record.snapshot()["stages"]
    return trials, stage


def nothing_is_left(small: Small) -> None:
    assert git(small.root, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert git(small.root, "for-each-ref", "refs/bisect") == ""
    assert not list((small.root.parent / "tmp").glob("vexci-commit-*"))


class TestBadInput:
    """Refused before anything is built, with the way out."""

    @pytest.mark.parametrize(
        ("good", "bad", "question", "words"),
        [
            ("", "HEAD", SMOKE, "bisect needs --good, --bad and --suite"),
            ("HEAD~1", "HEAD", Question(""), "bisect needs --good, --bad and --suite"),
            ("no-such-tag", "HEAD", SMOKE, "'no-such-tag' is no commit of "),
            ("HEAD~1", "--all", SMOKE, "'--all' is no commit of "),
            ("HEAD", "main", SMOKE, "are the same commit"),
            ("HEAD", "HEAD~1", SMOKE, "--good HEAD is no ancestor of --bad HEAD~1 (it is the other way round)"),
            ("side", "HEAD", SMOKE, "--good side is no ancestor of --bad HEAD"),
            ("HEAD~1", "HEAD", Question("smok"), "the suite 'smok' is not defined; did you mean 'smoke'?"),
            ("HEAD~1", "HEAD", Question("smoke", only="demon"), "the artifact 'demon' is not defined; did you mean 'daemon'?"),
            ("HEAD~1", "HEAD", Question("smoke,posix"), "a search asks one question of each commit"),
            ("HEAD~1", "HEAD", Question("all"), "a search asks one question of each commit"),
            ("HEAD~1", "HEAD", Question("smoke", repeat=0), "--repeat 0: expected at least 1"),
        ],
    )
    def test_it_is_said_what_is_wrong(self, small: Small, good: str, bad: str, question: Question, words: str) -> None:
        small.commit("pass")
        git(small.root, "branch", "side")
        git(small.root, "checkout", "-q", "side")
        small.commit("pass", "aside")
        git(small.root, "checkout", "-q", "main")
        small.commit("fail")
        with pytest.raises(UsageError) as caught:
            bisect(good, bad, question, lambda *_: pytest.fail("nothing may be asked"))
        assert words in str(caught.value)
        assert not (small.root / ".runs").exists()

    def test_a_tree_that_differs_is_refused(self, small: Small) -> None:
        small.commit("pass")
        small.commit("fail")
        (small.root / "fuse/new.rs").write_text("")
        with pytest.raises(UsageError, match="the tree differs from its commit"):
            bisect("HEAD~1", "HEAD")

    def test_a_folder_outside_git_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is in no git repository"):
            Repository(tmp_path)


class TestEnds:
    """Both are seen before anything is searched between them."""

    def test_a_bad_end_that_passes(self, small: Small) -> None:
        small.commit("pass")
        small.commit("pass", "another")
        with pytest.raises(UsageError, match=r"--bad HEAD is good: 1 suite passed"):
            bisect("HEAD~1", "HEAD")
        nothing_is_left(small)

    def test_a_good_end_that_fails(self, small: Small) -> None:
        small.commit("panic")
        small.commit("fail")
        with pytest.raises(UsageError, match=r"--good HEAD~1 is bad: daemon: unlink: it was panic"):
            bisect("HEAD~1", "HEAD")

    @pytest.mark.parametrize(
        ("state", "error", "words"),
        [
            ("infra", InfrastructureError, "--bad HEAD could not be judged: daemon: unlink: it was infra"),
            ("build", ProductFailure, "--bad HEAD could not be judged: build: main.rs:3: no such name"),
            ("nothing", UsageError, "--bad HEAD could not be judged: usage: vexci.yaml:7: the suite 'smoke' is not known"),
        ],
    )
    def test_one_that_cannot_be_judged(self, small: Small, state: str, error: type[Exception], words: str) -> None:
        small.commit("pass")
        small.commit(state)
        with pytest.raises(error) as caught:
            bisect("HEAD~1", "HEAD")
        assert str(caught.value) == words


class TestSearch:
    @pytest.mark.parametrize(("first", "verdict"), [(1, "fail"), (4, "panic"), (6, "hang"), (8, "fail")])
    def test_the_first_bad_commit_is_found_with_its_record(self, small: Small, first: int, verdict: str) -> None:
        commits = [small.commit("pass" if number < first else verdict, f"change {number}") for number in range(9)]
        trials, stage = bisect(commits[0], "HEAD")
        assert stage["verdict"] == "pass"
        found = stage["results"]["first_bad"]
        assert (found["commit"], found["subject"]) == (commits[first], f"change {first}")
        assert found["reason"] == f"daemon: unlink: it was {verdict}"
        assert {item["kind"] for item in stage["evidence"]} == {"record", "log"}
        (run,) = [path for path in (small.root / ".runs").iterdir() if not path.is_symlink()]
        kept = json.loads((run / found["record"] / "record.json").read_text())
        assert kept["verdict"] == verdict
        assert len(trials) <= 2 + 4 and len({trial.commit for trial in trials}) == len(trials)
        nothing_is_left(small)

    def test_the_users_branch_index_and_bisection_are_left_alone(self, small: Small) -> None:
        commits = [small.commit(state, f"{number}") for number, state in enumerate(["pass", "pass", "fail", "fail"])]
        git(small.root, "bisect", "start", commits[3], commits[0])
        theirs = git(small.root, "bisect", "log")
        git(small.root, "checkout", "-q", "main")
        bisect(commits[0], commits[3])
        assert git(small.root, "bisect", "log") == theirs
        assert git(small.root, "symbolic-ref", "HEAD") == "refs/heads/main"
        assert git(small.root, "status", "--porcelain") == ""

    def test_commits_that_cannot_be_judged_are_gone_round(self, small: Small) -> None:
        states = ["pass", "build", "pass", "infra", "pass", "fail", "nothing", "fail"]
        commits = [small.commit(state, f"change {number}") for number, state in enumerate(states)]
        trials, stage = bisect(commits[0], commits[-1])
        assert stage["results"]["first_bad"]["commit"] == commits[5]
        words = {trial.commit: trial.word for trial in trials}
        assert all(words[commit] is Word.SKIP for commit in words if states[commits.index(commit)] in ("build", "infra", "nothing"))

    @pytest.mark.parametrize(("state", "error"), [("build", ProductFailure), ("infra", InfrastructureError)])
    def test_where_only_such_are_left_each_that_it_may_be_is_named(self, small: Small, state: str, error: type[Exception]) -> None:
        commits = [small.commit(each, f"change {number}") for number, each in enumerate(["pass", state, state, "fail"])]
        session = Session(["bisect"])
        with pytest.raises(error) as caught:
            bisecting.run(session, SMOKE, good=commits[0], bad=commits[-1], ask=ask)
        assert "the first bad commit is one of 3: " in str(caught.value)
        assert all(commit[:12] in str(caught.value) for commit in commits[1:])
        (stage,) = session.record.snapshot()["stages"]
        assert set(stage["results"]["candidates"]) == set(commits[1:])
        nothing_is_left(small)

    def test_a_commit_without_a_manifest_is_skipped(self, small: Small) -> None:
        commits = [small.commit("pass")]
        git(small.root, "rm", "-q", "vexci.yaml")
        commits.append(small.commit("fail", "no manifest"))
        (small.root / "vexci.yaml").write_text(MANIFEST)
        commits.append(small.commit("fail", "there again"))
        with pytest.raises(ProductFailure, match=r"could not be judged \(the commit has no vexci.yaml\)"):
            bisect(commits[0], commits[-1])

    def test_a_manifest_in_a_folder_of_the_repository(self, small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
        below = small.root / "fs"
        below.mkdir()
        for name in ("vexci.yaml", "fuse"):
            (small.root / name).rename(below / name)
        monkeypatch.setenv("VEXCI_CONFIG", str(below / "vexci.yaml"))
        commits = []
        for number, state in enumerate(["pass", "fail"]):
            (below / "state").write_text(state)
            commits.append(small.commit(f"top {number}"))
        _, stage = bisect(*commits)
        assert stage["results"]["first_bad"]["commit"] == commits[1]


class TestInterrupt:
    def test_ctrl_c_leaves_no_worktree_and_no_refs(self, small: Small) -> None:
        commits = [small.commit(state, f"{number}") for number, state in enumerate(["pass", "pass", "fail", "fail"])]
        asked: list[Path] = []

        def interrupted(manifest: Path, question: Question, log: Path) -> tuple[float, Path | None]:
            asked.append(manifest)
            if len(asked) == 3:
                raise Interrupted()
            return ask(manifest, question, log)

        with pytest.raises(Interrupted):
            bisect(commits[0], commits[-1], how=interrupted)
        assert len(asked) == 3
        nothing_is_left(small)

    def test_what_a_killed_run_left_goes_with_the_next_start(self, small: Small, tmp_path: Path) -> None:
        commit = small.commit("pass")
        place = tmp_path / "tmp/vexci-commit-left"
        git(small.root, "worktree", "add", "--quiet", "--detach", "--lock", str(place), commit)
        folder = leftovers.state_dir() / "owners/1-1"  # of a process that is gone
        folder.mkdir(parents=True)
        facts = {"kind": "worktree", "path": str(place), "repository": str(small.root)}
        (folder / "worktree-left.json").write_text(json.dumps(facts))
        assert [sentence.split(" that ")[0] for sentence in leftovers.sweep()] == ["released a worktree"]
        nothing_is_left(small)

    def test_a_repository_that_is_gone_keeps_nobody_from_starting(self, small: Small, tmp_path: Path) -> None:
        (tmp_path / "aside").mkdir()
        leftovers.release_worktree({"path": str(tmp_path / "aside"), "repository": str(tmp_path / "gone")})
        assert not (tmp_path / "aside").exists()


class TestJudge:
    """What a record says of its commit."""

    def suites(self, *cases: tuple[str, str], verdict: str = "fail") -> dict[str, Any]:
        rows = [{"id": name, "verdict": said, "detail": "d", "required": True} for name, said in cases]
        suite = {"suite": "posix", "artifact": "daemon", "verdict": verdict, "detail": "s", "cases": rows}
        stage = {"name": "validate", "verdict": verdict, "detail": "", "required": True, "results": {"suites": [suite]}}
        return {"verdict": verdict, "detail": "", "stages": [stage]}

    @pytest.mark.parametrize(
        ("cases", "test", "word"),
        [
            ((("a.x", "pass"), ("b", "fail")), "a.x", Word.GOOD),  # another case's failure is not what is looked for
            ((("a.x", "fail"), ("b", "pass")), "a.x", Word.BAD),
            ((("a.x", "pass"), ("a.y", "hang")), "a", Word.BAD),  # a group
            ((("a.x", "pass"), ("a.y", "hang")), "a.x*", Word.GOOD),
            ((("a.x", "known"),), "a.x", Word.BAD),  # the list may be younger than the failure
            ((("a.x", "skip"), ("mount", "fail")), "a.x", Word.SKIP),
            ((("a.x", "infra"),), "a.x", Word.SKIP),
            ((("b", "pass"),), "a.x", Word.SKIP),
        ],
    )
    def test_by_cases(self, cases: tuple[tuple[str, str], ...], test: str, word: Word) -> None:
        assert judged(self.suites(*cases), Question("posix", test))[0] is word

    @pytest.mark.parametrize(
        ("verdict", "word"),
        [("pass", Word.GOOD), ("known", Word.GOOD), ("fail", Word.BAD), ("panic", Word.BAD), ("hang", Word.BAD), ("infra", Word.SKIP)],
    )
    def test_by_the_whole_suite(self, verdict: str, word: Word) -> None:
        assert judged(self.suites(("a", "pass"), verdict=verdict), Question("posix"))[0] is word

    def test_one_failure_among_repeated_runs_is_enough(self) -> None:
        found = self.suites(verdict="pass")
        found["stages"][0]["results"]["suites"] += self.suites(verdict="fail")["stages"][0]["results"]["suites"]
        assert judged(found, Question("posix", repeat=2))[0] is Word.BAD

    @pytest.mark.parametrize("verdict", ["running", "interrupted"])
    def test_a_run_that_was_ended_says_nothing(self, verdict: str) -> None:
        found = {**self.suites(("a", "fail")), "verdict": verdict}
        assert judged(found, Question("posix"))[:2] == (Word.SKIP, Verdict.INFRA)

    def test_a_failure_to_verify_is_no_failure_of_the_suite(self) -> None:
        stages = [
            {"name": "build", "verdict": "pass", "detail": "", "required": True, "results": {}},
            {"name": "verify", "verdict": "fail", "detail": "V1", "required": True, "results": {}},
        ]
        assert judged({"verdict": "fail", "detail": "V1", "stages": stages}, SMOKE) == (Word.SKIP, Verdict.FAIL, "verify: V1")


def test_the_question_is_a_command_that_a_person_can_type() -> None:
    question = Question("posix", "rename.*", "vexfs-fuse", "debian-6.1", "seed=7", 3)
    assert " ".join(question.argv) == (
        "validate --suite posix --test rename.* --only vexfs-fuse --kernel debian-6.1 --options seed=7 --repeat 3"
    )
    assert os.access(bisecting.TOOL, os.X_OK)


def test_a_search_that_git_refuses_is_the_machines_failure(small: Small) -> None:
    commits = [small.commit("pass"), small.commit("fail")]
    repository = Repository(small.root)
    with repository.worktree(commits[1], files=False) as driver, pytest.raises(InfrastructureError, match="git bisect start"):
        Search(driver, commits[0], "no-such-commit")
