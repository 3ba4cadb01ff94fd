# SPDX-License-Identifier: Apache-2.0
"""Trees of small files: the same everywhere, every answer looked at; and the latencies of fio's random and synced profiles."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.bench.guest import tree
from ci.bench.guest.metadata import Wrong
from ci.bench.workloads import Setting, workload
from ci.errors import ProductFailure, UsageError
from ci.manifest import WorkloadSpec

pytestmark = pytest.mark.unit

FILES, SEED = 100, 7


def at(step: int, action: Callable[[], object]) -> Callable[[], None]:
    """Calls `action` before the step of that number."""
    met: list[int] = []

    def meet() -> None:
        if len(met) == step:
            action()
        met.append(1)

    return meet


def test_the_same_seed_is_the_same_tree_and_another_seed_another() -> None:
    assert tree.shape(FILES, SEED) == tree.shape(FILES, SEED) != tree.shape(FILES, SEED + 1)
    folders, files = tree.shape(1000, SEED)
    sizes = sorted(file.size for file in files)
    assert 1500 < sizes[500] < 6000 and sizes[-1] <= tree.LARGEST, "as source files are"
    assert all(os.path.dirname(folder) in ("", *folders[:number]) for number, folder in enumerate(folders)), "parents come first"
    assert max(file.path.count("/") for file in files) >= 3


def test_each_step_counts_its_files_and_nothing_is_left(tmp_path: Path) -> None:
    found = tree.measure(tmp_path / "t", FILES, SEED)
    assert {name: operations for name, (operations, _, _) in found.items()} == dict.fromkeys(("unpack", "walk", "read", "remove"), FILES)
    assert all(begin < end for _, begin, end in found.values())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_lost_its_content_is_found(tmp_path: Path) -> None:
    _, files = tree.shape(FILES, SEED)
    damaged = tmp_path / "t" / files[50].path
    with pytest.raises(Wrong, match="does not hold what was written"):
        tree.measure(tmp_path / "t", FILES, SEED, at(2, lambda: damaged.write_bytes(b"x" * files[50].size)))


def test_a_folder_that_lost_a_file_is_found(tmp_path: Path) -> None:
    _, files = tree.shape(FILES, SEED)
    with pytest.raises(Wrong, match="99 files"):
        tree.measure(tmp_path / "t", FILES, SEED, at(1, (tmp_path / "t" / files[3].path).unlink))


def test_what_stays_after_removal_is_found(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="more is there after everything was removed"):
        tree.measure(tmp_path / "t", 5, SEED, at(3, (tmp_path / "t" / "more").touch))


def test_the_command_leaves_a_result_that_the_workload_reads(tmp_path: Path) -> None:
    item = workload(WorkloadSpec("t", "tree", (("files", "30"), ("threads", "2"))))
    words = item.tool.command(item.options, Setting(str(tmp_path), str(tmp_path / "out.json"), "bench.pyz"))
    assert tree.main(words[words.index("tree") + 1 :]) == 0
    assert set(item.tool.values(tmp_path / "out.json", item.options)) == {metric.name for metric in item.metrics}
    assert json.loads((tmp_path / "out.json").read_text())["steps"]["unpack"]["operations"] == 60


def test_the_command_says_in_a_sentence_what_stopped_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "part-0").mkdir()
    assert tree.main(["--directory", str(tmp_path), "--files", "3", "--seed", "1", "--output", str(tmp_path / "out.json")]) == 1
    assert "File exists" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="the tree option 'size' is not known"):
        workload(WorkloadSpec("t", "tree", (("size", "1"),)))


def fio(tmp_path: Path, options: dict[str, str], **parts: object) -> dict[str, float]:
    item = workload(WorkloadSpec("w", "fio", tuple({"bs": "4k", "size": "1m", **options}.items())))
    path = tmp_path / "fio.json"
    path.write_text(json.dumps({"jobs": [{"error": 0, **parts}]}))
    return item.tool.values(path, item.options)


def test_random_requests_and_fsyncs_have_latencies(tmp_path: Path) -> None:
    done = {"io_bytes": 1 << 20, "bw_bytes": 50 << 20, "runtime": 20}
    latency = {"percentile": {"50.000000": 2_000_000, "99.000000": 7_500_000}}
    assert fio(tmp_path, {"rw": "randread"}, read={**done, "clat_ns": latency}) == {"read bandwidth": 50, "read p50": 2, "read p99": 7.5}
    assert fio(tmp_path, {"rw": "write", "fsync": "1"}, write=done, sync={"lat_ns": latency}) == {
        "write bandwidth": 50,
        "fsync p50": 2,
        "fsync p99": 7.5,
    }
    assert fio(tmp_path, {"rw": "write", "fsync": "0"}, write=done) == {"write bandwidth": 50}


def test_a_profile_that_never_synced_is_no_sample(tmp_path: Path) -> None:
    done = {"io_bytes": 1 << 20, "bw_bytes": 50 << 20, "runtime": 20}
    with pytest.raises(ProductFailure, match="no latency of sync"):
        fio(tmp_path, {"rw": "write", "fsync": "1"}, write=done, sync={"lat_ns": {"N": 0}})


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_the_real_fio_says_what_is_read_from_it(tmp_path: Path) -> None:
    import subprocess

    item = workload(WorkloadSpec("w", "fio", (("rw", "randrw"), ("bs", "4k"), ("size", "8m"), ("fsync", "32"))))
    words = item.tool.command(item.options, Setting(str(tmp_path), str(tmp_path / "fio.json"), "bench.pyz"))
    subprocess.run(words, check=True, timeout=60)
    found = item.tool.values(tmp_path / "fio.json", item.options)
    assert set(found) == {metric.name for metric in item.metrics} and len(found) == 8
    assert all(value > 0 for value in found.values())
