# SPDX-License-Identifier: Apache-2.0
"""A static site from many records: it opens from a file, asks nothing of any server, and GitHub Pages can publish it as it is.

    index.html           where each suite stands in each kernel, what fails and since when, which tests fail now and then
    trends.html          every measure over the runs that measured it alike
    runs.html            all runs
    runs/ID/index.html   the report of one run, beside its record.json

The folder is made aside and put in place as a whole.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import store
from ci.errors import UsageError
from ci.report import html, past
from ci.report.trends import trends
from ci.report.view import view

MARK = ".vexci-site"  # says that a folder is a site of this tool, and may be replaced
_SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]*")  # an id becomes the name of a folder
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """An artifact in a kernel, with its state in each suite, None where it never ran."""

    kernel: str
    artifact: str
    cells: tuple[past.State | None, ...]


@dataclass(frozen=True)
class Found:
    """A record and the folder of its run."""

    folder: Path
    record: Record


def write(found: Sequence[Found], folder: Path) -> Path:
    """Make the site in `folder`, in place of an earlier one; returns its first page. UsageError where something else lies there."""
    _may_replace(folder)
    for each in found:
        if not _SAFE.fullmatch(str(each.record["id"])):
            raise UsageError(f"{each.folder}: '{each.record['id']}' is no id of a run", hint="leave that record out")
    made = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    try:
        for name, text in _pages(found).items():
            store.atomic_write(_below(made, name), text)
        _put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder / "index.html"


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _may_replace(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"--site {folder}: that is no folder", hint="name a folder that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(
            f"--site {folder}: the folder has files that are not of a site made by this tool",
            hint="name a folder that is empty or does not exist yet",
        )


def _put_in_place(made: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    made.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _pages(found: Sequence[Found]) -> dict[str, str]:
    """The text of each file by its path."""
    by_age = sorted(found, key=lambda each: str(each.record["id"]))
    records = [each.record for each in by_age]
    counted = past.without_copies(records)
    seen = [event for record in counted for event in past.events(record)]
    failures = past.failures(seen)
    shared = {"project": str(records[-1]["project"]), "first": records[0], "last": records[-1], "count": len(records)}
    suites, rows = table(past.states(counted))
    texts = {
        MARK: "",
        "index.html": html.fill(
            "site.html.j2",
            suites=suites,
            rows=rows,
            commit=_newest_commit(records),
            failing=[row for row in failures if not row.gone],
            gone=[row for row in failures if row.gone],
            flaky=past.flaky(seen),
            **shared,
        ),
        "trends.html": html.fill("site_trends.html.j2", trends=trends(counted), **shared),
        "runs.html": html.fill("site_runs.html.j2", records=records[::-1], **shared),
    }
    for each in by_age:
        texts |= _run(each)
    return texts


def _run(each: Found) -> dict[str, str]:
    """The files of one run: the page, the record, and its reproducer where it has one."""
    below = f"runs/{each.record['id']}"
    content = view(each.record, each.folder, elsewhere=True)
    texts = {f"{below}/index.html": html.render(content), f"{below}/record.json": json.dumps(each.record, indent=1)}
    if content.reproduce:
        texts[f"{below}/{content.reproduce_href}"] = content.reproduce
    return texts


def table(states: Sequence[past.State]) -> tuple[list[str], list[Row]]:
    """The names of all suites, and a row for each artifact in each kernel."""
    suites = sorted({state.suite for state in states})
    by_place = {(state.kernel, state.artifact, state.suite): state for state in states}
    places = sorted({(state.kernel, state.artifact) for state in states})
    return suites, [Row(*place, tuple(by_place.get((*place, suite)) for suite in suites)) for place in places]


def _newest_commit(records: Sequence[Record]) -> str:
    """The commit of the newest run of an unchanged tree; empty where there is none."""
    return next((str(record["commit"]) for record in reversed(records) if not record["dirty"]), "")
