# SPDX-License-Identifier: Apache-2.0
"""What static checkers and compilers found, as SARIF 2.1.0 (OASIS): the form in which GitHub shows findings in the code.

One run for each checker that looked, also where it found nothing: that is what closes an earlier finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ci import __version__, store

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
STAGES = ("build", "verify", "lint")
_PLACE = re.compile(r"(?P<file>[^\s:/][^\s:]*):(?P<line>\d+)(?::(?P<column>\d+))?: (?P<text>.+)", re.DOTALL)
_LOOKED = ": within the budget"  # how ci/verify/findings.py names the sum of a checker
_BUILD = "build"


@dataclass(frozen=True)
class Finding:
    """One thing that a checker said of a place in the project. `known` is within the budget."""

    checker: str
    file: str
    line: int
    column: int
    text: str
    known: bool


def render(record: Mapping[str, Any]) -> str:
    """The whole file for a run record; empty where no stage looked at sources."""
    if not any(stage["name"] in STAGES for stage in record["stages"]):
        return ""
    found: dict[str, dict[Finding, None]] = {name: {} for name in _looked(record)}
    for finding in _findings(record):
        found.setdefault(finding.checker, {})[finding] = None
    runs = [_run(checker, list(rows)) for checker, rows in sorted(found.items())]
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": runs}, indent=1) + "\n"


def _looked(record: Mapping[str, Any]) -> Iterator[str]:
    """The checkers of this run; the build itself is one, whose findings are its errors."""
    yield _BUILD
    for stage in record["stages"]:
        for check in stage["checks"]:
            if check["name"].endswith(_LOOKED):
                yield check["name"].removesuffix(_LOOKED)


def _findings(record: Mapping[str, Any]) -> Iterator[Finding]:
    for stage in record["stages"]:
        if stage["name"] not in STAGES:
            continue
        for check in stage["checks"]:
            if check["verdict"] not in ("pass", "skip"):
                yield from _finding(check["name"], check["detail"], known=check["verdict"] == "known")
        for row in stage["results"].get("failed", []):
            yield from _finding(_BUILD, row["detail"], known=False)


def _finding(checker: str, detail: str, *, known: bool) -> Iterator[Finding]:
    match = _PLACE.fullmatch(detail)
    if match is not None:
        yield Finding(checker, match["file"], int(match["line"]), int(match["column"] or 1), match["text"], known)


def _run(checker: str, rows: list[Finding]) -> dict[str, Any]:
    driver = {"name": f"vexci {checker}", "version": __version__, "rules": [{"id": checker, "name": checker}]}
    return {"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": [_result(row) for row in rows]}


def _result(row: Finding) -> dict[str, Any]:
    region = {"startLine": max(row.line, 1), "startColumn": max(row.column, 1)}
    return {
        "ruleId": row.checker,
        "level": "note" if row.known else "error",
        "message": {"text": row.text},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": row.file}, "region": region}}],
        # The same finding stays the same when lines above it change.
        "partialFingerprints": {"vexci/v1": store.sha256_text(row.checker, row.file, row.text)[:32]},
    }
