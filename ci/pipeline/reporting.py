# SPDX-License-Identifier: Apache-2.0
"""Reports of recorded runs: the whole report, the executive summary, and two runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci import bench as benchmarks
from ci import browser, console, store
from ci import report as reports
from ci.errors import UsageError, VexciError
from ci.fingerprint import key
from ci.model import Verdict
from ci.pipeline import past
from ci.pipeline.session import Session
from ci.report import beside, comparing
from ci.report.recorded import measured
from ci.report.refusals import Now

COMPARED = 2


def stage(session: Session, failure: VexciError | None) -> None:
    """The last stage of a run: its report, whatever the verdict."""
    record = session.record
    reached = [name for name in session.requested if name != "report"]
    for name in reached:
        if record.verdict_of(name) is None and failure is not None:
            record.skip(name, f"not reached: {failure}")
    with record.stage("report") as stage, console.group("report"):
        content = record.preview(failure.verdict if failure else None, str(failure) if failure else "")
        written = list(reports.write(content, record.run.path, store.read_records(session.manifest.root)))
        for path in written:
            stage.evidence.append(record.run.evidence("report", path))
            console.line(f"wrote {path.relative_to(session.manifest.root)}")
        stage.detail = "summary.md and report.html"
    # What GitHub shows on the page of a workflow's run.
    console.line(next(path for path in written if path.name == "summary.md").read_text())


def report(session: Session, run_id: str, *, executive: bool = False, compare: Sequence[str] = ()) -> None:
    """Write the report of a recorded run into its folder: the named one, or the newest that has stages.

    With `executive` also the summary on one page, which is refused where the run's results are missing, stale or unequal; with
    `compare` the report is of two runs, and run_id must be empty.
    """
    if compare:
        _compare(session, run_id, compare)
        return
    root = session.manifest.root
    record = _chosen(root, run_id)
    folder = root / store.RUNS_FOLDER / str(record["id"])
    now = _now(session, record)
    written = list(reports.write(record, folder, store.read_records(root), now))
    for path in written:
        console.line(f"wrote {path.relative_to(root)}")
    if executive:
        page = reports.write_executive(record, folder, now)
        console.line(f"wrote {page.relative_to(root)}")
        console.line(f"wrote {browser.print_pdf(page, page.with_suffix('.pdf')).relative_to(root)}")
    console.verdict_line(Verdict(record["verdict"]), f"is the verdict of the run {record['id']}: {record['command']}")


def _now(session: Session, record: Mapping[str, Any]) -> Now:
    """The tree's commit, and what lies now where the run's artifacts were built; what is gone is not there to differ."""
    built = {}
    for item in record["artifacts"]:
        path = Path(item["path"])
        if path.is_file():
            built[str(item["name"]), str(item["target"])] = store.sha256_file(path)
    return Now(session.revision.commit, built)


def _compare(session: Session, run_id: str, names: Sequence[str]) -> None:
    """Judge each series of the older run by the newer one; the page goes into the newer one's folder."""
    if run_id or len(names) != COMPARED or names[0] == names[1]:
        raise UsageError(
            "--compare takes two different runs and no --run-id", hint="./inv report --compare RUN1 RUN2; ./inv runs lists them"
        )
    root = session.manifest.root
    old, new = sorted((_chosen(root, name) for name in names), key=lambda record: str(record["id"]))
    before, after = measured(old), measured(new)
    for record, series in ((old, before), (new, after)):
        if not any(item.samples for item in series):
            raise UsageError(f"the run {record['id']} has measured nothing, so there is nothing to compare")
    found = benchmarks.baseline.judge(after, [item for item in before if item.samples and not item.failure])
    had = {(*key(item), item.system) for item in before}
    added = [f"{item.workload} {item.metric} of {item.system}" for item in after if (*key(item), item.system) not in had]
    folder = root / store.RUNS_FOLDER / str(new["id"])
    threshold = benchmarks.baseline.THRESHOLD
    pages = {".md": comparing.compared(old, new, found, added, threshold), ".html": beside.page(old, new, found, added, threshold, folder)}
    for suffix, text in pages.items():
        store.atomic_write(folder / f"compare-{old['id']}{suffix}", text)
    for item in found:
        console.line(f"  {item.workload} {item.metric} of {item.system}: {item.change}, {comparing.ratio(item)}: {item.reason}")
    console.line(comparing.counted(found))
    for suffix in pages:
        console.line(f"wrote {folder.relative_to(root)}/compare-{old['id']}{suffix}")


def _chosen(root: Path, run_id: str) -> Mapping[str, Any]:
    records = store.read_records(root)
    if run_id:
        return past.named(records, run_id)
    worked = [record for record in records if record["stages"]]
    if not worked:
        raise UsageError("there is no run to report on", hint="./inv ci makes one")
    return worked[-1]
