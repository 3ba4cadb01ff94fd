# SPDX-License-Identifier: Apache-2.0
"""A disk that fills up is the machine's fault, is said in words, and leaves nothing half-made (M6)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import builds, tool
from tests.integration.test_record import MANIFEST

pytestmark = [pytest.mark.integration, pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")]


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
