# SPDX-License-Identifier: Apache-2.0
"""Two builds of one tree that differ are found, with the sections and the texts that differ (V10)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ci import packages
from ci.verify import same
from tests import builds, recordschema, tool

pytestmark = pytest.mark.zoo

PLACE = Path(__file__).with_name("builds")
MANIFEST = """\
version: 1
project: twice
artifacts:
  good: {builder: make, folder: tool, output: tool, goals: [good]}
  stamped: {builder: make, folder: tool, output: tool, goals: [stamped]}
  placed: {builder: make, folder: tool, output: tool, goals: [placed]}
  crate: {builder: cargo, folder: fuse, binary: demo_fuse, features: [fuse_support]}
  fingerprint: {builder: cargo, folder: print, binary: demo_fuse, features: [fuse_support]}
  module: {builder: kbuild, folder: kernel, module: demo, kernels: [k]}
  dated: {builder: kbuild, folder: dated, module: demo, kernels: [k]}
kernels:
  k: {provider: apt, pattern: 6.1-cloud}
"""
BUILD_RS = """\
fn main() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    println!("cargo:rustc-env=BUILT_AT={}", now.as_nanos());
}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tree with an artifact for each way to be reproducible or not."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PLACE, root / "tool")
    builds.crate(root)
    shutil.copytree(root / "fuse", root / "print")
    (root / "print/build.rs").write_text(BUILD_RS)
    source = root / "print/src/main.rs"
    source.write_text(source.read_text().replace('println!("Usage: demo_fuse")', 'println!("Usage: demo_fuse {}", env!("BUILT_AT"))'))
    builds.module(root)
    shutil.copytree(root / "kernel", root / "dated")
    (root / "dated/Kbuild").write_text('obj-m := demo.o\nccflags-y += -DBUILT=\\"$(shell date +%s%N)\\"\n')
    (root / "dated/demo.c").write_text(builds.MODULE_C + "MODULE_INFO(built, BUILT);\n")
    (root / "vexci.yaml").write_text(MANIFEST)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / ".gitignore").write_text(".build/\n.runs/\ntarget/\n")
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"], cwd=root, check=True)
    return root


def twice(project: Path, only: str) -> tuple[int, str, list[dict[str, Any]], Path]:
    done = tool.inv("build", "--only", only, "--twice", config=project / "vexci.yaml")
    record = recordschema.latest(project)
    stages = {stage["name"]: stage for stage in record["stages"]}
    return done.returncode, done.stdout, stages["twice"]["checks"], project / ".runs" / record["id"]


@pytest.mark.parametrize("only", ["good", "crate", "module"])
def test_what_does_not_depend_on_place_and_time_is_the_same_everywhere(project: Path, only: str) -> None:
    code, said, checks, _ = twice(project, only)
    assert code == 0, said
    assert [(check["id"], check["verdict"]) for check in checks] == [("V10", "pass"), ("V10", "pass")], said
    assert not (project / ".build/twice").exists()


@pytest.mark.parametrize(
    ("only", "section", "cause"),
    [
        ("stamped", ".rodata", "a time, a random number or an order"),
        ("placed", ".rodata", "the path of the build folder is in it"),
        ("fingerprint", ".rodata", "a time, a random number or an order"),
        ("dated", ".modinfo", "a time, a random number or an order"),
    ],
)
def test_what_differs_fails_with_its_section_its_cause_and_both_files(project: Path, only: str, section: str, cause: str) -> None:
    code, said, checks, run = twice(project, only)
    assert code == 1 and len(checks) == 1, said
    (check,) = checks
    assert check["id"] == "V10" and check["verdict"] == "fail"
    assert section in check["detail"] and cause in check["detail"], check["detail"]
    kept = {item["kind"]: run / item["path"] for item in check["evidence"]}
    assert f"{section}:" in kept["differences"].read_text() and "only in the first:" in kept["differences"].read_text()
    assert kept["build"].is_file()


def test_files_that_are_no_elf_are_compared_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"the same beginning, then 1")
    (tmp_path / "two").write_bytes(b"the same beginning, then 2")
    names, report = same.differences(tmp_path / "one", tmp_path / "two")
    assert names == ["the file"] and "1 differ, the first at 0x19" in report


@pytest.mark.skipif(packages.which("diffoscope") is None, reason="diffoscope is not installed")
def test_diffoscope_is_asked_where_it_is_installed(project: Path) -> None:
    _, _, checks, run = twice(project, "stamped")
    kept = {item["kind"]: run / item["path"] for item in checks[0]["evidence"]}
    assert "readelf" in kept["diffoscope"].read_text()
