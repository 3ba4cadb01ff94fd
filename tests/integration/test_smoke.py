# SPDX-License-Identifier: Apache-2.0
"""The project's own artifacts in a real guest: deployed as built, and through the whole smoke suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci import build, config, kernels, revision
from ci.build.job import Job
from ci.manifest import ArtifactSpec, Manifest, SuiteSpec
from ci.model import Artifact, Kind, Verdict
from ci.store import RunFolder
from tests.smokeguest import SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFEST = config.read(ROOT / "vexci.yaml")
SMOKE: SuiteSpec = next(suite for suite in MANIFEST.suites if suite.name == "smoke")


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return MANIFEST


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmokeGuest]:
    with SmokeGuest(tmp_path_factory.mktemp("guest")) as shared:
        yield shared


@pytest.fixture(scope="module", params=SMOKE.artifacts)
def product(request: pytest.FixtureRequest, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtifactSpec, Artifact]:
    """Each artifact of the suite, built from this tree for the guest's kernel."""
    return built(manifest, request.param, tmp_path_factory.mktemp("build"))


def built(manifest: Manifest, name: str, folder: Path, kernel_name: str = "") -> tuple[ArtifactSpec, Artifact]:
    """The artifact, built; a module for `kernel_name` of the manifest, or for the default machine's kernel."""
    spec = manifest.artifact(name)
    kernel = None
    if spec.kind is Kind.KERNEL_MODULE:
        kernel = kernels.resolve(manifest.kernel(kernel_name or manifest.machine("default").kernel), say=print)
    job = Job(spec, manifest.root, RunFolder(folder), revision.read(manifest.root), kernel)
    build.precheck(job)
    return spec, build.build(job)


def test_what_runs_in_the_guest_is_what_was_built(guest: SmokeGuest, product: tuple[ArtifactSpec, Artifact]) -> None:
    spec, artifact = product
    deployment = guest.deploy(spec, artifact)
    assert deployment.sha256 == artifact.sha256
    assert deployment.running_id == deployment.built_id != ""
    again: list[str] = []
    machine = guest.machine()
    from ci import deploy

    assert deploy.deploy(machine, spec, artifact, say=again.append) == deployment
    assert again == [f"{artifact.label}: the guest has these bytes already"]


def test_the_whole_smoke_suite_passes_and_leaves_the_guest_as_it_was(
    guest: SmokeGuest, product: tuple[ArtifactSpec, Artifact], manifest: Manifest, tmp_path: Path
) -> None:
    spec, artifact = product
    for tool in (item.name for item in manifest.artifacts if not item.mount):
        guest.deploy(*built(manifest, tool, tmp_path))  # mkfs, which makes the volumes
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, minimum=SMOKE.minimum, operation_deadline=SMOKE.operation_deadline)
    assert result.detail == f"{len(result.cases)} pass"
    assert result.verdict is Verdict.PASS
    assert {item.kind for item in result.evidence} >= {"transcript", "console", "kernel-log"}
    machine = guest.machine()
    assert "/mnt/vexci" not in machine.run(["cat", "/proc/mounts"], deadline=15).stdout
    assert machine.run(["pgrep", "-x", artifact.path.name[:15]], deadline=15).returncode == 1
    if spec.kind is Kind.KERNEL_MODULE:
        assert machine.run(["test", "-d", f"/sys/module/{artifact.path.stem}"], deadline=15).returncode == 0
