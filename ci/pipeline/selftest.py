# SPDX-License-Identifier: Apache-2.0
"""The project's own linters and tests: `./inv lint` and `./inv test`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ci import console, process
from ci.build.job import Job
from ci.errors import ProductFailure, UsageError
from ci.manifest import ArtifactSpec, Manifest
from ci.model import Check, Kind, Verdict
from ci.pipeline.session import Session
from ci.process import Limits

TEST_DEADLINE = 80 * 60.0
SOAK_DEADLINE = 12 * 3600.0
_PLACE = re.compile(r"[^\s:/][^\s:]*:\d+(:\d+)?: ")


@dataclass(frozen=True)
class Step:
    """One linter or test command: what it is called, its argv, where it runs."""

    name: str
    argv: tuple[str, ...]
    cwd: Path


def _python(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *words)


def _crates(manifest: Manifest) -> list[ArtifactSpec]:
    """One artifact for each crate: that with the most features, whose build covers the others' code."""
    found: dict[Path, ArtifactSpec] = {}
    for spec in manifest.artifacts:
        if spec.kind is Kind.DAEMON and len(spec.features) >= len(found.get(spec.folder, spec).features):
            found[spec.folder] = spec
    return list(found.values())


def _linters(manifest: Manifest) -> Iterator[Step]:
    root = manifest.root
    yield Step("ruff check", _python("ruff", "check", "--output-format=concise", "."), root)
    yield Step("ruff format", _python("ruff", "format", "--check", "."), root)
    yield Step("mypy --strict", _python("mypy"), root)
    for spec in _crates(manifest):
        flags = ("--all-targets", "--features", ",".join(spec.features), "--locked", "--", "-D", "warnings")
        yield Step(f"rustfmt {spec.name}", ("cargo", "fmt", "--check"), spec.folder)
        yield Step(f"clippy {spec.name}", ("cargo", "clippy", *flags), spec.folder)


def _rust_tests(manifest: Manifest) -> Iterator[Step]:
    for spec in _crates(manifest):
        features = ("--features", ",".join(spec.features)) if spec.features else ()
        yield Step(f"cargo test {spec.name}", ("cargo", "test", "--locked", *features), spec.folder)


def _run(session: Session, step: Step, checks: list[Check]) -> None:
    """Run one step; its whole output is evidence, and is shown where it fails."""
    log = session.record.run.file("test", step.name.replace(" ", "-") + ".log")
    with console.Progress() as progress, progress.item(step.name) as item:
        done = process.run(step.argv, limits=Limits(1800, silence=600), log=log, cwd=step.cwd, what=step.name)
        seconds = item.seconds
    verdict = Verdict.PASS if done.ok else Verdict.FAIL
    console.verdict_line(verdict, step.name, seconds)
    if not done.ok:
        for line in done.text().strip().splitlines()[-60:]:
            console.line("  " + line)
    checks.append(Check("lint", step.name, "project", verdict, done.how, (session.record.run.evidence("log", log),)))
    if not done.ok:
        _places_of(checks, step.name, [row for row in done.text().splitlines() if _PLACE.match(row)])


def _kernel_linters(session: Session, checks: list[Check]) -> None:
    """W=1, sparse and checkpatch over every module, for every kernel that is here; a warning is a failure."""
    from ci import build
    from ci.pipeline import artifacts

    with session.record.stage("build") as stage:
        specs = [spec for spec in session.manifest.artifacts if spec.kind is Kind.KERNEL_MODULE]
        todo = artifacts.jobs(session, stage, specs, "")
        for job in {each.spec.name: each for each in todo}.values():
            _finding(checks, f"checkpatch --strict, {job.spec.name}", _places(job, ["checkpatch"]))
        for job in todo:
            build.precheck(job)
            _finding(checks, f"W=1 and sparse, {job.label}", _places(job, ["compiler", "sparse"]))


def _places(job: Job, checkers: list[str]) -> list[str]:
    """What these checkers find, also from memory, as verify does."""
    from ci.build import analysis
    from ci.kernels import checkpatch

    looked = analysis.analyse(job, checkers, lambda: checkpatch.script(console.note))
    return [f"{message.place}: {message.text}" for each in looked for message in each.findings]


def _finding(checks: list[Check], name: str, places: list[str]) -> None:
    detail = "; ".join(places[:5]) or "no warning"
    check = Check("lint", name, "project", Verdict.FAIL if places else Verdict.PASS, detail)
    console.verdict_line(check.verdict, f"{name}: {detail}")
    checks.append(check)
    _places_of(checks, name, places)


def _places_of(checks: list[Check], name: str, rows: Iterable[str]) -> None:
    """Each place `file:line: text` as a check of its own beside the sum, which decides."""
    checks += [Check("lint", name, "project", Verdict.FAIL, row, required=False) for row in rows]


def lint(session: Session) -> None:
    """All linters; every one runs, then the failures decide."""
    with session.record.stage("lint") as stage:
        for step in _linters(session.manifest):
            _run(session, step, stage.checks)
        _kernel_linters(session, stage.checks)
        _decide(stage.checks)


def _decide(checks: list[Check]) -> None:
    failed = [check.name for check in checks if check.required and not check.verdict.ok]
    if failed:
        raise ProductFailure(f"failed: {', '.join(failed)}")


def run(session: Session, *, quick: bool, fresh: bool, soak: bool, only: str) -> None:
    """Linters, the daemon's own tests, then pytest, whose summary says what did not run and why."""
    from ci.pipeline import artifacts

    if soak and quick:
        raise UsageError("--soak and --quick exclude each other", hint="./inv test --soak")
    everything = not only and not soak
    if everything:
        lint(session)
    if not quick:
        artifacts.build(session)  # specimens are made from the real daemon
    with session.record.stage("test") as stage:
        if not quick and everything:
            for step in _rust_tests(session.manifest):
                _run(session, step, stage.checks)
        _pytest(session, stage.checks, choice=_choice(quick, soak, only))
        if fresh:
            root = session.manifest.root
            _run(session, Step("fresh machine", (sys.executable, "tests/fresh_machine.py"), root), stage.checks)
        else:
            console.note("not run: the fresh-machine proof (slow, needs root): ./inv test --fresh")
        if quick:
            console.note("not run: everything marked integration or zoo, and cargo test: ./inv test without --quick")
        if not soak:
            console.note("not run: the soak tests (hours): ./inv test --soak")
        _decide(stage.checks)


def _choice(quick: bool, soak: bool, only: str) -> list[str]:
    """pytest's words for which tests run. Soak tests measure and load the machine, so they run one at a time."""
    workers = 1 if soak else len(os.sched_getaffinity(0))
    words = [f"--numprocesses={workers}", "--dist=loadfile", "--no-loadscope-reorder"] if workers > 1 else []  # the order: conftest.py
    words += ["-m", "unit"] if quick else []
    words += ["--soak"] if soak else []
    return words + (["-k", only] if only else [])


def _pytest(session: Session, checks: list[Check], *, choice: list[str]) -> None:
    """pytest speaks to the terminal itself: a person wants to see it go on, CI its closing line."""
    junit = session.record.run.file("test", "junit.xml")
    argv = [*_python("pytest", f"--junit-xml={junit}", "-rs", "--durations=25", *choice)]
    limits = Limits(SOAK_DEADLINE if "--soak" in choice else TEST_DEADLINE)
    sys.stdout.flush()
    returncode = process.attached(argv, limits=limits, cwd=session.manifest.root, env=dict(os.environ))
    verdict = Verdict.PASS if returncode == 0 else Verdict.FAIL
    evidence = (session.record.run.evidence("junit", junit),) if junit.is_file() else ()
    detail = process.describe_returncode(returncode) + ("" if junit.is_file() else "; it left no results")
    checks.append(Check("test", "pytest", "project", verdict, detail, evidence))
