# SPDX-License-Identifier: Apache-2.0
"""The thin path as a user walks it: `./inv ci` on real parts, from the sources to a report that is true."""

from __future__ import annotations

import statistics
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest

from tests import recordschema, tool

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500), pytest.mark.xdist_group("project")]


def test_the_whole_way_ends_in_a_report_whose_numbers_are_those_of_the_record() -> None:
    done = tool.inv("ci", "--suite", "smoke", "--kernel", "debian-6.1", deadline=1400)
    assert done.returncode == 0, done.stdout
    record = recordschema.latest(tool.ROOT)
    stages = {stage["name"]: stage for stage in record["stages"]}
    assert list(stages) == ["build", "verify", "image", "vm", "deploy", "validate", "bench", "report"]
    assert {stage["verdict"] for stage in stages.values()} == {"pass"}
    assert record["accelerator"]["name"] in ("kvm", "tcg") and record["accelerator"]["reason"]
    folder = tool.ROOT / ".runs" / record["id"]
    _suites(stages["validate"]["results"]["suites"])
    _other_programs_read_the_same(stages["validate"]["results"]["suites"], folder)
    _evidence_is_there(record, folder)
    _report_tells_the_medians(stages["bench"]["results"]["series"], folder)


def _suites(suites: list[dict[str, object]]) -> None:
    assert {suite["artifact"] for suite in suites} == {"vexfs-kernel", "vexfs-fuse"}
    assert len(suites) == 2, "smoke on both artifacts"
    for suite in suites:
        cases = suite["cases"]
        assert isinstance(cases, list) and len(cases) >= int(str(suite["minimum"]))


def _other_programs_read_the_same(suites: list[dict[str, object]], folder: Path) -> None:
    root = tree.parse(folder / "validate/junit.xml").getroot()
    counts = [int(str(group.get("tests"))) for group in root.findall("testsuite")]
    assert counts == [len(list(suite["cases"])) for suite in suites]  # type: ignore[call-overload]
    assert f"1..{len(suites)}" in (folder / "validate/results.ktap").read_text().splitlines()


def _evidence_is_there(record: dict[str, list[dict[str, object]]], folder: Path) -> None:
    """Every piece of evidence that any part of the record names is a file of the run."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if value.keys() == {"kind", "path", "sha256"}:
                found.append(str(value["path"]))
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(record)
    assert len(found) > 50
    assert [path for path in found if not (folder / path).is_file()] == []


def _report_tells_the_medians(series: list[dict[str, list[float]]], folder: Path) -> None:
    assert len(series) == 18 and all(len(item["samples"]) >= 5 for item in series)
    html, summary = (folder / "report.html").read_text(), (folder / "summary.md").read_text()
    for item in series:
        median = statistics.median(item["samples"])
        shown = f"{median:,.0f}" if median >= 1000 else f"{median:.3g}"
        assert shown in html and shown in summary, (item["system"], item["workload"], item["metric"], median)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("buld",), "did you mean './inv build'?"),
        (("build", "--nosuch"), "No idea what '--nosuch' is"),
        (("build", "--only", "vexfs-fus"), "did you mean 'vexfs-fuse'?"),
        (("build", "--kernel", "debian-6.2"), "did you mean 'debian-6.12'?"),
        (("validate", "--suite", "smok"), "did you mean 'smoke'?"),
        (("validate", "--suite", "smoke,crsh"), "did you mean 'crash'?"),
        (("validate", "--suite", "all", "--test", "mount"), "are for one suite"),
        (("validate", "--only", "vexfs"), "the artifact 'vexfs' is not defined"),
        (("bench", "--suite", "file"), "did you mean 'files'?"),
        (("deploy", "--guest", "nobody"), "./inv vm.up starts one"),
        (("vm.ssh", "--name", "nobody"), "./inv vm.up starts one"),
        (("vm.down", "--name", "nobody"), "./inv vm.up starts one"),
        (("vm.up", "--machine", "big"), "the machine 'big' is not defined"),
        (("validate", "--guest", "nobody"), "./inv vm.up starts one"),
        (("report", "--run-id", "zzzzzz"), "./inv runs lists them"),
        (("image.build", "--name", "debian"), "did you mean 'debian-12'?"),
    ],
)
def test_a_mistake_on_the_command_line_is_a_usage_error_with_the_way_out(words: tuple[str, ...], says: str) -> None:
    done = tool.inv(*words)
    assert done.returncode == 2, done.stdout
    assert says in done.stdout
    assert "Traceback" not in done.stdout


def test_every_task_says_in_a_sentence_what_it_does() -> None:
    listed = tool.inv("--list", "--list-format=json").stdout
    import json

    def tasks(collection: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
        below = [task for item in collection["collections"] for task in tasks(item)]  # type: ignore[arg-type]
        return collection["tasks"] + below

    found = tasks(json.loads(listed))
    assert len(found) >= 18
    assert [task["name"] for task in found if not str(task["help"]).rstrip().endswith((".", ")", ":"))] == []
