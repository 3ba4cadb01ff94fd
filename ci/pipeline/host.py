# SPDX-License-Identifier: Apache-2.0
"""Benchmarks on this machine (`place: host`): the artifacts as they were built, beside systems that guests do not have."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ci import bench as benchmarks
from ci import console, host, identity, leftovers
from ci.bench import available, datasets, extras
from ci.bench import systems as references
from ci.bench.host import INSIDE, Host
from ci.bench.jobs import Place
from ci.bench.system import IN_MEMORY, System, without_volume
from ci.bench.workloads import workload
from ci.errors import InfrastructureError, UsageError
from ci.manifest import ArtifactSpec, BenchmarkSpec
from ci.model import Artifact, Kind, Series
from ci.pipeline import artifacts
from ci.pipeline.measuring import measuring
from ci.pipeline.session import Session

WORK = "/var/tmp"  # on a disk, unlike /tmp on many systems


def measure(session: Session, spec: BenchmarkSpec, *, control: bool = False, servers: Mapping[str, str] | None = None) -> list[Series]:
    """All systems of one benchmark on this machine; what they leave behind is removed. `servers` are addresses of those that run."""
    built = {item.name: item for item in artifacts.present(session) if item.kind is Kind.DAEMON}
    systems = [_system(session, name, built, on_disk=spec.backing == "disk") for name in spec.systems]
    if control:
        systems.append(benchmarks.slowed(systems[0]))
        spec = replace(spec, systems=tuple(system.name for system in systems))
    available.require(spec, systems)
    given = servers or {}
    systems = [references.at(system, given[system.name]) if system.name in given else available.marked(system) for system in systems]
    work = Path(tempfile.mkdtemp(prefix="vexci-bench-", dir=WORK))
    try:
        with leftovers.entry("folder", work.name, {"path": str(work)}):
            place = _place(session, spec, systems, work)
            processor = host.facts().get("cpu", "unknown processor")
            conditions = {"machine": f"this host, {processor}", "accelerator": "none: no guest", "volumes": spec.backing}
            with measuring(spec.name) as say:
                run = session.record.run
                return benchmarks.run(Host(), spec, systems, run=run, progress=say, conditions=conditions, place=place)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _place(session: Session, spec: BenchmarkSpec, systems: list[System], work: Path) -> Place:
    root = session.manifest.root
    vectors = [workload(item) for item in spec.workloads if item.tool == "vectors"]
    # Not whatever 'python3' is on the PATH: the wrappers of version managers take half a second a start.
    python, spy = sys.executable, ""
    if vectors:
        python = extras.python(root, [system.engine for system in systems], console.note)
        beside = Path(python).with_name("py-spy")
        spy = str(beside) if beside.is_file() else ""
    data, missing = {}, {}
    for item in vectors:
        try:
            data[item.name] = datasets.path(item.options, root, python, console.note)
        except (UsageError, InfrastructureError) as error:
            if item.options["data"] not in datasets.REAL:
                raise
            missing[item.name] = f"{error.message}{f'; {error.hint}' if error.hint else ''}"
    payload, run = str(work / "bench.pyz"), str(work / "run")
    return Place(payload, run, python, data, missing, spy, tidy=True, inside=INSIDE, agent=sys.executable)


def _system(session: Session, name: str, built: dict[str, Artifact], *, on_disk: bool) -> System:
    chosen = name.removesuffix(IN_MEMORY)
    specs = {spec.name: spec for spec in session.manifest.artifacts}
    if chosen not in specs:
        return benchmarks.reference(name)
    if chosen not in built:
        raise UsageError(f"'{chosen}' cannot be measured on this machine: only daemons can, and it must have been built")
    artifact = built[chosen]
    spec: ArtifactSpec = specs[chosen].built_as(artifact.feature_set)
    system = benchmarks.of_artifact(_local(spec, built), artifact, str(artifact.path), on_disk=on_disk)
    return without_volume(spec, system) if name.endswith(IN_MEMORY) else system


def _local(spec: ArtifactSpec, built: dict[str, Artifact]) -> ArtifactSpec:
    """The commands name programs by where they lie in a guest; here they are what was built."""
    places = {identity.guest_path(item): str(item.path) for item in built.values()}
    return replace(spec, prepare=tuple(tuple(places.get(word, word) for word in command) for command in spec.prepare))
