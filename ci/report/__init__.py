# SPDX-License-Identifier: Apache-2.0
"""Reports from a record alone; nothing is measured or run again here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ci import store


def write(record: dict[str, Any], run_folder: Path, earlier: Iterable[Mapping[str, Any]] = ()) -> tuple[Path, Path]:
    """Write summary.md and report.html into the run folder and return both. `record` is a run record as in docs/record.md.

    `earlier` are the records of other runs, for the history of what this one measured. The evidence that the record names is looked
    at: a file that is missing or changed is shown as such.
    """
    from ci.report import html, markdown
    from ci.report.view import view

    content = view(record, run_folder, earlier)
    summary, report = run_folder / "summary.md", run_folder / "report.html"
    store.atomic_write(summary, markdown.render(content))
    store.atomic_write(report, html.render(content))
    return summary, report
