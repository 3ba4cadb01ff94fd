# SPDX-License-Identifier: Apache-2.0
"""Release notes: the commits since the release before, and what the records say: tested, where, with what result, known to fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci import process
from ci.marks import code, plain
from ci.process import Limits
from ci.release.gate import suites_of


def changes(root: Path, version: str) -> tuple[str, list[str]]:
    """The tag of the release before (empty where there is none), and the first lines of the commits since, newest first."""
    done = process.run(
        ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^"],
        limits=Limits(30),
        cwd=root,
        stderr=process.scratch_file("git.err"),
    )
    before = done.text().strip() if done.ok else ""
    span = [f"{before}..HEAD"] if before else ["HEAD"]
    text = process.output(["git", "-C", str(root), "log", "--no-merges", "--format=%s", *span])
    return before, text.splitlines()


def render(project: str, version: str, before: str, lines: Sequence[str], records: Sequence[Mapping[str, Any]], commit: str) -> str:
    """The notes as Markdown, from these records alone."""
    text = [f"# {plain(project)} {plain(version)}", "", f"Commit {code(commit)}.", "", "## Changes", ""]
    text += [f"Since {plain(before)}:" if before else "The first release:", ""]
    text += [f"- {plain(line)}" for line in lines] or ["- none"]
    text += ["", "## What was tested", ""]
    rows = [(record, suite) for record in records for suite in suites_of(record)]
    if rows:
        text += ["| suite | artifact | kernel | result | cases | accelerator | record |", "|---|---|---|---|---|---|---|"]
        text += [_row(record, suite) for record, suite in rows]
    known = [(suite, case) for _, suite in rows for case in suite["cases"] if case["verdict"] == "known"]
    text += ["", "## Known failures", ""]
    text += [f"- {plain(s['suite'])} on {plain(s['artifact'])}, {plain(c['id'])}: {plain(c['detail'])}" for s, c in known] or [
        "None is listed."
    ]
    hosts = sorted(
        {f"{r['host'].get('os', 'unknown')}, Linux {r['host'].get('kernel', 'unknown')}, {r['host'].get('cpu', '')}" for r, _ in rows}
    )
    text += ["", "## Where", "", *(f"- {plain(host)}" for host in hosts), ""]
    return "\n".join(text)


def _row(record: Mapping[str, Any], suite: Mapping[str, Any]) -> str:
    passed = sum(case["verdict"] == "pass" for case in suite["cases"])
    absent = sum(case["verdict"] == "skip" and not case.get("required", True) for case in suite["cases"])
    accelerator = (record.get("accelerator") or {}).get("name", "unknown")
    cells = [
        suite["suite"],
        suite["artifact"],
        suite["kernel"],
        suite["verdict"],
        f"{passed} of {len(suite['cases'])}" + (f", {absent} not offered" if absent else ""),
        accelerator,
        record["id"],
    ]
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"
