# SPDX-License-Identifier: Apache-2.0
"""The stages build and verify."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ci import build as builders
from ci import console, kernels
from ci import verify as checks
from ci.build.job import Job
from ci.errors import ProductFailure, UsageError
from ci.manifest import ArtifactSpec
from ci.model import DEFAULT_SET, Artifact, Check, KernelTarget, Kind, Verdict
from ci.pipeline import budget, depth, expected, matrix, provenance
from ci.pipeline import twice as reproducibility
from ci.pipeline.matrix import Filter
from ci.pipeline.session import Session
from ci.record import Stage
from ci.store import read_records
from ci.verify import explain as explanations
from ci.verify.subject import Subject

EVERYTHING = Filter()


def build(
    session: Session, wanted: Filter = EVERYTHING, *, twice: bool = False, made: Callable[[Artifact], None] = lambda _: None
) -> list[Artifact]:
    """Build the cells of the matrix that are asked for; one failure does not stop the others.

    With `twice` each is then built from nothing in two other folders, and must come out the same. `made` hears of each as soon as it
    is there, in any thread.
    """
    cells = matrix.cells(session.manifest, wanted)
    said: dict[str, Any] = {}
    for cell in cells:
        if cell.spec.kind is Kind.DAEMON:  # before anything is downloaded or begun: a missing feature is known at once
            builders.precheck(_cell_job(session, cell, None, said))
    with session.record.stage("build") as stage, console.group("build"):
        todo = matrix.possible(_jobs(session, stage, cells, said), wanted)

        def finished(job: Job, artifact: Artifact) -> str:
            made(artifact)
            if not job.profile:  # what never ships needs no papers
                provenance.write(session, stage, job, artifact)
            return _built(session, artifact)

        answers = matrix.run(todo, finished)
        built = [answer.artifact for answer in answers if answer.artifact]
        session.known += [answer.known for answer in answers if answer.known]
        failures = [(answer.job, answer.error) for answer in answers if answer.error]
        session.artifacts = built
        session.record.set_artifacts(built)
        stage.results["artifacts"] = [artifact.label for artifact in built]
        stage.results["failed"] = [{"job": job.label, "verdict": error.verdict.value, "detail": str(error)} for job, error in failures]
        stage.results["known"] = session.known
        if failures or wanted.features or wanted.toolchain:
            console.table(matrix.table(answers))
        if failures:
            raise failures[0][1]
        if not built and not session.known:
            raise UsageError("there is nothing to build", hint="name kernels for the modules in vexci.yaml")
        stage.detail = f"{len(built)} artifacts"
    if twice:
        reproducibility.check(session, todo, built)
    return built


def jobs(session: Session, stage: Stage, specs: list[ArtifactSpec], only_kernel: str) -> list[Job]:
    """The usual builds of these artifacts: a daemon once, a module for each of its kernels (or for `only_kernel`)."""
    return _jobs(session, stage, matrix.cells(session.manifest, Filter(",".join(spec.name for spec in specs), only_kernel)), {})


def _jobs(session: Session, stage: Stage, cells: list[matrix.Cell], answers: dict[str, Any]) -> list[Job]:
    return [_cell_job(session, *each, answers) for each in matrix.targets(cells, lambda name: resolve(session, name, stage))]


def _cell_job(session: Session, cell: matrix.Cell, kernel: KernelTarget | None, answers: dict[str, Any]) -> Job:
    made = job(session, cell.spec.built_as(cell.feature_set).with_profile(cell.profile), kernel)
    return replace(made, feature_set=cell.feature_set, toolchain=cell.toolchain, profile=cell.profile, answers=answers)


def job(session: Session, spec: ArtifactSpec, kernel: KernelTarget | None) -> Job:
    """The build of one artifact, for one kernel where it is a module."""
    return Job(spec, session.manifest.root, session.record.run, session.revision, kernel)


def resolve(session: Session, name: str, stage: Stage) -> KernelTarget | None:
    """The kernel of that name, resolved once; None where it is optional and not to be had, which the stage notes."""
    if name not in session.kernels:
        spec = session.manifest.kernel(name)
        try:
            session.kernels[name] = kernels.resolve(spec, say=console.note)
        except UsageError as error:
            if not spec.optional:
                raise
            skipped = stage.results.setdefault("skipped", [])
            skipped.append({"kernel": name, "reason": error.message})
            console.verdict_line(Verdict.SKIP, f"kernel {name} (optional): {error.message}")
            return None
    return session.kernels[name]


def _built(session: Session, artifact: Artifact) -> str:
    path = artifact.path
    shown = path.relative_to(session.manifest.root) if path.is_relative_to(session.manifest.root) else path
    warnings = f"{artifact.warnings} warning{'s' if artifact.warnings != 1 else ''}"
    return f"{artifact.label}  {shown}  {warnings}{', unchanged' if artifact.reused else ''}"


def present(session: Session) -> list[Artifact]:
    """The artifacts of this invocation, else those of the newest record that has any; what ./inv dev built in a hurry is none."""
    if session.artifacts is None:
        for record in reversed(read_records(session.manifest.root)):
            known = [row for stage in record["stages"] if stage["name"] == "build" for row in stage["results"].get("known", [])]
            rows = record["artifacts"]
            if (rows or known) and not any(row.get("profile") for row in rows):
                session.artifacts = [from_record(row) for row in rows]
                session.known = known
                break
        else:
            raise UsageError("nothing has been built here", hint="./inv build")
    return session.artifacts


def from_record(row: Mapping[str, object]) -> Artifact:
    """An artifact as a record has it."""
    values = dict(row)
    values["path"] = Path(str(row["path"]))
    values["kind"] = Kind(row["kind"])
    values["features"] = tuple(row["features"])  # type: ignore[arg-type]
    return Artifact(**values)  # type: ignore[arg-type]


def verify(session: Session, *, daemons: bool = False, only: Collection[str] = ()) -> list[Check]:
    """Check every artifact that was built, or `only` those of these names; all checks run, then the first failure decides. With
    `daemons` no module was asked for."""
    artifacts = present(session)
    with session.record.stage("verify") as stage, console.group("verify"):
        session.record.set_artifacts(artifacts)
        looked_at = [artifact for artifact in artifacts if not only or artifact.name in only]
        _verify_each(session, stage, looked_at)
        _completeness(session, stage, artifacts, daemons)
        stage.checks += budget.checks(session.manifest)
        _show(stage.checks)
        failed = [check for check in stage.checks if check.required and not check.verdict.ok]
        if failed:
            first = failed[0]
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise ProductFailure(f"{first.subject}: {first.id} {first.name}: {first.detail}{more}")
        stage.detail = f"{len(stage.checks)} checks of {len(looked_at)} artifacts"
    return stage.checks


def _verify_each(session: Session, stage: Stage, looked_at: list[Artifact]) -> None:
    """The checks of each, in the order of the artifacts; those come last to their turn whose static checkers may still be at work."""
    found: dict[str, list[Check]] = {}
    try:
        for artifact in sorted(looked_at, key=lambda each: bool(session.manifest.artifact(each.name).findings)):
            found[artifact.label] = verify_one(session, stage, artifact)
    finally:
        stage.checks += [check for artifact in looked_at for check in found.get(artifact.label, [])]


def look_ahead(session: Session, names: Collection[str]) -> None:
    """Have the static checkers look at crates as ./inv dev builds them, before they are built: the stage verify then has the answers."""
    for spec in session.manifest.artifacts:
        if spec.name in names and spec.builder == "cargo" and spec.findings:
            made = job(session, spec.built_as(DEFAULT_SET).with_profile(spec.dev_profile), None)
            depth.look(replace(made, profile=spec.dev_profile))


def verify_one(session: Session, stage: Stage, artifact: Artifact) -> list[Check]:
    """All checks of one artifact, judged as the manifest expects them."""
    own = session.manifest.artifact(artifact.name).built_as(artifact.feature_set)
    spec = own.with_profile(artifact.profile)
    kernel = resolve(session, artifact.kernel, stage) if artifact.kernel else None
    made = job(session, spec, kernel)
    made = replace(made, feature_set=artifact.feature_set, toolchain=artifact.toolchain, profile=artifact.profile)
    now = builders.inputs_hash(made, artifact) if artifact.path.is_file() else ""
    # In ./inv dev it may be built with features of its neighbours; it must show its own.
    asked = replace(spec, features=own.features)
    subject = Subject(artifact, asked, kernel, now, session.record.run, session.manifest.release, *(builders.place(made, artifact) or ()))
    return expected.judged(spec, artifact, [*checks.verify(subject), *depth.checks(session, subject, made)])


def explain(id: str) -> None:
    """Say what a check's id means; every id with its title for `list`. Raises UsageError for one that no check has."""
    if id == "list":
        console.table(console.Table("", ("id", "check"), [[each.id, each.title] for each in explanations.read().values()]))
        return
    found = explanations.find(id)
    console.line(f"{found.id}  {found.title}")
    for heading, text in (("Why", found.why), ("Observed", found.observed), ("To mend it", found.fix)):
        console.line("")
        for line in textwrap.wrap(f"{heading}: {text}", 100):
            console.line(line)


def _completeness(session: Session, stage: Stage, artifacts: list[Artifact], daemons: bool) -> None:
    """Every artifact of the manifest must be among what is verified: what was not built did not pass."""
    stage.checks += expected.missing(session.known)
    built = {artifact.name for artifact in artifacts} | {row["artifact"] for row in session.known}
    for spec in session.manifest.artifacts:
        if spec.name not in built and not (daemons and spec.kind is not Kind.DAEMON):
            stage.checks.append(Check("B1", "was built", spec.name, Verdict.FAIL, "the build made nothing for it; run './inv build'"))


def _show(found: list[Check]) -> None:
    shown = [c for c in found if c.required or c.verdict is not Verdict.KNOWN]  # each finding within its budget is in the record
    rows: list[list[str | Verdict]] = [[c.verdict, c.id, c.subject, c.name, c.detail] for c in shown]
    console.table(console.Table("", ("verdict", "id", "artifact", "check", "observed"), list(rows)))
