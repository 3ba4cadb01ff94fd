# SPDX-License-Identifier: Apache-2.0
"""`./inv release.prove`: the packages of a release in a clean guest of each distribution, with the suites on what they installed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ci import console, errors, store
from ci.errors import UsageError
from ci.kernels import headers
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Kind, SuiteResult, Verdict, worst
from ci.pipeline import guests
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.pipeline.validating import for_other_programs, in_time
from ci.reader import nearest
from ci.record import Stage
from ci.release import definition, prove
from ci.release.definition import Packaging
from ci.release.prove import Deb, Proof
from ci.validate import run_suite
from ci.vm.machine import Machine

_DKMS = "/usr/lib/modules/{release}/updates/dkms/{file}"


def release(session: Session, folder: str, *, previous: str, suite: str, machine: str, require_kvm: bool) -> None:
    """Prove the .deb of `folder` on every machine that packages.yaml names, or on those of `machine` (a,b)."""
    manifest = session.manifest
    packaging = definition.read(manifest)
    suites = _suites(session, suite)
    names = machine.split(",") if machine else list(packaging.machines)
    for name in names:
        if name not in [spec.name for spec in manifest.machines]:
            raise UsageError(f"the machine '{name}' is not defined{nearest(name, [spec.name for spec in manifest.machines])}")
    if not names:
        raise UsageError(f"{definition.FILE} names no machines", hint="'machines: [NAME]' there, or --machine NAME")
    debs, old = prove.packages(Path(folder)), prove.packages(Path(previous)) if previous else []
    for name in names:
        with Pool(session, machine=name, cold=True, require_kvm=require_kvm) as pool:
            _prove(session, pool, packaging, debs, old, suites)


def _suites(session: Session, names: str) -> list[SuiteSpec]:
    guests.check_request(session, suite=names)
    found = [spec for spec in session.manifest.suites if spec.name in names.split(",")]
    if not found:
        raise UsageError("no suite is named", hint="--suite smoke")
    return found


def _prove(
    session: Session, pool: Pool, packaging: Packaging, debs: Sequence[Deb], previous: Sequence[Deb], suites: Sequence[SuiteSpec]
) -> None:
    machine = pool.guest()
    kernel = session.kernels[pool.spec.kernel]
    brought = headers.packages(session.manifest.kernel(pool.spec.kernel), kernel, say=console.note)
    with session.record.stage("prove") as stage, console.group("prove"):
        stage.results.update(
            machine=pool.spec.name,
            kernel=machine.kernel,
            packages={deb.path.name: store.sha256_file(deb.path) for deb in (*debs, *previous)},
            headers=[path.name for path in brought],
        )
        proof = Proof(machine, debs, previous, _module(session, packaging), console.note)
        try:
            proof.prepare(brought)
            proof.upgrade()
            proof.install()
            results = _run_suites(session, pool, machine, packaging, debs, suites, stage)
            proof.remove()
        finally:
            stage.checks += proof.checks
            for check in proof.checks:
                console.verdict_line(check.verdict, f"{check.id} {check.name}: {check.detail}")
        bad = [result for result in results if not result.verdict.ok]
        stage.detail = f"{len(debs)} packages on {pool.spec.name}, kernel {machine.kernel}, {machine.accelerator.name}"
        if bad:
            raise errors.of(worst([result.verdict for result in bad]), f"{bad[0].suite} on {bad[0].artifact}: {bad[0].detail}")


def _paths(packaging: Packaging) -> dict[str, str]:
    """Where the packages put each artifact that is a program."""
    return {artifact: path for package in packaging.packages for artifact, path in package.binaries}


def _module(session: Session, packaging: Packaging) -> ArtifactSpec:
    """The module that a package holds, with the installed programs in its commands; UsageError where no package has one."""
    specs = [session.manifest.artifact(package.module) for package in packaging.packages if package.module]
    if len(specs) != 1:
        raise UsageError(f"{definition.FILE} has {len(specs)} packages with a module, expected one")
    return through_packages(specs[0], _paths(packaging))


def _run_suites(
    session: Session,
    pool: Pool,
    machine: Machine,
    packaging: Packaging,
    debs: Sequence[Deb],
    suites: Sequence[SuiteSpec],
    stage: Stage,
) -> list[SuiteResult]:
    """Every suite on every artifact that was installed, through the installed programs alone."""
    results: list[SuiteResult] = []
    stage.results["suites"] = results
    paths = _paths(packaging)
    begin = time.time()
    for suite in suites:
        timed = in_time(suite, session.manifest.kernel(pool.spec.kernel), machine.accelerator)
        for name in suite.artifacts:
            spec = through_packages(session.manifest.artifact(name), paths)
            artifact, path = _installed(session, machine, spec, paths, debs, begin)
            result = run_suite(machine, timed, spec, artifact, run=session.record.run, progress=console.note, path=path)
            results.append(result)
            passed = sum(case.verdict.ok for case in result.cases)
            text = f"{suite.name} on {name} as installed [{machine.kernel}]: {passed} of {len(result.cases)} cases passed"
            console.verdict_line(result.verdict, text, result.seconds)
            if result.verdict in (Verdict.PANIC, Verdict.HANG):
                break
    stage.evidence += for_other_programs(session.record.run, results)
    return results


def through_packages(spec: ArtifactSpec, paths: Mapping[str, str]) -> ArtifactSpec:
    """The artifact with the programs of its commands where packages put them; UsageError where no package has one of them."""

    def word(text: str) -> str:
        if not text.startswith("/opt/vexci/"):
            return text
        name = text.split("/")[3]
        if name not in paths:
            raise UsageError(f"artifacts.{spec.name} needs {text}, which no package of {definition.FILE} has")
        return paths[name]

    def filled(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(word, words))

    return replace(
        spec, prepare=tuple(map(filled, spec.prepare)), check=filled(spec.check), repair=filled(spec.repair), mount=filled(spec.mount)
    )


def _installed(
    session: Session, machine: Machine, spec: ArtifactSpec, paths: Mapping[str, str], debs: Sequence[Deb], begin: float
) -> tuple[Artifact, str]:
    """What a package installed, and where. A module is taken out of the guest: DKMS has made it there."""
    module = spec.kind is Kind.KERNEL_MODULE
    if module:
        path = _DKMS.format(release=machine.kernel, file=Path(spec.output).name)
        local = session.record.run.file("prove", Path(spec.output).name)
        machine.get(path, local)
        digest, size = store.sha256_file(local), local.stat().st_size
    else:
        path = paths[spec.name]
        local, size = Path(path), 0
        digest = next(found for deb in debs if (found := prove.program_sha256(deb.path, path)))
    revision = session.revision
    target = machine.kernel if module else "installed"
    common = (digest, size, spec.features, target, None, revision.commit, revision.dirty, "", begin, begin, 0, False, "")
    return Artifact(spec.name, spec.kind, local, *common), path
