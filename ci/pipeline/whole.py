# SPDX-License-Identifier: Apache-2.0
"""Everything in one run with one record, and the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ci import console, store
from ci.errors import UsageError, VexciError
from ci.model import Verdict
from ci.pipeline import artifacts, benching, guests
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.pipeline.slots import check_slots


def run(session: Session, *, require_kvm: bool, skip_bench: bool, cold: bool, slots: int) -> None:
    """Build, verify, image, VM, deploy, validate, bench; then the report, also of a run that failed.

    What follows a failure is not run, and is recorded as such with the reason.
    """
    failure: VexciError | None = None
    try:
        _stages(session, require_kvm=require_kvm, skip_bench=skip_bench, cold=cold, slots=slots)
    except VexciError as error:
        failure = error
    if session.working:
        _report_stage(session, failure)
    if failure is not None:
        raise failure


def _stages(session: Session, *, require_kvm: bool, skip_bench: bool, cold: bool, slots: int) -> None:
    check_slots(slots)
    artifacts.build(session)
    artifacts.verify(session)
    with Pool(session, require_kvm=require_kvm, cold=cold, slots=slots) as pool:
        guests.deploy(pool)
        guests.validate(pool)
        if skip_bench:
            session.record.skip("bench", "left out on request (--skip-bench)", required=False)
        elif slots == 1:
            benching.bench(session, pool)
    if slots > 1 and not skip_bench:  # what is measured runs alone, on all processors
        with Pool(session, require_kvm=require_kvm, cold=cold) as pool:
            benching.bench(session, pool)


def _report_stage(session: Session, failure: VexciError | None) -> None:
    from ci import report as reports

    record = session.record
    reached = [name for name in session.requested if name != "report"]
    for name in reached:
        if record.verdict_of(name) is None and failure is not None:
            record.skip(name, f"not reached: {failure}")
    with record.stage("report") as stage, console.group("report"):
        content = record.preview(failure.verdict if failure else None, str(failure) if failure else "")
        for path in reports.write(content, record.run.path, store.read_records(session.manifest.root)):
            stage.evidence.append(record.run.evidence("report", path))
            console.line(f"wrote {path.relative_to(session.manifest.root)}")
        stage.detail = "summary.md and report.html"


def report(session: Session, run_id: str) -> None:
    """Write the report of a recorded run into its folder: the named one, or the newest that has stages."""
    from ci import report as reports

    root = session.manifest.root
    record = _chosen(root, run_id)
    for path in reports.write(record, root / store.RUNS_FOLDER / str(record["id"]), store.read_records(root)):
        console.line(f"wrote {path.relative_to(root)}")
    console.verdict_line(Verdict(record["verdict"]), f"is the verdict of the run {record['id']}: {record['command']}")


def _chosen(root: Path, run_id: str) -> dict[str, Any]:
    records = store.read_records(root)
    if run_id:
        named = [record for record in records if record["id"] == run_id or record["id"].endswith(run_id)]
        if len(named) != 1:
            problem = "matches several runs" if named else "is no recorded run"
            raise UsageError(f"'{run_id}' {problem}", hint="./inv runs lists them")
        return named[0]
    worked = [record for record in records if record["stages"]]
    if not worked:
        raise UsageError("there is no run to report on", hint="./inv ci makes one")
    return worked[-1]
