# SPDX-License-Identifier: Apache-2.0
"""Numbers that must not be believed, and what the tool says of each (failure modes P3 to P7)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ci.report
from ci.bench import comparisons, reference, run, slowed
from ci.bench.compare import Comparison, Finding, Unequal, compare
from ci.bench.workloads import Setting
from ci.bench.workloads.metadata import METADATA
from ci.errors import ProductFailure
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Series
from ci.pipeline.benching import require_control
from ci.report.executive import Refused, executive
from ci.report.refusals import Now
from ci.samples import checked
from tests.unit.report_records import artifacts, record
from tests.zoo.bench_host import HostGuest, needs_root, place, run_folder
from tests.zoo.bench_specimens import CONSTANTS

pytestmark = pytest.mark.zoo


def with_control(tmp_path: Path) -> list[Comparison]:
    """tmpfs and its slowed copy under the metadata loop, five rounds."""
    systems = (reference("tmpfs"), slowed(reference("tmpfs")))
    loop = WorkloadSpec("metadata", "metadata", (("files", "30"),))
    spec = BenchmarkSpec("files", tuple(system.name for system in systems), (loop,), 5, 20.0, 5.0)
    return comparisons(run(HostGuest(), spec, systems, run=run_folder(tmp_path), progress=print, place=place(tmp_path)))


@needs_root
def test_a_loop_that_works_shows_its_control_so_that_the_specimen_fails_for_its_fault_alone(tmp_path: Path) -> None:
    require_control(with_control(tmp_path))


@needs_root
def test_a_loop_that_prints_targets_with_noise_is_found_out_by_the_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(options: Mapping[str, str], setting: Setting) -> list[str]:
        return ["python3", "-c", CONSTANTS, setting.output]

    monkeypatch.setattr(METADATA, "command", command)
    found = with_control(tmp_path)
    assert found and not [item for item in found if item.finding in (Finding.REFUSED, Finding.NOT_MEASURED)], "the numbers look good"
    with pytest.raises(ProductFailure, match=r"control does not show up as slower in metadata: these numbers are worth nothing"):
        require_control(found)


ALIKE = {
    "options": "count=10000 data=glove dimension=128",
    "data set": "sha256 0123",
    "distance": "Euclidean",
    "durability of a write": "durable before the clock stops",
    "accelerator": "tcg",
    "machine": "2 CPUs, 1024 MiB",
    "kernel": "6.1",
}
BASE = Series("ours", "vectors", "insert", "vectors/s", "higher", (100.0, 101.0, 99.0, 102.0, 98.0), ALIKE, "3f" * 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", "count=10000 data=glove dimension=768"),
        ("options", "count=1000 data=glove dimension=128"),
        ("data set", "sha256 4567"),
        ("distance", "cosine"),
        ("durability of a write", "none: gone when the process ends"),
        ("accelerator", "kvm"),
        ("machine", "8 CPUs, 1024 MiB"),
        ("kernel", "6.12"),
    ],
    ids=["dimension", "size", "data", "distance", "durability", "accelerator", "machine", "kernel"],
)
def test_a_comparison_of_what_is_unequal_is_refused_with_the_field(name: str, value: str) -> None:
    other = replace(BASE, system="other", dimensions={**ALIKE, name: value}, samples=tuple(2 * sample for sample in BASE.samples))
    with pytest.raises(Unequal, match=f"{name} is '{ALIKE[name]}' against '{value}'"):
        compare(BASE, other)
    (found,) = comparisons([BASE, other])
    assert found.finding is Finding.REFUSED and found.ratio is None
    assert compare(BASE, replace(other, dimensions=ALIKE)).finding is Finding.SLOWER, "the field alone is what refuses it"


@pytest.mark.parametrize("sample", [0.0, -1.0, math.inf, math.nan])
def test_a_failure_that_is_written_as_a_number_is_none(sample: float) -> None:
    with pytest.raises(ProductFailure, match="is not a measurement"):
        checked((1.0, sample))


def test_a_system_that_failed_stands_in_the_report_with_its_reason_and_without_a_number(tmp_path: Path) -> None:
    data = record(tmp_path, failing=True)
    failed = [item for stage in data["stages"] for item in stage["results"].get("series", []) if item["failure"]]
    assert failed
    texts = {path.suffix: path.read_text() for path in ci.report.write(data, tmp_path)}
    for item in failed:
        assert item["samples"] == [] and item["failure"] in texts[".html"]
    for line in (line for line in texts[".csv"].splitlines() if failed[0]["failure"] in line):
        assert ",0," not in line and "inf" not in line.replace(failed[0]["failure"], "")


def _other_commit(data: dict[str, Any]) -> None:
    data["commit"] = "1234abcd" * 5


def _changed_tree(data: dict[str, Any]) -> None:
    data["dirty"] = True


def _other_artifact(data: dict[str, Any]) -> None:
    data["artifacts"][0]["sha256"] = "77" * 32


@pytest.mark.parametrize("spoil", [_other_commit, _changed_tree, _other_artifact])
def test_a_summary_of_stale_results_is_refused_and_says_which(spoil: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    data = record(tmp_path)
    today = Now(str(data["commit"]), {(item.name, item.target): item.sha256 for item in artifacts()})
    assert executive(data, tmp_path, today).findings, "as it is, a summary is made of it"
    spoil(data)
    with pytest.raises(Refused) as refused:
        executive(data, tmp_path, today)
    assert {reason.kind for reason in refused.value.reasons} == {"stale"}, json.dumps([str(each) for each in refused.value.reasons])


def test_a_gain_that_is_smaller_than_the_noise_is_none() -> None:
    better = replace(BASE, system="new", samples=(103.0, 97.0, 105.0, 99.0, 101.0))
    found = compare(better, BASE)
    assert found.ratio is not None and found.ratio > 1 and found.finding is Finding.NO_DIFFERENCE
