# SPDX-License-Identifier: Apache-2.0
"""`./inv bisect`: which commit broke a suite. Each commit is built in a worktree of its own and judged in a fresh guest.

The tool and its suites are today's for every commit, the sources and the manifest are the commit's own: `./inv validate` runs in a process
of its own on the worktree's manifest, and what it has recorded decides. Both ends are judged first: a search between ends that nobody
has seen would find something whatever is true.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import console, errors, leftovers, process
from ci.commits import Repository, Search, Word
from ci.errors import Hang, UsageError
from ci.model import Check, Verdict
from ci.pipeline.guests import ALL_SUITES, check_request
from ci.pipeline.session import Session
from ci.process import Limits
from ci.record import Stage, plain
from ci.store import RUNS_FOLDER

TOOL = Path(__file__).resolve().parent.parent.parent / "inv"
_SHORT = 12


@dataclass(frozen=True)
class Question:
    """What is to be asked of each commit: one suite, of it these cases (a,b; patterns as in file names) on this artifact with this kernel;
    `repeat` times, for a failure that does not always happen: one is enough. `deadline` in seconds is one commit's."""

    suite: str
    test: str = ""
    only: str = ""
    kernel: str = ""
    options: str = ""
    repeat: int = 1
    deadline: float = 7200.0

    @property
    def argv(self) -> list[str]:
        """The words behind `./inv`."""
        words = ["validate", "--suite", self.suite]
        given = {"test": self.test, "only": self.only, "kernel": self.kernel, "options": self.options}
        words += [word for flag, value in given.items() if value for word in (f"--{flag}", value)]
        return [*words, "--repeat", str(self.repeat)] if self.repeat > 1 else words

    @property
    def label(self) -> str:
        """For a person."""
        return self.suite + (f" ({self.test})" if self.test else "")


@dataclass(frozen=True)
class Trial:
    """One commit, what was said of it, why, and the verdict behind that. `record` is its run's folder, below this run's."""

    commit: str
    subject: str
    word: Word
    verdict: Verdict
    reason: str
    seconds: float
    record: str

    @property
    def short(self) -> str:
        return self.commit[:_SHORT]


# Runs the question on a worktree's manifest: the seconds that it took, and the folder of the run that it recorded, None where it did not.
Ask = Callable[[Path, Question, Path], tuple[float, Path | None]]


def validate_in(manifest: Path, question: Question, log: Path) -> tuple[float, Path | None]:
    """`./inv validate` on that manifest, its output in `log`. One that does not end is stopped; its record then says that it was."""
    env = {**os.environ, "VEXCI_CONFIG": str(manifest)}
    begin = time.monotonic()
    try:
        process.run([TOOL, *question.argv], limits=Limits(question.deadline), log=log, env=env, what=f"validate at {log.stem}")
    except Hang as error:
        console.note(error.message)
    finally:
        for sentence in leftovers.sweep():  # of one that was ended in mid-work: its guest need not wait for the next start
            console.note(sentence)
    latest = manifest.parent / RUNS_FOLDER / "latest"
    return time.monotonic() - begin, latest.resolve() if latest.exists() else None


def run(session: Session, question: Question, *, good: str, bad: str, ask: Ask = validate_in) -> list[Trial]:
    """Find the first bad commit; returns the commits that were tried. Raises where there is none to be found."""
    repository, ends = _checked(session, question, good, bad)
    with session.record.stage("bisect") as stage, console.group("bisect"):
        count = repository.between(*ends)
        many = f"{count} commit{'s' if count > 1 else ''} may have broken {question.label}"
        console.line(f"{many}; about {2 + (count - 1).bit_length()} are built and tried")
        work = _Work(session, stage, repository, question, ask)
        work.end(ends[1], Word.BAD, "--bad", bad)
        work.end(ends[0], Word.GOOD, "--good", good)
        with repository.worktree(ends[1], files=False) as driver:
            search = Search(driver, *ends)
            try:
                while (found := search.found()) is None:
                    commit = search.next()
                    search.tell(commit, work.judge(commit).word)
            finally:
                log = session.record.run.file("bisect", "bisect.log")
                log.write_text(search.log())
                stage.evidence.append(session.record.run.evidence("log", log))
        work.show()
        _conclude(stage, work, found.commits)
    return work.trials


def _checked(session: Session, question: Question, good: str, bad: str) -> tuple[Repository, tuple[str, str]]:
    """The repository and both ends as commits; UsageError before anything is built where they cannot be ends."""
    if not (good and bad and question.suite):
        raise UsageError("bisect needs --good, --bad and --suite", hint="./inv bisect --good v1.0 --bad HEAD --suite smoke")
    if question.suite == ALL_SUITES or "," in question.suite:
        raise UsageError(f"--suite {question.suite}: a search asks one question of each commit", hint="name one suite")
    if question.repeat < 1:
        raise UsageError(f"--repeat {question.repeat}: expected at least 1")
    check_request(session, suite=question.suite, artifact=question.only)
    repository = Repository(session.manifest.root)
    ends = repository.commit(good), repository.commit(bad)
    if ends[0] == ends[1]:
        raise UsageError(f"--good {good} and --bad {bad} are the same commit, {ends[0][:_SHORT]}: nothing lies between them")
    if not repository.precedes(*ends):
        turned = " (it is the other way round)" if repository.precedes(ends[1], ends[0]) else ""
        raise UsageError(f"--good {good} is no ancestor of --bad {bad}{turned}", hint=f"git merge-base {good} {bad} is one of both")
    if session.revision.dirty:
        raise UsageError(
            "the tree differs from its commit, and bisect tries commits alone: what is not committed would not be looked at",
            hint="commit, stash or remove the changes ('git status' lists them)",
        )
    return repository, ends


class _Work:
    """Judges commits, and keeps what came of each where the record has it."""

    def __init__(self, session: Session, stage: Stage, repository: Repository, question: Question, ask: Ask) -> None:
        self.trials: list[Trial] = []
        self.folder = session.record.run
        self._session = session
        self._stage = stage
        self._repository = repository
        self._question = question
        self._ask = ask

    def end(self, commit: str, expected: Word, flag: str, name: str) -> None:
        """Judge an end of the search, which must be what it is said to be."""
        trial = self.judge(commit)
        if trial.word is Word.SKIP:
            raise errors.of(trial.verdict, f"{flag} {name} could not be judged: {trial.reason}", hint=f"read {trial.record}")
        if trial.word is not expected:
            raise UsageError(
                f"{flag} {name} is {trial.word.value}: {trial.reason}", hint=f"name another commit with {flag}, or another suite or test"
            )

    def judge(self, commit: str) -> Trial:
        """Build the commit and ask."""
        run, short = self.folder, commit[:_SHORT]
        subject = self._repository.subject(commit)
        console.line(f"{short} {subject}")
        log = run.file("bisect", f"{short}.log")
        kept = log.with_suffix("")
        with self._repository.worktree(commit) as place:
            manifest = place / self._repository.below / self._session.manifest.path.name
            if manifest.is_file():
                seconds, recorded = self._ask(manifest, self._question, log)
            else:
                log.write_text(f"the commit has no {manifest.name}\n")
                seconds, recorded = 0.0, None
            if recorded is not None:
                shutil.copytree(recorded, kept, symlinks=True)
        word, verdict, reason = judged(_read(kept / "record.json"), self._question) if recorded else _unrecorded(log)
        trial = Trial(commit, subject, word, verdict, reason, seconds, str((kept if recorded else log).relative_to(run.path)))
        self.trials.append(trial)
        self._stage.results["trials"] = plain(self.trials)
        console.verdict_line(_shown(trial), f"{short} is {word.value}: {reason}", seconds)
        return trial

    def show(self) -> None:
        """All commits that were tried, oldest first as far as the search knows."""
        rows = [[trial.word.value, _shown(trial), trial.short, trial.subject, trial.reason] for trial in self.trials]
        console.table(console.Table("", ("", "verdict", "commit", "subject", "why"), list(rows)))


def _shown(trial: Trial) -> Verdict:
    return Verdict.SKIP if trial.word is Word.SKIP else trial.verdict


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def _unrecorded(log: Path) -> tuple[Word, Verdict, str]:
    """A commit of which nothing was recorded: its manifest has a mistake, or there is none. The log's last word says which."""
    said = [line for line in log.read_text(errors="backslashreplace").splitlines() if line.strip()]
    return Word.SKIP, Verdict.USAGE, said[0] if said else "nothing was recorded, and nothing said"


def judged(record: Mapping[str, Any], question: Question) -> tuple[Word, Verdict, str]:
    """What a run's record says of its commit, and why.

    Bad is what the product did wrong in the suite, in the cases that were asked for where some were; a listed failure (`known`) of such a
    case, too: the list may be younger than the failure. Good is what was seen to pass. All else is skipped: a commit that cannot be built
    or does not verify, a machine that failed, a case that did not run.
    """
    suites = [suite for stage in record["stages"] for suite in stage["results"].get("suites", [])]
    if record["verdict"] in (Verdict.RUNNING.value, Verdict.INTERRUPTED.value):
        return Word.SKIP, Verdict.INFRA, "its run was ended in mid-work"
    if not suites:
        stage = next((each for each in record["stages"] if not Verdict(each["verdict"]).ok and each["required"]), None)
        reason = f"{stage['name']}: {stage['detail']}" if stage else record["detail"] or "the suite did not run"
        return Word.SKIP, Verdict(record["verdict"]), reason
    seen = _cases(suites, question.test) if question.test else [(s["artifact"], Verdict(s["verdict"]), s["detail"]) for s in suites]
    listed = (Verdict.KNOWN,) if question.test else ()
    wrong = [row for row in seen if row[1].blames or row[1] in listed]
    if wrong:
        return Word.BAD, wrong[0][1], f"{wrong[0][0]}: {wrong[0][2]}"
    unseen = [row for row in seen if not row[1].ok]
    if unseen or not seen:
        reason = f"{unseen[0][0]}: {unseen[0][2]}" if unseen else f"no case {question.test} ran; {suites[0]['detail']}"
        return Word.SKIP, unseen[0][1] if unseen else Verdict.SKIP, reason
    return Word.GOOD, Verdict.PASS, f"{len(seen)} {'case' if question.test else 'suite'}{'s' if len(seen) > 1 else ''} passed"


def _cases(suites: Sequence[Mapping[str, Any]], test: str) -> list[tuple[str, Verdict, str]]:
    """Of the cases that were asked for, by name, pattern or group: (where, verdict, detail), without what the product does not offer."""
    patterns = [pattern for name in test.split(",") if name for pattern in (name, f"{name}.*")]
    return [
        (f"{case['id']} on {suite['artifact']}", Verdict(case["verdict"]), case["detail"])
        for suite in suites
        for case in suite["cases"]
        if case["required"] and any(fnmatch.fnmatchcase(case["id"], pattern) for pattern in patterns)
    ]


def _conclude(stage: Stage, work: _Work, commits: Sequence[str]) -> None:
    """The first bad commit with its evidence; or, where commits beside it could not be judged, all that it may be."""
    skipped = [trial for trial in work.trials if trial.word is Word.SKIP]
    if len(commits) > 1:
        stage.results["candidates"] = list(commits)
        machine = all(trial.verdict in (Verdict.INFRA, Verdict.INTERRUPTED) for trial in skipped)
        names = ", ".join(commit[:_SHORT] for commit in commits)
        message = f"the first bad commit is one of {len(commits)}: {names}; the others of these could not be judged ({skipped[0].reason})"
        raise errors.of(Verdict.INFRA if machine else Verdict.FAIL, message, hint="the table above says why each was skipped")
    (first,) = [trial for trial in work.trials if trial.commit == commits[0]]
    stage.results["first_bad"] = {"commit": first.commit, "subject": first.subject, "record": first.record, "reason": first.reason}
    record = work.folder.path / first.record
    stage.evidence.append(work.folder.evidence("log", work.folder.path / "bisect" / f"{first.short}.log"))
    stage.evidence.append(work.folder.evidence("record", record / "record.json"))  # there is one: without it nothing is bad
    stage.checks.append(Check("bisect", "first bad commit", first.short, Verdict.PASS, f"{first.subject}: {first.reason}"))
    stage.detail = f"{first.short} {first.subject}: {first.reason}"
    console.line(f"first bad commit: {first.commit} {first.subject}")
    console.line(f"  {first.verdict}: {first.reason}")
    console.note(f"its run, with the evidence: {record}")
