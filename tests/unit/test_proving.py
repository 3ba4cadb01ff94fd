# SPDX-License-Identifier: Apache-2.0
"""What is decided before a guest starts that proves packages. The guest itself is in integration/test_release_guest.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ci import config
from ci.errors import UsageError
from ci.kernels import headers
from ci.manifest import Manifest
from ci.model import KernelTarget
from ci.pipeline import proving
from ci.reader import ConfigError
from ci.release import definition, prove

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return config.read(PROJECT / "vexci.yaml")


def test_a_folder_without_packages_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no"):
        prove.packages(tmp_path)


def test_suites_run_through_the_installed_programs_alone(manifest: Manifest) -> None:
    packaging = definition.read(manifest)
    paths = {artifact: path for package in packaging.packages for artifact, path in package.binaries}
    for name in ("vexfs-kernel", "vexfs-fuse"):
        spec = proving.through_packages(manifest.artifact(name), paths)
        words = [word for command in (*spec.prepare, spec.check, spec.repair) for word in command]
        assert "/usr/sbin/mkfs.vexfs" in words and "/usr/sbin/fsck.vexfs" in words
        assert not [word for word in words if "/opt/vexci" in word]


def test_a_program_that_no_package_has_is_named(manifest: Manifest) -> None:
    with pytest.raises(UsageError, match="mkfs_vexfs, which no package"):
        proving.through_packages(manifest.artifact("vexfs-kernel"), {})


def test_a_kernel_that_is_no_package_has_no_headers_to_bring(manifest: Manifest) -> None:
    target = KernelTarget("debug", "6.12", "x86_64", "", "source", Path("/"), origin="linux-source-6.12 6.12.1-1")
    with pytest.raises(UsageError, match="does not come from packages"):
        headers.packages(manifest.kernel("debug"), target, say=print)


def test_a_machine_that_is_not_there_is_named(manifest: Manifest, tmp_path: Path) -> None:
    text = (PROJECT / definition.FILE).read_text().replace("machines: [packages]", "machines: [package]")
    (tmp_path / "packaging").mkdir()
    (tmp_path / definition.FILE).write_text(text)
    for name in ("dkms", "man", "examples", "lintian"):
        (tmp_path / "packaging" / name).symlink_to(PROJECT / "packaging" / name)
    with pytest.raises(ConfigError) as refused:
        definition.read(replace(manifest, root=tmp_path))
    (problem,) = (problem for problem in refused.value.problems if problem.key == "machines")
    assert "did you mean 'packages'" in problem.message
