# SPDX-License-Identifier: Apache-2.0
"""A disk that fills up is the machine's fault, is said in words, and leaves nothing half-made (M6)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import builds, tool
from tests.integration.test_record import MANIFEST

# Two of them make runs in this project, so they do not go beside others that do.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("project"),
    pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB with a project on it."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "vexci-test", place], check=True, timeout=20)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=20)


def fill(place: Path, *, leave: int) -> None:
    """Take all space of the disk but `leave` bytes."""
    space = os.statvfs(place)
    (place / "ballast").write_bytes(b"x" * (space.f_bavail * space.f_frsize - leave))


def test_a_build_on_a_full_disk_is_the_machines_fault_in_one_sentence(small_disk: Path) -> None:
    builds.crate(small_disk)
    (small_disk / "vexci.yaml").write_text(MANIFEST)
    fill(small_disk, leave=200_000)
    done = tool.inv("build", config=small_disk / "vexci.yaml")
    assert done.returncode == 3, done.stdout
    assert "the disk is full" in done.stdout and "Traceback" not in done.stdout
    assert "'./inv clean' removes what builds made" in done.stdout and "VEXCI_CACHE" not in done.stdout  # it is not the cache's disk
    assert kept(small_disk) == []


def kept(root: Path) -> list[str]:
    """The files in the tool's build folders, but for the locks, which hold nothing."""
    return [str(path.relative_to(root)) for path in (root / ".build").rglob("*") if path.is_file() and path.name != ".vexci-lock"]


MODULE = """\
version: 1
project: full
artifacts:
  module: {builder: kbuild, folder: kernel, module: demo, kernels: [k]}
  tool: {builder: make, folder: tool, output: tool, goals: [good]}
kernels:
  k: {provider: apt, pattern: 6.1-cloud}
"""


@pytest.mark.parametrize("leave", [24_000, 60_000, 300_000])
@pytest.mark.parametrize("only", ["module", "tool"])
def test_a_disk_that_is_full_in_the_middle_leaves_no_copy_no_stamp_and_no_output(small_disk: Path, only: str, leave: int) -> None:
    """First where the sources are copied, then where the stamp of the start is written, then where the compiler writes."""
    builds.module(small_disk)
    shutil.copytree(tool.ROOT / "tests/zoo/builds", small_disk / "tool")
    (small_disk / "kernel/demo.c").write_text(builds.MODULE_C + "".join(f"/* line {n} of many */\n" for n in range(1500)))
    (small_disk / "tool/tool.c").write_text((small_disk / "tool/tool.c").read_text() + "const char room[400000] = {1};\n")
    (small_disk / "vexci.yaml").write_text(MODULE)
    fill(small_disk, leave=leave)
    done = tool.inv("build", "--only", only, config=small_disk / "vexci.yaml")
    assert done.returncode == 3, done.stdout
    assert "the disk is full" in done.stdout and "Traceback" not in done.stdout
    assert kept(small_disk) == []
    (small_disk / "ballast").unlink()
    again = tool.inv("build", "--only", only, config=small_disk / "vexci.yaml")
    assert again.returncode in (0, 3), again.stdout  # there may be too little room for a whole build; what was built is whole
    assert again.returncode == 0 or kept(small_disk) == []


def test_a_run_that_cannot_even_begin_its_record_says_so(small_disk: Path) -> None:
    builds.crate(small_disk)
    (small_disk / "vexci.yaml").write_text(MANIFEST)
    fill(small_disk, leave=0)
    done = tool.inv("build", config=small_disk / "vexci.yaml")
    assert done.returncode == 3, done.stdout
    assert "the disk is full" in done.stdout and "Traceback" not in done.stdout
    assert list((small_disk / ".runs").glob("*/record.json")) == []


def test_a_cache_that_cannot_hold_a_kernel_stays_whole(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_CACHE", str(small_disk / "cache"))
    done = tool.inv("build", "--only", "vexfs-kernel", "--kernel", "debian-6.1")
    assert done.returncode == 3, done.stdout
    assert "disk is full" in done.stdout and "VEXCI_CACHE" in done.stdout
    kernels = small_disk / "cache" / "kernels"
    assert [path for path in kernels.glob("*") if path.name != "resolved"] == []


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_CACHE", str(small_disk))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True, timeout=20)
    done = tool.inv("build", "--only", "vexfs-kernel", "--kernel", "debian-6.1")
    assert done.returncode == 3, done.stdout
    assert "cannot be written: Read-only file system" in done.stdout and "VEXCI_CACHE" in done.stdout and "Traceback" not in done.stdout
    assert list(small_disk.iterdir()) == []
