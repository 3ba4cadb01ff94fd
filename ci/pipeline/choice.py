# SPDX-License-Identifier: Apache-2.0
"""What the stage validate runs: suites, each on its subjects, each in guests with the kernels that it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ci import settings
from ci import validate as suites
from ci.errors import UsageError
from ci.manifest import ArtifactSpec, Manifest, SuiteSpec
from ci.model import Artifact
from ci.pipeline.guests import ALL_SUITES, for_guest
from ci.pipeline.session import Session
from ci.validate import adapters


@dataclass(frozen=True)
class Request:
    """What a command line asks for. `kernel` is the only one to run on (empty: those that each suite names, `machine_kernel` where it
    names none); `cases` are the only ones, whatever the suite's minimum; `options` are settings in place of the manifest's."""

    suite: str = ""
    only: str = ""
    cases: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    kernel: str = ""


@dataclass(frozen=True)
class Item:
    """A suite on one subject in a guest with this kernel of vexci.yaml. The subject is a built artifact, or (without one) the file
    system of the guest's kernel that `subject` names."""

    suite: SuiteSpec
    kernel: str
    subject: str
    artifact: tuple[ArtifactSpec, Artifact] | None
    number: int = 0  # its place in the run

    @property
    def label(self) -> str:
        """The suite, its subject and the kernel for a person."""
        what = self.artifact[1].label if self.artifact else f"{self.subject} (reference)"
        return f"{self.suite.name} on {what}" + (f" in {self.kernel}" if self.artifact is None or self.artifact[1].kernel is None else "")


def is_asked_for(suite: SuiteSpec, asked: str) -> bool:
    """`asked` names suites (a,b), is `all`, or is empty for those that are not on request."""
    return asked == ALL_SUITES or (suite.name in asked.split(",") if asked else not suite.on_request)


def check(manifest: Manifest, request: Request) -> None:
    """UsageError where a chosen suite's options or kernels cannot be, or nothing is left to run, before anything is built."""
    chosen = _chosen(manifest, request)
    if request.only and chosen and not any(_subjects(suite, request) for suite in chosen):
        names = ", ".join(suite.name for suite in chosen)
        raise UsageError(f"{names} is not for {request.only}", hint="'artifacts:' of a suite in vexci.yaml lists what it is for")
    if not chosen:
        raise UsageError("there is no suite to run", hint="./inv validate --suite NAME, or define one under 'suites:' in vexci.yaml")
    wanted = {name for suite in chosen for name in _kernels(suite, request, "")}
    for name in (spec.name for spec in manifest.kernels if spec.name in wanted):
        if manifest.kernel(name).provider == "host":
            raise UsageError(f"the kernel '{name}' can be built for, but not booted", hint="name a kernel of another provider")
    for suite in chosen:
        spec = _with(suite, request)
        if wrong := settings.problems(spec.name, spec.options):
            option, words = wrong[0]
            raise UsageError(f"--options {option}={dict(spec.options)[option]}: {words}", hint="docs/validate.md says which there are")
        adapters.check(spec, manifest.root)


def left_out(manifest: Manifest, request: Request) -> dict[str, str]:
    """Suites that `all` does without, because there is no checkout of them, each with how to get one. By its name it would be a `skip`."""
    if request.suite != ALL_SUITES:
        return {}
    return {suite.name: why for suite in manifest.suites if (why := adapters.missing(suite, manifest.root))}


def kernels(manifest: Manifest, request: Request, machine_kernel: str) -> list[str]:
    """The kernels of all chosen suites, each once: modules are built for them before a guest is started."""
    chosen = _chosen(manifest, request)
    found = [name for suite in chosen for name in _kernels(suite, request, machine_kernel)]
    return list(dict.fromkeys(found)) or [machine_kernel]


def items(session: Session, request: Request, machine_kernel: str) -> list[Item]:
    """What is to run, in the manifest's order; UsageError where something asked for was not built, or nothing is asked for."""
    chosen = _chosen(session.manifest, request)
    found = [item for suite in chosen for item in _of(session, suite, request, machine_kernel)]
    if not found:
        raise UsageError("there is no suite to run", hint="define one under 'suites:' in vexci.yaml")
    return found


def _chosen(manifest: Manifest, request: Request) -> list[SuiteSpec]:
    """The suites asked for; one with parts stands for these on its own kernels."""
    found = []
    without = left_out(manifest, request)
    for suite in manifest.suites:
        if is_asked_for(suite, request.suite) and suite.name not in without:
            parts = [replace(part, kernels=suite.kernels) for part in manifest.suites if part.name in suite.parts]
            found += parts if suite.parts else [suite]
    return found


def _kernels(suite: SuiteSpec, request: Request, machine_kernel: str) -> tuple[str, ...]:
    return (request.kernel,) if request.kernel else suite.kernels or (machine_kernel,)


def _of(session: Session, suite: SuiteSpec, request: Request, machine_kernel: str) -> Iterator[Item]:
    spec = _with(suite, request)
    for kernel in _kernels(suite, request, machine_kernel):
        built = {artifact_spec.name: (artifact_spec, artifact) for artifact_spec, artifact in for_guest(session, kernel)}
        for name in _subjects(suite, request):
            if name in suite.references:
                yield Item(spec, kernel, name, None)
                continue
            if name not in built:
                raise UsageError(f"{name} was not built for the kernel {kernel}", hint=f"list it under artifacts.{name}.kernels")
            yield Item(spec, kernel, name, built[name])


def _subjects(suite: SuiteSpec, request: Request) -> list[str]:
    """The artifacts and references of the suite that are asked for; of a suite that has one run for all of its artifacts the first."""
    artifacts, references = (
        [name for name in names if not request.only or name in request.only.split(",")] for names in (suite.artifacts, suite.references)
    )
    return [*(artifacts[:1] if suite.name in suites.TOGETHER else artifacts), *references]


def _with(suite: SuiteSpec, request: Request) -> SuiteSpec:
    """The suite as it was asked for; `deadline` among the options is the suite's own."""
    given = {**dict(suite.options), **dict(request.options)}
    text = given.pop(settings.DEADLINE, None)
    deadline = suite.deadline if text is None else settings.seconds(text)
    if deadline is None:
        raise UsageError(f"--options: the deadline '{text}' is no number of seconds above 0")
    minimum = min(suite.minimum, len(request.cases)) if request.cases else suite.minimum
    return replace(suite, minimum=minimum, deadline=deadline, options=tuple(given.items()))
