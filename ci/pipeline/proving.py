# SPDX-License-Identifier: Apache-2.0
"""`./inv release.prove`: the packages of a release in a clean guest of each distribution, with the suites on what they installed."""

from __future__ import annotations

import lzma
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci import console, errors, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels import headers
from ci.manifest import ArtifactSpec, Manifest, SuiteSpec
from ci.model import Artifact, Kind, SuiteResult, Verdict, worst
from ci.pipeline import guests
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.pipeline.validating import for_other_programs, in_time
from ci.reader import nearest
from ci.record import Stage
from ci.release import definition, managers
from ci.release.definition import Packaging
from ci.release.managers import MANAGERS, Manager, Package
from ci.release.prove import Proof
from ci.validate import run_suite
from ci.vm.machine import Machine

_SECONDS = 60.0


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for: folders of releases, suites, machines and images of vexci.yaml (a,b), and the packages' format,
    empty for what the guest's own tools install."""

    folder: str
    previous: str = ""
    suite: str = "smoke"
    machine: str = ""
    image: str = ""
    format: str = ""


@dataclass(frozen=True)
class _Release:
    """The packages of one release and of the one before, in one format."""

    manager: Manager
    packages: Sequence[Package]
    previous: Sequence[Package]


def release(session: Session, wanted: Wanted, *, require_kvm: bool) -> None:
    """Prove the packages of a folder on every machine that packages.yaml names, or on those asked for."""
    packaging = definition.read(session.manifest)
    suites = _suites(session, wanted.suite)
    if wanted.format and wanted.format not in MANAGERS:
        raise UsageError(f"--format {wanted.format} is not known{nearest(wanted.format, list(MANAGERS))}")
    present = [kind for kind, manager in MANAGERS.items() if any(Path(wanted.folder).glob(f"*{manager.suffix}"))]
    _release(wanted, wanted.format or [*present, "deb"][0])  # what is wrong with the folders is said before a guest is started
    for name, image in places(session.manifest, packaging, machine=wanted.machine, image=wanted.image):
        with Pool(session, machine=name, image=image, cold=True, require_kvm=require_kvm) as pool:
            kind = wanted.format or managers.of_guest(lambda argv, pool=pool: pool.guest().run(argv, deadline=_SECONDS))  # type: ignore[misc]
            _prove(session, pool, packaging, _release(wanted, kind), suites)


def places(manifest: Manifest, packaging: Packaging, *, machine: str = "", image: str = "") -> list[tuple[str, str]]:
    """(machine, image) of each guest; the image is empty where it is the machine's own. An image that no machine has is booted in the first
    machine of packages.yaml."""
    if machine and image:
        raise UsageError("--machine and --image exclude each other", hint="a machine has an image")
    known = {spec.name: spec for spec in manifest.machines}
    names = machine.split(",") if machine else list(packaging.machines)
    for name in names:
        if name not in known:
            raise UsageError(f"the machine '{name}' is not defined{nearest(name, list(known))}")
    if not names:
        raise UsageError(f"{definition.FILE} names no machines", hint="'machines: [NAME]' there, or --machine NAME")
    if not image:
        return [(name, "") for name in names]
    images = [spec.name for spec in manifest.images]
    found = []
    for each in image.split(","):
        if each not in images:
            raise UsageError(f"the image '{each}' is not defined{nearest(each, images)}", hint="define it under 'images:' in vexci.yaml")
        owner = next((spec.name for spec in manifest.machines if spec.image == each), "")
        found.append((owner or names[0], "" if owner else each))
    return found


def _release(wanted: Wanted, kind: str) -> _Release:
    manager = MANAGERS[kind]
    previous = managers.packages(Path(wanted.previous), manager) if wanted.previous else []
    return _Release(manager, managers.packages(Path(wanted.folder), manager), previous)


def _suites(session: Session, names: str) -> list[SuiteSpec]:
    guests.check_request(session, suite=names)
    found = [spec for spec in session.manifest.suites if spec.name in names.split(",")]
    if not found:
        raise UsageError("no suite is named", hint="--suite smoke")
    return found


def _prove(session: Session, pool: Pool, packaging: Packaging, given: _Release, suites: Sequence[SuiteSpec]) -> None:
    machine = pool.guest()
    kernel = session.kernels[pool.spec.kernel]
    brought = headers.packages(session.manifest.kernel(pool.spec.kernel), kernel, say=console.note)
    with session.record.stage("prove") as stage, console.group("prove"):
        stage.results.update(
            machine=pool.spec.name,
            image=pool.spec.image,
            kernel=machine.kernel,
            packages={package.path.name: store.sha256_file(package.path) for package in (*given.packages, *given.previous)},
            headers=[path.name for path in brought],
        )
        proof = Proof(machine, given.manager, given.packages, given.previous, _module(session, packaging), console.note)
        try:
            proof.prepare(brought)
            proof.upgrade()
            proof.install()
            results = _run_suites(session, pool, machine, packaging, given, proof.module_path(), suites, stage)
            proof.remove()
        finally:
            stage.checks += proof.checks
            for check in proof.checks:
                console.verdict_line(check.verdict, f"{check.id} {check.name}: {check.detail}")
        bad = [result for result in results if not result.verdict.ok]
        where = f"{pool.spec.image}, kernel {machine.kernel}, {machine.accelerator.name}"
        stage.detail = f"{len(given.packages)} packages ({given.manager.suffix}) on {where}"
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
    given: _Release,
    module: str,
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
            path = module if spec.kind is Kind.KERNEL_MODULE else paths[name]
            artifact = _installed(session, machine, spec, path, given, begin)
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


def _installed(session: Session, machine: Machine, spec: ArtifactSpec, path: str, given: _Release, begin: float) -> Artifact:
    """What a package installed at that path of the guest. A module is taken out of the guest: DKMS has made it there."""
    module = spec.kind is Kind.KERNEL_MODULE
    if module:
        local = session.record.run.file("prove", machine.kernel, Path(spec.output).name)
        _taken(machine, path, local)
        digest, size = store.sha256_file(local), local.stat().st_size
    else:
        local, size = Path(path), 0
        digest = next(found for package in given.packages if (found := dict(given.manager.programs(package.path)).get(path)))
    revision = session.revision
    target = machine.kernel if module else "installed"
    common = (digest, size, spec.features, target, None, revision.commit, revision.dirty, "", begin, begin, 0, False, "")
    return Artifact(spec.name, spec.kind, local, *common)


def _taken(machine: Machine, path: str, local: Path) -> None:
    """Copy a module out of the guest, as it is without compression."""
    machine.get(path, local)
    if path.endswith(".xz"):
        local.write_bytes(lzma.decompress(local.read_bytes()))
    elif not path.endswith(".ko"):
        raise InfrastructureError(f"{path}: a module compressed so is not known")
