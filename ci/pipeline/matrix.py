# SPDX-License-Identifier: Apache-2.0
"""Artifacts x kernels x feature sets x toolchains: which cells are asked for, and building them at once.

Without a filter: every artifact in its default feature set, a module for each of its kernels that is not `on_request`, with
its first toolchain. A filter names one or more (`a,b`) or `all`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ci import build as builders
from ci import console, parallel, process
from ci.build import cargo
from ci.build.job import Job
from ci.errors import UsageError, VexciError
from ci.manifest import ArtifactSpec, Manifest
from ci.model import DEFAULT_SET, Artifact, KernelTarget, Kind, Verdict
from ci.pipeline import expected
from ci.reader import nearest

ALL = "all"


@dataclass(frozen=True)
class Filter:
    """What the command line asks for; an empty text is no filter. `daemons` leaves the modules out. `dev` builds
    with the profiles that are quick to compile again."""

    only: str = ""
    kernel: str = ""
    features: str = ""
    toolchain: str = ""
    daemons: bool = False
    dev: bool = False


@dataclass(frozen=True)
class Cell:
    """One thing to build: names of the manifest. `kernel` is None for a daemon, `toolchain` and `profile` are empty for the usual ones."""

    spec: ArtifactSpec
    kernel: str | None
    feature_set: str
    toolchain: str
    profile: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of a cell: the artifact, the error, or what the record says of a failure that was expected."""

    job: Job
    seconds: float
    artifact: Artifact | None = None
    error: VexciError | None = None
    known: dict[str, str] | None = None


def cells(manifest: Manifest, wanted: Filter) -> list[Cell]:
    """The cells that a filter asks for, default feature sets first. UsageError where it names what is not there, or nothing is left."""
    specs = [spec for spec in manifest.artifacts if _matches(wanted.only, spec.name, [s.name for s in manifest.artifacts], "artifact")]
    every_set = {name for spec in manifest.artifacts for name in spec.set_names}
    names(wanted.features, sorted(every_set), "feature set")
    every_kernel = [kernel.name for kernel in manifest.kernels]
    names(wanted.kernel, every_kernel, "kernel")
    every_toolchain = {name for spec in manifest.artifacts for name in spec.toolchains}
    names(wanted.toolchain, sorted(every_toolchain), "toolchain")
    found = []
    for spec in specs:
        if wanted.daemons and spec.kind is not Kind.DAEMON:
            continue
        for feature_set in _sets(spec, wanted.features):
            for toolchain in _toolchains(spec, wanted.toolchain):
                profile = spec.dev_profile if wanted.dev else ""
                found += [Cell(spec, kernel, feature_set, toolchain, profile) for kernel in _kernels(manifest, spec, wanted.kernel)]
    return sorted(found, key=lambda cell: (cell.feature_set != DEFAULT_SET, cell.toolchain != ""))


def names(given: str, known: Sequence[str], what: str) -> list[str]:
    """The names that a filter's text means."""
    if given == ALL:
        return list(known)
    names = [name for name in given.split(",") if name]
    if given and not names:
        raise UsageError(f"'{given}' names no {what}; expected one or more of: {', '.join([*known, ALL])}")
    for name in names:
        if name not in known:
            raise UsageError(f"the {what} '{name}' is not defined{nearest(name, [*known, ALL])}")
    return names


def _matches(given: str, name: str, known: Sequence[str], what: str) -> bool:
    return not given or name in names(given, known, what)


def _sets(spec: ArtifactSpec, given: str) -> list[str]:
    """An artifact that has none of the sets asked for is built as always: it may be needed beside those that have."""
    asked = spec.set_names if given == ALL else [name for name in given.split(",") if name in spec.set_names]
    return list(dict.fromkeys(asked)) or [DEFAULT_SET]


def _toolchains(spec: ArtifactSpec, given: str) -> list[str]:
    """Names for the cells; the artifact's first one is the usual one, and has none."""
    if not spec.toolchains or not given:
        return [""]
    asked = spec.toolchains if given == ALL else [name for name in given.split(",") if name]
    missing = [name for name in asked if name not in spec.toolchains]
    if missing:
        raise UsageError(
            f"{spec.name} is not built with {missing[0]}",
            hint=f"write 'toolchains: [{', '.join([*spec.toolchains, *missing])}]' in vexci.yaml",
        )
    return ["" if name == "gcc" else name for name in asked]


def _kernels(manifest: Manifest, spec: ArtifactSpec, given: str) -> list[str | None]:
    if spec.kind is Kind.DAEMON:
        return [None]
    if not given:
        return [name for name in spec.kernels if not manifest.kernel(name).on_request]
    return [name for name in spec.kernels if given == ALL or name in given.split(",")]


def possible(todo: Sequence[Job], wanted: Filter) -> list[Job]:
    """The jobs that can be built at all. One that was named and cannot be is a UsageError; of `all` it is left out, and said."""
    found = []
    for job in todo:
        try:
            builders.precheck(job)
        except UsageError as error:
            if wanted.toolchain != ALL or not job.toolchain:
                raise
            console.verdict_line(Verdict.SKIP, f"{job.label}: {error.message}")
            continue
        found.append(job)
    return found


def run(todo: Sequence[Job], finished: Callable[[Job, Artifact], str]) -> list[Answer]:
    """Build all of them, as many at once as there are processors; one that fails does not stop the others.

    `finished` is called for each artifact, and says how it is shown.

    What works in one target folder of cargo waits for each other there anyway, and so is one after the other here.
    """
    answers: dict[int, Answer] = {}
    groups: dict[object, list[int]] = {}
    for number, job in enumerate(todo):
        groups.setdefault(_place(job, number), []).append(number)
    with console.Progress() as progress, parallel.JobServer(process.cores()) as server:

        def work(numbers: list[int]) -> None:
            together = _together([todo[number] for number in numbers])
            for number in numbers:
                server.take()
                try:
                    with progress.item(todo[number].label) as item:
                        job = replace(todo[number], say=item.say, server=server, together=together)
                        answers[number] = _build(job, finished)
                finally:
                    server.give()

        # The longest first: modules are quick, crates are not.
        order = sorted(groups.values(), key=len, reverse=True)
        parallel.run([lambda numbers=numbers: work(numbers) for numbers in order], workers=process.cores())  # type: ignore[misc]
    return [answers[number] for number in sorted(answers)]


def _place(job: Job, number: int) -> object:
    return (job.spec.folder, cargo.target_folder(job)) if job.spec.builder == "cargo" else number


def _together(group: Sequence[Job]) -> tuple[str, ...]:
    """What one call of cargo makes: in ./inv dev all binaries of a crate; what ships is built as a person would, each for itself."""
    return tuple(job.spec.output for job in group) if len(group) > 1 and group[0].profile else ()


def _build(job: Job, finished: Callable[[Job, Artifact], str]) -> Answer:
    begin = time.monotonic()
    try:
        artifact = builders.build(job)
        shown = finished(job, artifact)
    except VexciError as error:
        seconds = time.monotonic() - begin
        excused = expected.known(job.spec, job.kernel.name if job.kernel else None, error)
        if excused is not None:
            console.verdict_line(Verdict.KNOWN, f"{job.label}: {excused['reason']} ({error.message})", seconds)
            return Answer(job, seconds, known=excused)
        console.verdict_line(error.verdict, f"{job.label}: {error.message}", seconds)
        return Answer(job, seconds, error=error)
    seconds = time.monotonic() - begin
    console.verdict_line(Verdict.PASS, shown, seconds)
    return Answer(job, seconds, artifact)


def table(answers: Sequence[Answer]) -> console.Table:
    """All cells with their verdicts, those that failed with the reason and the place."""
    rows: list[Sequence[str | Verdict]] = []
    for answer in answers:
        job = answer.job
        verdict, said = _outcome(answer)
        kernel = job.kernel.name if job.kernel else ""
        rows.append([verdict, job.spec.name, kernel, job.feature_set, job.toolchain or "usual", f"{answer.seconds:.1f} s", said])
    return console.Table("", ("verdict", "artifact", "kernel", "features", "toolchain", "time", "said"), rows)


def _outcome(answer: Answer) -> tuple[Verdict, str]:
    if answer.error:
        return answer.error.verdict, str(answer.error)
    if answer.known:
        return Verdict.KNOWN, answer.known["reason"]
    return Verdict.PASS, "unchanged" if answer.artifact and answer.artifact.reused else "built"


def targets(todo: Sequence[Cell], resolve: Callable[[str], KernelTarget | None]) -> list[tuple[Cell, KernelTarget | None]]:
    """Each cell with its kernel; without those whose optional kernel cannot be had."""
    found: list[tuple[Cell, KernelTarget | None]] = []
    for cell in todo:
        target = resolve(cell.kernel) if cell.kernel else None
        if cell.kernel is None or target is not None:
            found.append((cell, target))
    return found
