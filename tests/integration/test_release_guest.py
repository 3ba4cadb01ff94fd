# SPDX-License-Identifier: Apache-2.0
"""Packages of this project in a clean guest: installed, upgraded, tried and removed by the distribution's own tools."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ci import config
from ci.release import definition, package, sources
from ci.release.package import Contents
from tests import tool

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600), pytest.mark.xdist_group("project")]

TIME = 1_780_000_000


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """The programs of this tree, built by the tool."""
    done = tool.inv("build", "--only", "vexfs-fuse,vexfs-mkfs,vexfs-fsck,vexfs-dump", "--json", deadline=1200, stderr=-1)
    assert done.returncode == 0, done.stderr
    return {row["name"]: Path(row["path"]) for row in json.loads(done.stdout)["artifacts"]}


def made(programs: dict[str, Path], folder: Path, version: str, **replaced: str) -> Path:
    """The packages of one version in `folder`/release; `replaced` are texts of the module's files, `dkms_conf` for dkms.conf."""
    manifest = config.read(tool.ROOT / "vexci.yaml")
    packaging = definition.read(manifest)
    names = [name.removeprefix("kernel/") for name in sources.files(tool.ROOT, "kernel") if not name.startswith("kernel/.")]
    module, release = folder / "module", folder / "release"
    for name in names:
        (module / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tool.ROOT / "kernel" / name, module / name)
    # The module says its version itself, too: that of another release is another file, with another srcversion.
    for name in ("dkms.conf", "vexfs.h"):
        text = (module / name).read_text()
        assert f'"{manifest.release}"' in text
        (module / name).write_text(text.replace(f'"{manifest.release}"', f'"{version}"'))
    for name, text in replaced.items():
        file = module / name.replace("_c", ".c")
        file.write_text(text + file.read_text())
    contents = Contents(tool.ROOT, version, TIME, programs, {"vexfs-kernel": (module, names)}, {"vexfs-kernel": "vexfs"}, ["One change"])
    release.mkdir()
    for spec in packaging.packages:
        for kind in definition.FORMATS:
            package.build(packaging, spec, kind, contents, work=folder / f"work-{spec.name}-{kind}", target=release)
    return release


def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tool.ROOT / ".runs/latest/record.json").read_text())
    return found


# The machine packages-rpm is a Debian whose rpm and dnf know what its packages provide: see docs/releasing.md for what that does not prove.
@pytest.mark.parametrize(("machine", "kind"), [("packages", "deb"), ("packages-13", "deb"), ("packages-rpm", "rpm")])
def test_installed_upgraded_tried_and_removed_without_a_trace(programs: dict[str, Path], tmp_path: Path, machine: str, kind: str) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old = made(programs, tmp_path / "old", "0.0.9")
    new = made(programs, tmp_path / "new", "0.1.0")
    done = tool.inv("release.prove", str(new), "--previous", str(old), "--machine", machine, "--format", kind, deadline=3000)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    stage = next(stage for stage in record()["stages"] if stage["name"] == "prove")
    assert {check["id"] for check in stage["checks"]} >= {"R6", "R7", "R8", "R9", "R10", "R11"}
    assert all(check["verdict"] == "pass" for check in stage["checks"])
    loaded = {check["id"]: check["detail"] for check in stage["checks"] if "the module loads" in check["name"]}
    assert loaded["R8"] != loaded["R9"], "each release loads a module of its own"
    suites = {suite["artifact"]: suite for suite in stage["results"]["suites"]}
    assert set(suites) == {"vexfs-kernel", "vexfs-fuse"}
    assert all(suite["verdict"] == "pass" and len(suite["cases"]) >= suite["minimum"] for suite in suites.values())


def test_sources_that_do_not_compile_are_seen(programs: dict[str, Path], tmp_path: Path) -> None:
    broken = made(programs, tmp_path, "0.1.0", super_c="#error this release was never built\n")
    done = tool.inv("release.prove", str(broken), "--machine", "packages", deadline=1500)
    assert done.returncode == 1, done.stdout
    stage = next(stage for stage in record()["stages"] if stage["name"] == "prove")
    failed = [check for check in stage["checks"] if check["verdict"] == "fail"]
    assert [check["id"] for check in failed] in (["R6"], ["R7"]), stage["checks"]
