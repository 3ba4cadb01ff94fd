# SPDX-License-Identifier: Apache-2.0
"""What a machine lacks is said before anything is measured, with the way out; a yardstick that is missing is a skip with its reason."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci import config
from ci.bench import available, reference, run
from ci.bench.host import Host
from ci.bench.system import System
from ci.errors import InfrastructureError, UsageError
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Verdict
from ci.store import RunFolder
from tests.zoo.bench_host import place

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
FIO = WorkloadSpec("write", "fio", (("rw", "write"), ("bs", "4k"), ("size", "1m")))
METADATA = WorkloadSpec("metadata", "metadata", (("files", "10"),))
DAEMON = System("d", "fuse.d", ("d", "{mountpoint}"), foreground=True)


def spec(*systems: str, workload: WorkloadSpec = METADATA) -> BenchmarkSpec:
    return BenchmarkSpec("files", systems, (workload,), 5, 10, 10)


def test_without_fio_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs fio") as refused:
        available.require(spec("d", workload=FIO), [DAEMON], path=str(tmp_path))
    assert refused.value.hint == "apt-get install fio"


def test_without_the_device_no_daemon_is_started(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="is not there") as refused:
        available.require(spec("d"), [DAEMON], fuse=tmp_path / "fuse")
    assert "modprobe fuse" in refused.value.hint
    available.require(spec("numpy"), [reference("numpy")], fuse=tmp_path / "fuse")


def test_a_yardstick_whose_program_is_missing_has_the_reason_and_the_way_out(tmp_path: Path) -> None:
    found = available.marked(reference("fuse2fs"), path=str(tmp_path))
    assert "'fuse2fs' is not installed; apt-get install fuse2fs" in found.absent
    assert available.marked(reference("ext4"), path=str(tmp_path)).absent == ""


def test_a_system_that_is_absent_is_skipped_with_its_reason_and_never_started(tmp_path: Path) -> None:
    absent = replace(reference("tmpfs"), name="other", absent="it is not installed; apt-get install it")
    broken = replace(reference("tmpfs"), name="broken", mount=("false",))
    found = run(Host(), spec("broken", "other"), (broken, absent), run=RunFolder(tmp_path), progress=print, place=place(tmp_path))
    assert {(item.system, item.verdict) for item in found} == {("broken", Verdict.FAIL), ("other", Verdict.SKIP)}
    assert {item.failure for item in found if item.system == "other"} == {absent.absent}
    assert not list(tmp_path.rglob("*-other-*"))


def test_where_every_system_is_absent_the_benchmark_is_no_success(tmp_path: Path) -> None:
    absent = replace(reference("tmpfs"), absent="it is not installed")
    with pytest.raises(InfrastructureError, match="nothing of the benchmark 'files' can be measured: tmpfs: it is not installed"):
        run(Host(), spec("tmpfs"), (absent,), run=RunFolder(tmp_path), progress=print, place=place(tmp_path))


def test_the_baseline_of_the_daemon_is_one_benchmark_of_files_and_vectors_on_this_machine() -> None:
    found = {item.name: item for item in config.read(ROOT / "vexci.yaml").benchmarks}["baseline"]
    assert (found.place, found.backing, found.on_request) == ("host", "disk", True)
    assert found.systems == ("vexfs-fuse",)
    assert {item.tool for item in found.workloads} >= {"fio", "metadata", "tree", "vectors"}
    assert all(item.quick for item in found.workloads)


def test_the_competitors_are_asked_for_made_vectors_of_each_size_and_for_the_large_set_with_and_without_neighbourhoods() -> None:
    found = {item.name: item for item in config.read(ROOT / "vexci.yaml").benchmarks}["competitors"]
    asked = {tuple(dict(item.options).get(key, "") for key in ("data", "count", "dimension")) for item in found.workloads}
    sizes = {("1000", "384"), ("5000", "768"), ("10000", "1536"), ("10000", "128"), ("100000", "128")}
    assert asked >= {("gaussian", *size) for size in sizes} | {("clustered", "100000", "128"), ("glove", "100000", "50")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_device_that_may_not_be_opened_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    device = tmp_path / "fuse"
    device.touch(mode=0)
    with pytest.raises(InfrastructureError, match="may not be opened"):
        available.require(spec("d"), [DAEMON], fuse=device)
