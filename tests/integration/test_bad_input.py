# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear sentence, the place, the way out, the right exit code, and nothing half-written in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import builds, tool

pytestmark = pytest.mark.integration

MODULE = """\
version: 1
project: bad
artifacts:
  module: {builder: kbuild, folder: kernel, module: demo, kernels: [k]}
kernels:
  k: {provider: apt, pattern: 6.1-cloud}
"""
TOOL = "version: 1\nproject: bad\nartifacts:\n  tool: {builder: make, folder: tool, output: tool}\n"


def run(root: Path, manifest: str, *words: str) -> tuple[int, str]:
    (root / "vexci.yaml").write_text(manifest)
    done = tool.inv(*(words or ("build",)), config=root / "vexci.yaml")
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_a_compiler_that_is_not_installed_stops_before_anything_is_built(tmp_path: Path) -> None:
    shutil.copytree(tool.ROOT / "tests/zoo/builds", tmp_path / "tool")
    code, said = run(tmp_path, TOOL.replace("output: tool}", "output: tool, toolchain: icc-1999}"))
    assert code == 2 and "the program 'icc-1999' is not installed" in said
    assert not (tmp_path / ".build").exists()


def test_a_rust_toolchain_that_is_not_installed_is_not_downloaded_in_passing(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    manifest = (
        "version: 1\nproject: bad\nartifacts:\n"
        "  d: {builder: cargo, folder: fuse, binary: demo_fuse, features: [fuse_support], toolchain: '1.12.3'}\n"
    )
    code, said = run(tmp_path, manifest)
    assert code == 2 and "the toolchain '1.12.3' cannot be used" in said and "rustup toolchain install 1.12.3" in said


def test_a_folder_that_does_not_exist_is_named_with_its_line(tmp_path: Path) -> None:
    code, said = run(tmp_path, TOOL)
    assert code == 2 and f"the folder {tmp_path}/tool does not exist" in said and "vexci.yaml:4" in said
    assert not (tmp_path / ".runs").exists()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("output: ../tool", "expected a path below the artifact's folder"),
        ("output: tool, work: nowhere", "the folder {root}/tool/nowhere does not exist"),
        ("output: tool, work: /etc", "expected a folder below 'folder:'"),
        ("output: tool, before: [configure]", "expected a list of commands, each a list of words"),
        (
            "output: tool, before: [[./configure, '{kernels}']]",
            "unknown placeholder in '{kernels}'; expected {folder} or {headers} or {kernel}",
        ),
        ("output: tool, target: Sparc Station", "expected a target triple such as"),
        ("output: tool, expect: fail", "reason: is missing"),
        ("output: tool, expect: pass, reason: x", "'pass' is not known"),
        ("output: tool, reason: x", "is given without 'expect: fail'"),
        ("output: tool, findings: {clippy: 0}", "is no static checker of the builder make"),
        ("output: tool, layouts: {x: {header: no.h, command: [a]}}", "the file {root}/no.h does not exist"),
        ("output: tool, goal: [all]", "unknown key; did you mean 'goals'?"),
    ],
)
def test_a_mistake_in_the_manifest_is_named_with_its_key_and_nothing_starts(tmp_path: Path, keys: str, says: str) -> None:
    from ci import config
    from ci.reader import ConfigError

    (tmp_path / "tool").mkdir()
    path = tmp_path / "vexci.yaml"
    path.write_text(TOOL.replace("output: tool", keys))
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    said = "\n".join(f"{p.line} {p.key}: {p.message}" for p in caught.value.problems)
    assert says.replace("{root}", str(tmp_path)) in said and said.startswith("4 artifacts.tool")


def test_headers_of_another_kernel_are_seen_in_the_module(tmp_path: Path) -> None:
    """The tree's Makefile takes what it likes: B8, exit 1."""
    other = Path("/lib/modules")
    builds.module(tmp_path)
    (tmp_path / "kernel/Kbuild").unlink()
    (tmp_path / "kernel/Makefile").write_text(f"obj-m := demo.o\nall:\n\t$(MAKE) -C {other}/0.0.0-none/build M=$(CURDIR) modules\n")
    code, said = run(tmp_path, MODULE.replace("kernels: [k]", "goals: [all], kernels: [k]"))
    assert code == 1 and "/lib/modules/0.0.0-none/build: No such file or directory" in said


@pytest.fixture
def read_only_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that nobody may write to, root included: a file system mounted read-only."""
    if os.getuid() != 0:
        pytest.skip("a read-only mount needs root")
    place = tmp_path / "cache"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "vexci-test", place], check=True, timeout=20)
    monkeypatch.setenv("VEXCI_CACHE", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=20)


def test_a_cache_that_cannot_be_written_is_the_machines_fault_with_the_way_out(tmp_path: Path, read_only_cache: Path) -> None:
    builds.module(tmp_path)
    code, said = run(tmp_path, MODULE)
    assert code == 3 and str(read_only_cache) in said and "cannot be written" in said and "set VEXCI_CACHE to a folder that can" in said
    assert list(read_only_cache.iterdir()) == []


@pytest.mark.parametrize("place", [".build", ".build/tool", ".build/tool/host", "cache"])
@pytest.mark.parametrize("link", [False, True])
def test_a_file_or_a_dangling_link_where_the_tool_keeps_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, link: bool
) -> None:
    shutil.copytree(tool.ROOT / "tests/zoo/builds", tmp_path / "tool")
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))
    there = tmp_path / place
    there.parent.mkdir(parents=True, exist_ok=True)
    if link:
        there.symlink_to("nowhere")
    else:
        there.touch()
    code, said = run(tmp_path, TOOL.replace("output: tool}", "output: tool, goals: [good]}"))
    assert code == 3 and f"{there} is no folder, and the tool keeps a folder there" in said and "move it away" in said


@pytest.mark.parametrize(
    ("goal", "says"), [("folder", "'output: tool' is a folder"), ("dangling", "is a link to nowhere, which does not exist")]
)
def test_an_output_that_is_no_file_exits_1_and_leaves_no_artifact(tmp_path: Path, goal: str, says: str) -> None:
    shutil.copytree(tool.ROOT / "tests/zoo/builds", tmp_path / "tool")
    code, said = run(tmp_path, TOOL.replace("output: tool}", f"output: tool, goals: [{goal}]}}"))
    assert code == 1 and says in said and "'output:' of tool in the manifest names the file that make writes" in said


def test_a_makefile_that_loops_exits_1_within_its_deadline(tmp_path: Path) -> None:
    shutil.copytree(tool.ROOT / "tests/zoo/builds", tmp_path / "tool")
    code, said = run(tmp_path, TOOL.replace("output: tool}", "output: tool, goals: [spins], deadline: 3}"))
    assert code == 1 and "did not end within 3 s and was killed" in said
