# SPDX-License-Identifier: Apache-2.0
"""What GitHub Actions reads of a run besides its exit code: outputs of a step, its summary, annotations at file and line.

Forms: GitHub's "Workflow commands for GitHub Actions". Elsewhere nothing here does anything.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from ci import console
from ci.console import escaped

# A check that speaks of a place begins with it, as compilers do. Only places in the project are annotated.
_PLACE = re.compile(r"(?P<file>[^\s:/][^\s:]*):(?P<line>\d+)(?::\d+)?: (?P<text>.*)", re.DOTALL)
_SUMMARY_BYTES = 1 << 20  # GitHub refuses a longer one as a whole


def output(name: str, value: str) -> None:
    """An output of the step, for other jobs (`steps.ID.outputs.NAME`)."""
    _append("GITHUB_OUTPUT", _assignment(name, value))


def _assignment(name: str, value: str) -> str:
    """With a mark that no value can hold by chance, since the value may have several lines."""
    mark = f"vexci-{secrets.token_hex(8)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def summary(markdown: str) -> None:
    """Show this text on the page of the workflow's run."""
    data = markdown.encode()
    if len(data) > _SUMMARY_BYTES:
        cut = data[: _SUMMARY_BYTES - 200].decode(errors="ignore").rpartition("\n")[0]
        markdown = f"{cut}\n\nThe rest is longer than GitHub shows: see summary.md among the kept files.\n"
    _append("GITHUB_STEP_SUMMARY", markdown)


def _append(variable: str, text: str) -> None:
    """GitHub names a file; each step appends to its own."""
    path = os.environ.get(variable)
    if console.on_github() and path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)


def annotate(record: Mapping[str, Any]) -> None:
    """One annotation for each check of a record that names a place and is not good: a warning where it is known."""
    if console.on_github():
        for line in commands(record):
            console.line(line)


def commands(record: Mapping[str, Any]) -> Iterator[str]:
    """The workflow commands for that, in the order of the record."""
    for stage in record["stages"]:
        for check in stage["checks"]:
            match = _PLACE.fullmatch(check["detail"])
            if match is None or check["verdict"] in ("pass", "skip"):
                continue
            level = "warning" if check["verdict"] == "known" else "error"
            title = f"{check['id']} {check['name']}"
            facts = f"file={_fact(match['file'])},line={match['line']},title={_fact(title)}"
            yield f"::{level} {facts}::{escaped(match['text'])}"


def _fact(text: str) -> str:
    return escaped(text).replace(":", "%3A").replace(",", "%2C")
