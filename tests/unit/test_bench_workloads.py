# SPDX-License-Identifier: Apache-2.0
"""Requests are refused before anything starts, and a raw result counts only where it shows work that was done."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench import of_artifact, on_device, reference, run
from ci.bench.guest import listing, mounts
from ci.bench.guest.metadata import main as metadata_main
from ci.bench.jobs import unpack
from ci.bench.payload import write
from ci.bench.systems import ext4
from ci.bench.workloads import workload
from ci.bench.workloads.fio import size_bytes
from ci.errors import InfrastructureError, ProductFailure, UsageError
from ci.manifest import ArtifactSpec, BenchmarkSpec, WorkloadSpec
from ci.model import Artifact, Kind
from ci.process import Limits
from ci.process import run as run_process
from ci.store import RunFolder, sha256_file

pytestmark = pytest.mark.unit

FIO = WorkloadSpec("write", "fio", (("rw", "write"), ("bs", "4k"), ("size", "1m")))
METADATA = WorkloadSpec("metadata", "metadata", ())


def fio_json(**changes: object) -> str:
    part = {"io_bytes": 1 << 20, "bw_bytes": 50 << 20, "runtime": 20, **changes}
    error = part.pop("error", 0)
    return json.dumps({"jobs": [{"error": error, "write": part}]})


class Untouched:
    """A guest that must not be asked anything."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the guest was asked for {name}")


def artifact(path: Path, sha256: str = "0" * 64) -> Artifact:
    return Artifact("d", Kind.DAEMON, path, sha256, 1, (), "x86_64", None, "c0ffee", False, "", 0, 0, 0, False, "")


DAEMON = ArtifactSpec("d", Kind.DAEMON, "cargo", Path("/x"), "d", filesystem="fuse.d", mount=("{artifact}", "{mountpoint}"))


def test_a_benchmark_on_a_missing_binary_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist") as refused:
        of_artifact(DAEMON, artifact(tmp_path / "missing"), "/opt/d")
    assert refused.value.hint == "./inv build"


def test_a_binary_that_vanished_or_changed_after_the_build_is_refused_before_the_guest_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_text("#!/bin/true\n")
    spec = BenchmarkSpec("files", ("d",), (METADATA,), 5, 10, 10)
    system = of_artifact(DAEMON, artifact(path), "/opt/d")
    folder = RunFolder(tmp_path)
    with pytest.raises(ProductFailure, match="not the file that was built"):
        run(Untouched(), spec, (system,), run=folder, progress=print)  # type: ignore[arg-type]
    path.unlink()
    with pytest.raises(UsageError, match="does not exist"):
        run(Untouched(), spec, (system,), run=folder, progress=print)  # type: ignore[arg-type]


def test_an_artifact_without_a_mount_command_cannot_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_text("x")
    with pytest.raises(UsageError, match="no 'mount'"):
        of_artifact(replace(DAEMON, mount=()), artifact(path), "/opt/d")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"rounds": 4}, "fewer than 5"), ({"systems": ("ext4", "tmpfs")}, "given were"), ({"workloads": ()}, "no workload")],
)
def test_a_request_that_supports_no_finding_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    spec = replace(BenchmarkSpec("files", ("ext4",), (METADATA,), 5, 10, 10), **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=words):
        run(Untouched(), spec, (reference("ext4"),), run=RunFolder(tmp_path), progress=print)  # type: ignore[arg-type]


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(UsageError, match="zfs"):
        reference("zfs")


@pytest.mark.parametrize(
    ("tool", "options", "words"),
    [
        ("fio", {"rw": "write", "bs": "4k"}, "'size' is missing"),
        ("fio", {"rw": "trim", "bs": "4k", "size": "1m"}, "rw=trim"),
        ("fio", {"rw": "write", "bs": "4k", "size": "much"}, "not a size"),
        ("fio", {"rw": "write", "bs": "4k", "size": "1m", "directory": "/"}, "set by the tool"),
        ("metadata", {"flies": "3"}, "'flies' is not known"),
        ("metadata", {"files": "0"}, "whole number from 1"),
        ("metadata", {"files": "-3"}, "whole number from 1"),
        ("bonnie", {}, "not known"),
    ],
)
def test_a_wrong_workload_is_refused_by_name(tool: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        workload(WorkloadSpec("mine", tool, tuple(options.items())))
    assert "'mine'" in str(refused.value)


def test_the_complete_options_are_stated() -> None:
    stated = workload(FIO).stated
    assert "direct=0" in stated
    assert "ioengine=psync" in stated
    assert "end_fsync=1" in stated


def test_bandwidth_is_what_fio_says(tmp_path: Path) -> None:
    path = tmp_path / "fio.json"
    path.write_text("fio: a warning stands before\n" + fio_json())
    item = workload(FIO)
    assert item.tool.values(path, item.options) == {"write bandwidth": 50.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no readable result"),
        ("{}", "no readable result"),
        ('{"jobs": []}', "0 groups"),
        (fio_json(error=5), "error 5"),
        (fio_json(io_bytes=0), "did 0 bytes"),
        (fio_json(io_bytes=4096), "did 4096 bytes of write, expected 1048576"),
        (fio_json(runtime=1), "cannot tell apart"),
    ],
)
def test_a_fio_result_without_the_work_is_no_sample(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fio.json"
    path.write_text(text)
    item = workload(FIO)
    with pytest.raises(ProductFailure, match=words):
        item.tool.values(path, item.options)


@pytest.mark.parametrize("steps", [{}, {"create": {"operations": 0, "nanoseconds": 1}}, None])
def test_a_metadata_result_without_the_work_is_no_sample(tmp_path: Path, steps: object) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps({"steps": steps}))
    item = workload(METADATA)
    with pytest.raises(ProductFailure):
        item.tool.values(path, item.options)


def test_the_metadata_loop_counts_what_it_did(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["--directory", str(tmp_path), "--files", "7", "--size", "10", "--output", str(out)]
    assert metadata_main(arguments) == 0
    steps = json.loads(out.read_text())["steps"]
    assert {step: steps[step]["operations"] for step in steps} == {"create": 7, "stat": 7, "readdir": 140, "rename": 7, "unlink": 7}
    assert not (tmp_path / "part-0").exists()


@pytest.mark.parametrize("number", [0, 1, 3000])
def test_a_folder_is_listed_whole_in_blocks_as_the_kernel_gives_them(tmp_path: Path, number: int) -> None:
    for index in range(number):
        (tmp_path / f"{index:040}").touch()
    found = listing.blocks(str(tmp_path))
    assert listing.count(found) == number and max(map(len, found)) <= listing.BLOCK
    assert all(f"{index:040}".encode() in b"".join(found) for index in range(0, number, 7))


def test_a_folder_that_cannot_be_listed_raises_and_a_listing_that_lies_is_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotADirectoryError):
        listing.blocks(__file__)
    whole = listing.blocks
    monkeypatch.setattr(listing, "blocks", lambda folder: whole(folder) if "part" not in folder else whole(str(tmp_path)))
    out = tmp_path / "out.json"
    assert metadata_main(["--directory", str(tmp_path), "--files", "7", "--size", "1", "--output", str(out)]) == 1
    assert not out.exists()


def test_the_metadata_loop_ends_with_1_and_no_result_where_the_folder_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    (tmp_path / "part-0").mkdir()
    assert metadata_main(["--directory", str(tmp_path), "--files", "1", "--size", "1", "--output", str(out)]) == 1
    assert "File exists" in capsys.readouterr().out
    assert not out.exists()


@given(st.integers(0, 1 << 20), st.sampled_from([("", 1), ("k", 1 << 10), ("M", 1 << 20), ("g", 1 << 30)]))
def test_sizes_are_read_as_fio_reads_them(number: int, unit: tuple[str, int]) -> None:
    assert size_bytes(f"{number}{unit[0]}") == number * unit[1]


def test_the_payload_runs_alone_and_is_the_same_each_time(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.pyz"), write(tmp_path / "two.pyz")
    assert sha256_file(one) == sha256_file(two)
    log = tmp_path / "facts.json"
    done = run_process(["python3", "-I", one, "facts"], limits=Limits(20), log=log, cwd=tmp_path)
    assert done.ok, done.text()
    assert json.loads(done.text()).keys() == {"kernel", "architecture", "cpus", "memory", "python"}


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b"])
def test_a_file_name_from_the_guest_cannot_lead_out_of_the_run_folder(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(InfrastructureError, match="the guest sent a file with the name"):
        unpack(buffer.getvalue(), tmp_path / "inside")


MOUNTINFO = """\
24 30 0:22 / /proc rw,nosuid shared:13 - proc proc rw
90 30 0:50 / /mnt/a\\040b rw,relatime shared:2 master:1 - fuse.vexfs vexfs rw,user_id=0
91 30 0:51 / /mnt/a\\040b rw - tmpfs top rw
"""


def test_mountinfo_is_read_with_its_escapes_and_optional_fields() -> None:
    found = mounts.parse(MOUNTINFO)
    assert [(m.point, m.filesystem, m.device) for m in found] == [
        ("/proc", "proc", "0:22"),
        ("/mnt/a b", "fuse.vexfs", "0:50"),
        ("/mnt/a b", "tmpfs", "0:51"),
    ]


@pytest.mark.parametrize(
    ("filesystem", "answered", "below", "words"),
    [
        ("fuse.vexfs", "", "0:1", "is of type 'proc'"),
        ("proc", "0:99999", "0:1", "answers as device 0:99999"),
        ("proc", "", "", "which is that of the folder underneath"),
    ],
)
def test_a_mount_is_proved_only_where_every_sign_agrees(filesystem: str, answered: str, below: str, words: str) -> None:
    proc = Path("/proc")
    device = mounts.device(proc.stat().st_dev)
    assert mounts.prove(proc, "proc", device, mounts.device(Path("/").stat().st_dev)).filesystem == "proc"
    with pytest.raises(mounts.NotMounted, match=words):
        mounts.prove(proc, filesystem, answered or device, below or device)


def test_a_plain_folder_is_no_mount(tmp_path: Path) -> None:
    device = mounts.device(tmp_path.stat().st_dev)
    with pytest.raises(mounts.NotMounted, match="the folder underneath answers"):
        mounts.prove(tmp_path, "tmpfs", device, device)


def test_on_a_device_what_the_last_system_left_is_wiped_before_each_mkfs() -> None:
    system = on_device(ext4.SYSTEM, "/dev/vdz")
    wipe, make = system.setup
    assert wipe[0] == "dd" and "of=/dev/vdz" in wipe and make == ("mkfs.ext4", "-q", "-F", "/dev/vdz")
    assert system.mount == ("mount", "-t", "ext4", "/dev/vdz", "{mountpoint}") and system.below == ()


def test_the_distance_is_part_of_what_must_be_equal_and_durability_only_where_something_is_written() -> None:
    item = workload(WorkloadSpec("v", "vectors", ()))
    facts = {"durability": "none", "opened": "a connection"}
    said = {metric.name: item.tool.dimensions(item.options, metric, facts) for metric in item.metrics}
    assert {each["distance"] for each in said.values()} == {"Euclidean"}
    assert {name for name, each in said.items() if "durability of a write" in each} == {"insert", "single insert p50", "delete"}
    assert {name: each["opened again"] for name, each in said.items() if "opened again" in each} == {"reopen": "a connection"}
