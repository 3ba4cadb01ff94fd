# SPDX-License-Identifier: Apache-2.0
"""The stages deploy, validate and bench, in a guest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ci import bench as benchmarks
from ci import console, errors
from ci import deploy as deployer
from ci import validate as suites
from ci.bench.system import System
from ci.errors import UsageError
from ci.manifest import ArtifactSpec, BenchmarkSpec, KernelSpec, SuiteSpec
from ci.model import Accelerator, Artifact, Deployment, Evidence, Series, SuiteResult, Verdict, worst
from ci.pipeline import artifacts
from ci.pipeline.lives import PoolLives
from ci.pipeline.matrix import Filter
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.pipeline.slots import distribute
from ci.process import scratch_file
from ci.reader import nearest
from ci.record import plain
from ci.report import cases as cases_of
from ci.store import RunFolder, atomic_write
from ci.validate.power import run_power
from ci.vm.disks import Disk
from ci.vm.machine import Machine

# The suite whose guests are destroyed and started again; all others run in the pool's own guest.
POWER = "power"
ALL_SUITES = "all"


@dataclass(frozen=True)
class Item:
    """A suite on one subject: a built artifact, or (without one) the file system of the guest's kernel that `subject` names."""

    suite: SuiteSpec
    subject: str
    artifact: tuple[ArtifactSpec, Artifact] | None

    @property
    def label(self) -> str:
        """The suite and its subject for a person."""
        return f"{self.suite.name} on {self.artifact[1].label if self.artifact else f'{self.subject} (reference)'}"


def for_guest(session: Session, kernel: str) -> list[tuple[ArtifactSpec, Artifact]]:
    """The built artifacts that a guest with this kernel of vexci.yaml can run; of several variants of one, the first that was built."""
    fitting: dict[str, Artifact] = {}
    for artifact in artifacts.present(session):
        if artifact.kernel in (None, kernel):
            fitting.setdefault(artifact.name, artifact)
    return [(session.manifest.artifact(a.name).built_as(a.feature_set), a) for a in fitting.values()]


def ensure_built(session: Session, kernel: str, features: str = "") -> None:
    """Build and verify for this guest, unless this invocation has done so already."""
    if session.artifacts is None:
        artifacts.build(session, Filter(kernel=kernel, features=features))
        artifacts.verify(session)


def deploy(pool: Pool) -> list[Deployment]:
    """The stage deploy: every fitting artifact is in the guest, and what runs is what was built."""
    session = pool.session
    machine = pool.guest()
    with session.record.stage("deploy") as stage, console.group("deploy"):
        done = []
        for spec, artifact in for_guest(session, pool.spec.kernel):
            deployment = deployer.deploy(machine, spec, artifact, say=console.note)
            done.append(deployment)
            console.verdict_line(Verdict.PASS, f"{artifact.label} runs as built: {deployment.running_id}")
        stage.results["deployments"] = plain(done)
        stage.detail = f"{len(done)} artifacts in {machine.name}"
    return done


def validate(
    pool: Pool, *, suite: str = "", only: str = "", cases: tuple[str, ...] = (), options: tuple[tuple[str, str], ...] = ()
) -> list[SuiteResult]:
    """The stage validate: every chosen suite on every artifact that it names; a damaged guest is replaced in between.

    `cases` are the only ones to run, whatever the suite's minimum; `options` are settings in place of the manifest's.
    """
    session = pool.session
    todo = [replace(item, suite=_with(item.suite, cases, options)) for item in _suites(pool, suite, only)]
    pool.guest()
    with session.record.stage("validate") as stage, console.group("validate"):
        results: list[SuiteResult] = []
        stage.results["suites"] = results
        stage.results["slots"] = min(pool.slots, len(todo))

        def one(own: Pool, item: Item) -> None:
            result = _run_suite(own, item, cases)
            results.append(result)
            _show_suite(session.record.run, result)
            if result.verdict in (Verdict.PANIC, Verdict.HANG, Verdict.INFRA):
                own.discard()

        try:
            distribute(pool, todo, one)
        finally:
            stage.evidence += _for_other_programs(session.record.run, results)
        verdict = worst([result.verdict for result in results])
        bad = [result for result in results if not result.verdict.ok]
        stage.detail = f"{len(results) - len(bad)} of {len(results)} suites passed"
        if bad:
            raise errors.of(verdict, f"{bad[0].suite} on {bad[0].artifact}: {bad[0].detail}")
    return results


def _for_other_programs(run: RunFolder, results: list[SuiteResult]) -> list[Evidence]:
    """The cases that ran so far, as JUnit XML and KTAP."""
    written = []
    for kind, name, text in (("junit", "junit.xml", cases_of.junit(results)), ("ktap", "results.ktap", cases_of.ktap(results))):
        path = run.file("validate", name)
        atomic_write(path, text)
        written.append(run.evidence(kind, path))
    return written


def check_request(session: Session, *, suite: str = "", artifact: str = "", benchmark: str = "") -> None:
    """Refuse names that the manifest does not have, before anything is built or started."""
    manifest = session.manifest
    known_suites = [item.name for item in manifest.suites]
    asked = (
        *(("suite", name, [*known_suites, ALL_SUITES]) for name in suite.split(",")),
        ("artifact", artifact, [item.name for item in manifest.artifacts] + [name for item in manifest.suites for name in item.references]),
        ("benchmark", benchmark, [item.name for item in manifest.benchmarks]),
    )
    for what, name, known in asked:
        if name and name not in known:
            raise UsageError(f"the {what} '{name}' is not defined{nearest(name, known)}")


def _is_asked_for(suite: SuiteSpec, asked: str) -> bool:
    """`asked` names suites (a,b), is `all`, or is empty for those that are not on request."""
    return asked == ALL_SUITES or (suite.name in asked.split(",") if asked else not suite.on_request)


def _suites(pool: Pool, suite: str, only: str) -> list[Item]:
    built = {spec.name: (spec, artifact) for spec, artifact in for_guest(pool.session, pool.spec.kernel)}
    todo = []
    for chosen in pool.session.manifest.suites:
        for name in chosen.artifacts if _is_asked_for(chosen, suite) else ():
            if only and name != only:
                continue
            if name not in built:
                raise UsageError(f"{name} was not built for the kernel {pool.spec.kernel}", hint=f"list it under artifacts.{name}.kernels")
            todo.append(Item(chosen, name, built[name]))
            if chosen.name in suites.TOGETHER:  # one run for all of its artifacts
                break
        if _is_asked_for(chosen, suite):
            todo += [Item(chosen, name, None) for name in chosen.references if only in ("", name)]
    if not todo:
        raise UsageError("there is no suite to run", hint="define one under 'suites:' in vexci.yaml")
    return todo


def _with(suite: SuiteSpec, cases: tuple[str, ...], options: tuple[tuple[str, str], ...]) -> SuiteSpec:
    """The suite as it was asked for; `deadline` among the options is the suite's own."""
    settings = {**dict(suite.options), **dict(options)}
    try:
        deadline = float(settings.pop("deadline", suite.deadline))
    except ValueError as error:
        raise UsageError(f"--options: the deadline is no number of seconds: {error}") from error
    minimum = min(suite.minimum, len(cases)) if cases else suite.minimum
    return replace(suite, minimum=minimum, deadline=deadline, options=tuple(settings.items()))


def _run_suite(pool: Pool, item: Item, cases: tuple[str, ...]) -> SuiteResult:
    suite = _in_time(item.suite, pool.session.manifest.kernel(pool.spec.kernel), pool.guest().accelerator)
    if suite.name == POWER and item.artifact:
        return _run_power(pool, suite, *item.artifact, cases)
    fresh = pool.guest()
    for tool_spec, tool in _tools(pool):  # a no-op where they are there; a replaced guest is empty
        deployer.deploy(fresh, tool_spec, tool)
    if suite.name in suites.TOGETHER:
        return _run_together(pool, suite)
    run = pool.session.record.run
    if item.artifact:
        deployer.deploy(fresh, *item.artifact)
    with console.Progress() as progress, progress.item(item.label) as shown:
        if item.artifact:
            return suites.run_suite(fresh, suite, *item.artifact, run=run, progress=shown.say, only=cases)
        return suites.run_reference(fresh, suite, item.subject, run=run, progress=shown.say, only=cases)


def _in_time(suite: SuiteSpec, kernel: KernelSpec, accelerator: Accelerator) -> SuiteSpec:
    """The suite with the deadlines that it has in such a guest: a kernel with checkers in it is slower, hardware is faster."""
    times = kernel.patience * accelerator.patience
    return replace(suite, deadline=suite.deadline * times, operation_deadline=suite.operation_deadline * times)


def _run_power(pool: Pool, suite: SuiteSpec, spec: ArtifactSpec, artifact: Artifact, cases: tuple[str, ...]) -> SuiteResult:
    lies = bool(dict(suite.options).get("lying_disk"))
    what = [*_tools(pool), (spec, artifact)]
    kernel = pool.guest().kernel
    pool.discard()  # the guests with the disk need its memory
    with console.Progress() as progress, progress.item(f"{suite.name} on {artifact.label}") as item:
        return run_power(
            suite,
            spec,
            artifact,
            lives=lambda: PoolLives(pool, what, lies=lies),
            kernel=kernel,
            run=pool.session.record.run,
            progress=item.say,
            only=cases,
        )


def _run_together(pool: Pool, suite: SuiteSpec) -> SuiteResult:
    """A suite that compares its artifacts with each other: all of them in one guest at the same time."""
    machine = pool.guest()
    subjects = [item for item in for_guest(pool.session, pool.spec.kernel) if item[0].name in suite.artifacts]
    for spec, artifact in subjects:
        deployer.deploy(machine, spec, artifact)
    with console.Progress() as progress, progress.item(suite.name) as item:
        return suites.run_together(machine, suite, subjects, run=pool.session.record.run, progress=item.say)


def _tools(pool: Pool) -> list[tuple[ArtifactSpec, Artifact]]:
    """What is not mounted itself, but needed to make the volumes of what is: mkfs."""
    return [(spec, artifact) for spec, artifact in for_guest(pool.session, pool.spec.kernel) if not spec.mount]


def _show_suite(run: RunFolder, result: SuiteResult) -> None:
    for item in result.evidence:
        if item.kind == "diagnosis" and item.path.endswith("/index.txt"):  # of a hang: what was gathered comes first
            console.line((run.path / item.path).read_text())
    passed = sum(1 for case in result.cases if case.verdict.ok)
    absent = sum(1 for case in result.cases if case.ok and not case.verdict.ok)
    text = f"{result.suite} on {result.artifact} [{result.kernel}]: {passed} of {len(result.cases)} cases passed"
    console.verdict_line(result.verdict, text + (f", {absent} not offered" if absent else ""), result.seconds)
    for case in result.cases:
        if not case.ok:
            console.verdict_line(case.verdict, f"  {case.id}: {case.detail}", case.seconds)
    if not result.verdict.ok:
        console.error(result.detail, verdict=result.verdict)
        for item in result.evidence:
            console.note(f"  see {item.kind}: {item.path}")


def measure(pool: Pool, spec: BenchmarkSpec, *, control: bool = False) -> list[Series]:
    """All systems of one benchmark in the guest, in turn; a system that failed has its reason."""
    if spec.backing == "device":
        return _measure_on_device(pool, spec, control=control)
    return _measure_in(pool, spec, control=control)


def _measure_on_device(pool: Pool, spec: BenchmarkSpec, *, control: bool) -> list[Series]:
    """In a guest of its own, which has a disk that all systems use in turn."""
    path = scratch_file(f"bench-{spec.name}.raw")
    with open(path, "wb") as file:
        file.truncate(spec.size << 20)
    own = pool.with_disk(Disk(path, "writeback"), f"bench-{spec.name}")
    try:
        return _measure_in(own, spec, control=control, on_device=True)
    finally:
        own.discard()
        path.unlink()


def _measure_in(pool: Pool, spec: BenchmarkSpec, *, control: bool, on_device: bool = False) -> list[Series]:
    built = {spec.name: (spec, artifact) for spec, artifact in for_guest(pool.session, pool.spec.kernel)}
    machine = pool.guest()
    times = machine.accelerator.patience
    spec = replace(spec, deadline=spec.deadline * times, silence=spec.silence * times)
    for tool_spec, tool in _tools(pool):
        deployer.deploy(machine, tool_spec, tool)
    systems = [_system(machine, name, built) for name in spec.systems]
    if on_device:
        systems = [benchmarks.on_device(system, machine.disk(0)) for system in systems]
    if control:
        systems.append(benchmarks.slowed(systems[0]))
        spec = replace(spec, systems=tuple(system.name for system in systems))
    return _measure(pool, machine, spec, systems)


def _system(machine: Machine, name: str, built: dict[str, tuple[ArtifactSpec, Artifact]]) -> System:
    if name not in built:
        return benchmarks.reference(name)
    spec, artifact = built[name]
    deployment = deployer.deploy(machine, spec, artifact)  # loads a module again that a suite has unloaded
    return benchmarks.of_artifact(spec, artifact, deployment.guest_path)


def _measure(pool: Pool, machine: Machine, spec: BenchmarkSpec, systems: list[System]) -> list[Series]:
    conditions = {
        "machine": f"{pool.spec.cpus} CPUs, {pool.spec.memory} MiB",
        "kernel": machine.kernel,
        "accelerator": machine.accelerator.name,
    }
    with console.Progress() as progress, progress.item(f"benchmark {spec.name}") as item:
        return benchmarks.run(machine, spec, systems, run=pool.session.record.run, progress=item.say, conditions=conditions)
