# SPDX-License-Identifier: Apache-2.0
"""Findings as SARIF: valid under the published schema, at their places, and empty runs for checkers that found nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ci.report import sarif
from tests.unit import report_records

pytestmark = pytest.mark.unit

SCHEMA = json.loads((Path(__file__).resolve().parents[1] / "schemas/sarif-2.1.0-rtm.5.json").read_text())


def record(*checks: tuple[str, str, str], failed: tuple[str, ...] = ()) -> dict[str, Any]:
    rows = [{"name": name, "verdict": verdict, "detail": detail} for name, verdict, detail in checks]
    build = {"name": "build", "checks": [], "results": {"failed": [{"detail": detail} for detail in failed]}}
    return {"stages": [build, {"name": "verify", "checks": rows, "results": {}}]}


def runs(facts: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    text = sarif.render(facts)
    content = json.loads(text)
    jsonschema.Draft4Validator(SCHEMA).validate(content)
    return {run["tool"]["driver"]["name"]: run["results"] for run in content["runs"]}


def place(result: dict[str, Any]) -> tuple[str, int, int]:
    found = result["locations"][0]["physicalLocation"]
    return found["artifactLocation"]["uri"], found["region"]["startLine"], found["region"]["startColumn"]


def test_findings_stand_at_file_line_and_column() -> None:
    found = runs(
        record(
            ("sparse: within the budget", "fail", "1 finding, the budget is 0; mend the new ones"),
            ("sparse", "fail", "kernel/super.c:41:7: incorrect type"),
            ("clippy: within the budget", "pass", "1 of 1"),
            ("clippy", "known", "fuse/src/lib.rs:3: needless borrow"),
            ("checkpatch: within the budget", "pass", "0 of 0"),
        )
    )
    assert set(found) == {"vexci build", "vexci sparse", "vexci clippy", "vexci checkpatch"}
    assert place(found["vexci sparse"][0]) == ("kernel/super.c", 41, 7) and found["vexci sparse"][0]["level"] == "error"
    assert place(found["vexci clippy"][0]) == ("fuse/src/lib.rs", 3, 1) and found["vexci clippy"][0]["level"] == "note"
    assert found["vexci checkpatch"] == []


def test_a_compiler_s_error_that_stopped_the_build_is_one() -> None:
    found = runs(record(failed=("kernel/inode.c:9: 'x' undeclared", "no place at all")))
    assert [place(row) for row in found["vexci build"]] == [("kernel/inode.c", 9, 1)]


def test_the_same_finding_stays_the_same_where_lines_move_and_is_said_once() -> None:
    first, again, moved = ("sparse", "fail", "a.c:4: wrong"), ("sparse", "fail", "a.c:4: wrong"), ("sparse", "fail", "a.c:9: wrong")
    rows = runs(record(first, again, moved))["vexci sparse"]
    assert len(rows) == 2 and len({row["partialFingerprints"]["vexci/v1"] for row in rows}) == 1


def test_a_run_that_looked_at_no_sources_has_none(tmp_path: Path) -> None:
    assert sarif.render({"stages": [{"name": "bench", "checks": [], "results": {}}]}) == ""
    assert list(runs(report_records.record(tmp_path))) == ["vexci build"]


def test_the_schema_would_refuse_another_form() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate({"version": "2.1.0", "runs": [{"results": []}]})
