# SPDX-License-Identifier: Apache-2.0
"""The whole benchmark on real file systems of this host: numbers come from fio and from the loop, and a slower system shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ci.bench import comparisons, overhead, reference, run
from ci.bench.compare import Finding
from ci.bench.system import System
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Series, Verdict
from ci.store import RunFolder, sha256_file
from tests.zoo.bench_host import HostGuest, mounts_below, needs_fio, needs_root, place, run_folder

pytestmark = [pytest.mark.integration, needs_root, needs_fio]

WORKLOADS = (
    WorkloadSpec("sequential-write", "fio", (("rw", "write"), ("bs", "16k"), ("size", "16m"))),
    WorkloadSpec("metadata", "metadata", (("files", "150"),)),
)
# The control: the same ext4, told to wait for the disk at every single write.
SLOWED = replace(reference("ext4"), name="ext4-slowed", mount=("mount", "-o", "loop,sync", "{work}/backing/disk", "{mountpoint}"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def runs(folder: Path) -> RunFolder:
    return run_folder(folder)


@pytest.fixture(scope="module")
def series(folder: Path, runs: RunFolder) -> list[Series]:
    systems: tuple[System, ...] = (SLOWED, reference("ext4"))
    spec = BenchmarkSpec("files", tuple(s.name for s in systems), WORKLOADS, 5, 60, 20)
    found = run(HostGuest(), spec, systems, run=runs, progress=print, place=place(folder), conditions={"accelerator": "none"})
    assert mounts_below(folder) == []
    return found


def test_every_system_has_a_sample_for_every_round(series: list[Series]) -> None:
    assert {(s.verdict, len(s.samples), s.failure) for s in series} == {(Verdict.PASS, 5, None)}
    assert {s.metric for s in series} == {"write bandwidth", "create", "stat", "readdir", "rename", "unlink"}


def test_each_sample_is_what_its_raw_file_says(series: list[Series], runs: RunFolder) -> None:
    for item in series:
        assert [e.kind for e in item.evidence] == ["samples"] * 5
        for sample, evidence in zip(item.samples, item.evidence, strict=True):
            path = runs.path / evidence.path
            assert sha256_file(path) == evidence.sha256
            raw = json.loads(path.read_text())
            if item.workload == "metadata":
                step = raw["steps"][item.metric]
                assert sample == pytest.approx(step["operations"] / (step["nanoseconds"] / 1e9))
            else:
                assert sample == pytest.approx(raw["jobs"][0]["write"]["bw_bytes"] / 2**20)
                assert raw["jobs"][0]["job options"]["direct"] == "0"
                assert raw["jobs"][0]["job options"]["end_fsync"] == "1"


def test_a_deliberately_slowed_control_shows_up_as_slower(series: list[Series]) -> None:
    found = {(c.workload, c.metric): c for c in comparisons(series, references=("ext4",))}
    for metric in (("sequential-write", "write bandwidth"), ("metadata", "create"), ("metadata", "unlink")):
        comparison = found[metric]
        assert (comparison.system, comparison.baseline) == ("ext4-slowed", "ext4")
        assert comparison.finding is Finding.SLOWER, comparison
        assert comparison.high is not None and comparison.high < 1


def test_the_fingerprint_says_what_the_numbers_depend_on(series: list[Series]) -> None:
    expected = {"kernel", "cpus", "memory", "accelerator", "durability", "options", "rounds", "harness", "fio", "benchmark", "tool"}
    for item in series:
        assert expected <= item.dimensions.keys()
    assert "end_fsync=1" in series[0].dimensions["options"]
    assert series[0].dimensions["left over in the guest"] == "nothing"


def test_the_warm_up_verifies_what_was_written_and_is_not_counted(series: list[Series], runs: RunFolder) -> None:
    raw = json.loads((runs.path / "bench/files/sequential-write/ext4/warm-up/fio.json").read_text())
    assert raw["jobs"][0]["job options"]["verify"] == "crc32c"
    assert raw["jobs"][0]["read"]["io_bytes"] == 16 << 20
    assert not any("warm-up" in e.path for s in series for e in s.evidence)


def test_fio_by_hand_and_through_the_tool_leave_numbers_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "_PROFILES", {"w": {"rw": "write", "bs": "128k", "size": "64m"}})
    monkeypatch.setattr(overhead, "_QUICK", "200ms")
    series, found = overhead.measure(RunFolder(tmp_path), rounds=5, quick=True, progress=print)
    values = {(item.system, item.metric): item.samples for item in series}
    assert len(values) == 7 and {len(samples) for samples in values.values()} == {5}
    for metric in ("bandwidth", "work per processor second"):
        pairs = zip(values["fio through the tool", metric], values["fio by hand", metric], strict=True)
        assert values["fio through the tool", f"{metric}, ratio to fio by hand"] == pytest.approx([tool / hand for tool, hand in pairs])
    assert all(0 < share < 100 for share in values["fio through the tool", "processor time of watching"])
    assert len(found) == 1 and found[0].bandwidth.low <= found[0].bandwidth.high
    assert mounts_below(Path("/var/tmp")) == []
