# SPDX-License-Identifier: Apache-2.0
"""What runs in guests: which artifacts, the stage deploy, and a benchmark's measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ci import bench as benchmarks
from ci import console
from ci import deploy as deployer
from ci.bench.system import System
from ci.errors import UsageError
from ci.manifest import ArtifactSpec, BenchmarkSpec
from ci.model import Artifact, Deployment, Kind, Series, Verdict
from ci.pipeline import artifacts
from ci.pipeline.matrix import Filter
from ci.pipeline.measuring import measuring
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.process import scratch_file
from ci.reader import nearest
from ci.record import plain
from ci.validate import plan
from ci.vm.disks import Disk
from ci.vm.machine import Machine

ALL_SUITES = "all"


def for_guest(session: Session, kernel: str) -> list[tuple[ArtifactSpec, Artifact]]:
    """The built artifacts that a guest with this kernel of vexci.yaml can run; of several variants of one, the first that was built."""
    fitting: dict[str, Artifact] = {}
    for artifact in artifacts.present(session):
        if artifact.kernel in (None, kernel):
            fitting.setdefault(artifact.name, artifact)
    return [(session.manifest.artifact(a.name).built_as(a.feature_set), a) for a in fitting.values()]


def ensure_built(session: Session, kernel: str, features: str = "") -> None:
    """Build and verify for guests with this kernel (or several, a,b), unless this invocation has done so already."""
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


def check_request(session: Session, *, suite: str = "", artifact: str = "", benchmark: str = "") -> None:
    """Refuse names that the manifest does not have, before anything is built or started."""
    manifest = session.manifest
    references = [name for item in manifest.suites for name in item.references]
    asked = (
        *(("suite", name, [*(item.name for item in manifest.suites), ALL_SUITES]) for name in suite.split(",")),
        *(("artifact", name, [*(item.name for item in manifest.artifacts), *references]) for name in artifact.split(",")),
        ("benchmark", benchmark, [item.name for item in manifest.benchmarks]),
    )
    for what, name, known in asked:
        if name and name not in known:
            raise UsageError(f"the {what} '{name}' is not defined{nearest(name, known)}")


def tools(pool: Pool) -> list[tuple[ArtifactSpec, Artifact]]:
    """What is not mounted itself, but needed to make the volumes of what is: mkfs."""
    return [(spec, artifact) for spec, artifact in for_guest(pool.session, pool.spec.kernel) if not spec.mount]


def furnish(pool: Pool, ready: Sequence[Artifact]) -> None:
    """Start the guest, and put into it what every suite needs of what is `ready`: the agent, and the tools."""
    plan.install_agent(pool.guest())
    for artifact in ready:
        if not pool.session.manifest.artifact(artifact.name).mount:
            bring(pool, artifact)


def bring(pool: Pool, artifact: Artifact) -> None:
    """Deploy one that has just been built, where the guest can run it."""
    if artifact.kernel in (None, pool.spec.kernel):
        spec = pool.session.manifest.artifact(artifact.name).built_as(artifact.feature_set)
        once(pool, spec, artifact)


def once(pool: Pool, spec: ArtifactSpec, artifact: Artifact) -> None:
    """Deploy it to the pool's guest. What is no module stays there as it is; a module may have been unloaded since the last time."""
    if artifact.kind is Kind.KERNEL_MODULE or pool.first(f"{artifact.name} {artifact.sha256}"):
        deployer.deploy(pool.guest(), spec, artifact)


def deploy_tools(pool: Pool) -> None:
    """Every tool is in the pool's guest, each once."""
    for spec, artifact in tools(pool):
        once(pool, spec, artifact)


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
    deploy_tools(pool)
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
    with measuring(spec.name) as say:
        return benchmarks.run(machine, spec, systems, run=pool.session.record.run, progress=say, conditions=conditions)
