# SPDX-License-Identifier: Apache-2.0
"""Work that is spread over machines: which cells there are, one of them, and all their records as one verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci import changes, console, errors, github
from ci.errors import UsageError
from ci.model import Case, Check, Evidence, SuiteResult, Verdict, worst
from ci.pipeline import artifacts, cells, person, reporting, validating
from ci.pipeline.cells import Cell
from ci.pipeline.session import Session
from ci.report import merge as merging
from ci.report.merge import Found, Outcome

SHARDS = "shards"  # where a merged run keeps the runs that it was made of


def matrix(session: Session, *, kernel: str, suite: str, shards: int, changed_since: str, fresh: bool) -> None:
    """Print the cells as JSON for `strategy.matrix`, and record them: the merge looks there for what must be."""
    console.send_to_stderr()
    todo = chosen(session, kernel=kernel, suite=suite, shards=shards, changed_since=changed_since, fresh=fresh)
    rows = [cell.facts() for cell in todo]
    text = json.dumps({"include": rows})
    github.output("cells", text)
    github.output("any", "true" if rows else "false")
    github.output("builds", json.dumps({"include": cells.builds(session.manifest, kernel)}))
    if not session.json:
        print(text)


def chosen(session: Session, *, kernel: str, suite: str, shards: int, changed_since: str, fresh: bool) -> list[Cell]:
    """The cells that are asked for and needed, recorded with those that are left out and why."""
    manifest = session.manifest
    todo = cells.cells(manifest, kernel=kernel, suite=suite, shards=shards, fresh=fresh)
    left_out: dict[str, str] = {}
    if changed_since:
        changed = changes.since(manifest.root, changed_since)
        todo, left_out = cells.needed(manifest, todo, changed)
    with session.record.stage(merging.MATRIX) as stage:
        rows = [cell.facts() for cell in todo]
        stage.results.update(cells=rows, left_out=left_out)
        stage.detail = f"{len(todo)} cells" + (f", {len(left_out)} left out: nothing they are made of changed" if left_out else "")
    for name, reason in left_out.items():
        console.verdict_line(Verdict.SKIP, f"{name}: {reason}")
    return todo


def validate(session: Session, name: str, *, beside: bool, require_kvm: bool, cold: bool, slots: int) -> None:
    """One cell: its suite in its kernel on its artifacts. The record says which cell it is before anything else.

    `beside`: whether the command line narrows it further, which would make it another thing than the matrix says.
    """
    if beside:
        raise UsageError("--cell says what runs; no other choice goes with it", hint=f"./inv validate --cell {name}")
    cell = cells.find(session.manifest, name)
    with session.record.stage(merging.CELL) as stage:
        stage.results.update(cell.facts())
        stage.detail = cell.name
    person.validate(
        session,
        suite=cell.suite,
        only=",".join(cell.artifacts),
        guest="",
        require_kvm=require_kvm,
        seed=cell.seed,
        kernel=cell.kernel,
        cold=cold,
        slots=slots,
    )


def merge(session: Session, places: str) -> None:
    """One record from those of the cells, with all their suites and evidence, and a verdict: a cell that is missing fails it."""
    join(session, merging.collect([Path(place) for place in places.split(",") if place]))


def join(session: Session, found: list[Found]) -> None:
    """The same of records that were found already."""
    outcomes = merging.outcomes(found)
    head = merging.matrix_of(found)
    used = [outcome.used for outcome in outcomes if outcome.used is not None]
    _artifacts(session, used)
    suites = _suites(session, used)
    with session.record.stage("merge") as stage, console.group("merge"):
        stage.results.update(commit=head.record["commit"], records=[each.record["id"] for each in found])
        stage.checks += [_check(outcome) for outcome in outcomes]
        stage.checks += _left_out(head)
        stage.checks.append(_alike(found))
        for check in stage.checks:
            console.verdict_line(check.verdict, f"{check.subject}: {check.detail}")
        required = [check.verdict for check in stage.checks if check.required]
        stage.verdict = worst(required) if outcomes else Verdict.PASS
        stage.detail = _tally(outcomes)
    if suites:
        with session.record.stage("validate") as stage:
            stage.results["suites"] = suites
            stage.verdict = worst([suite.verdict for suite in suites])
            stage.evidence += validating.for_other_programs(session.record.run, suites)
    bad = [outcome for outcome in outcomes if not outcome.verdict.ok]
    failure = errors.of(worst([o.verdict for o in bad]), f"{bad[0].cell}: {bad[0].detail}") if bad else None
    reporting.stage(session, failure)
    if failure is not None:
        raise failure


def _check(outcome: Outcome) -> Check:
    return Check("merge", "the cell ran", outcome.cell, outcome.verdict, outcome.detail)


def _left_out(head: Found) -> list[Check]:
    """What the matrix said is not needed: it did not run, and the record shows that."""
    stage = head.stage(merging.MATRIX)
    assert stage is not None
    rows: Mapping[str, str] = stage["results"]["left_out"]
    return [Check("merge", "left out", name, Verdict.SKIP, reason, required=False) for name, reason in rows.items()]


def _alike(found: list[Found]) -> Check:
    differing = merging.foreign_builds(found)
    detail = "; ".join(differing) or "each artifact has one sha256 on all machines"
    return Check("merge", "all machines built alike", "artifacts", Verdict.FAIL if differing else Verdict.PASS, detail, required=False)


def _tally(outcomes: list[Outcome]) -> str:
    good = sum(outcome.verdict.ok for outcome in outcomes)
    return f"{good} of {len(outcomes)} cells passed" if outcomes else "no cell was needed"


def _artifacts(session: Session, used: list[Found]) -> None:
    rows = {(row["name"], row["target"], row["sha256"]): row for each in used for row in each.record["artifacts"]}
    session.record.set_artifacts([artifacts.from_record(row) for row in rows.values()])


def _suites(session: Session, used: list[Found]) -> list[SuiteResult]:
    """All suites; the runs that they are from are copied into this one, so that their evidence goes with it."""
    suites = []
    for each in used:
        folder = session.record.run.file(SHARDS, each.record["id"])
        if each.folder != folder:
            shutil.copytree(each.folder, folder, symlinks=True)
        inside = folder.relative_to(session.record.run.path)
        suites += [_suite(row, inside) for row in each.suites]
    return suites


def _suite(row: Mapping[str, Any], inside: Path) -> SuiteResult:
    evidence = tuple(Evidence(item["kind"], str(inside / item["path"]), item["sha256"]) for item in row["evidence"])
    cases = tuple(Case(**{**case, "verdict": Verdict(case["verdict"])}) for case in row["cases"])
    facts = {**row, "verdict": Verdict(row["verdict"]), "cases": cases, "evidence": evidence}
    return SuiteResult(**facts)
