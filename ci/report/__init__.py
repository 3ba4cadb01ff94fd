# SPDX-License-Identifier: Apache-2.0
"""Reports from a record alone; nothing is measured or run again here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci import store

if TYPE_CHECKING:
    from ci.report.refusals import Now


def write(
    record: Mapping[str, Any], run_folder: Path, earlier: Iterable[Mapping[str, Any]] = (), now: Now | None = None
) -> tuple[Path, ...]:
    """Write summary.md and report.html into the run folder, and where something was measured numbers.csv and numbers.json; returns them.

    `record` is a run record as in docs/record.md; `earlier` are the records of other runs, for the history of what this one measured;
    `now` is the tree as it is, without which the run itself is asked. The evidence that the record names is looked at: a file that is
    missing or changed is shown as such.
    """
    from ci.report import exports, html, markdown
    from ci.report.recorded import measured
    from ci.report.view import view

    content = view(record, run_folder, earlier)
    texts = {"summary.md": markdown.render(content, _findings(record, run_folder, now)), "report.html": html.render(content)}
    if measured(record):
        texts.update({"numbers.csv": exports.as_csv(record), "numbers.json": exports.as_json(record)})
    for name, text in texts.items():
        store.atomic_write(run_folder / name, text)
    return tuple(run_folder / name for name in texts)


def _findings(record: Mapping[str, Any], run_folder: Path, now: Now | None) -> list[str]:
    """The findings for summary.md, or why there are none; nothing where nothing was measured."""
    from ci.report import page
    from ci.report.executive import Refused, executive
    from ci.report.recorded import measured

    if not any(item.artifact_sha256 for item in measured(record)):
        return []
    try:
        return page.markdown(executive(record, run_folder, now))
    except Refused as error:
        return page.markdown_refused(error)


def write_executive(record: Mapping[str, Any], run_folder: Path, now: Now | None = None) -> Path:
    """Write executive.html into the run folder; Refused, and an older one removed, where no summary may be made of the run."""
    from ci.report import page
    from ci.report.executive import executive

    path = run_folder / "executive.html"
    for old in (path, path.with_suffix(".pdf")):
        old.unlink(missing_ok=True)  # what is refused now must not lie there as if it stood
    store.atomic_write(path, page.html(executive(record, run_folder, now)))
    return path
