# SPDX-License-Identifier: Apache-2.0
"""Everything in one run with one record."""

from __future__ import annotations

from ci.errors import VexciError
from ci.pipeline import artifacts, benching, guests, reporting, validating
from ci.pipeline.choice import Request
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.pipeline.slots import check_slots
from ci.validate import known


def run(session: Session, request: Request, *, require_kvm: bool, skip_bench: bool, cold: bool, slots: int) -> None:
    """Build, verify, image, VM, deploy, validate, bench; then the report, also of a run that failed.

    What follows a failure is not run, and is recorded as such with the reason.
    """
    failure: VexciError | None = None
    try:
        _stages(session, request, require_kvm=require_kvm, skip_bench=skip_bench, cold=cold, slots=slots)
    except VexciError as error:
        failure = error
    if session.working:
        reporting.stage(session, failure)
    if failure is not None:
        raise failure


def _stages(session: Session, request: Request, *, require_kvm: bool, skip_bench: bool, cold: bool, slots: int) -> None:
    check_slots(slots)
    guests.check_request(session, suite=request.suite)
    known.read(session.manifest)  # its mistakes come before anything is built
    artifacts.build(session)
    artifacts.verify(session)
    with Pool(session, require_kvm=require_kvm, kernel=request.kernel, cold=cold, slots=slots) as pool:
        guests.deploy(pool)
        validating.validate(pool, request)
        if skip_bench:
            session.record.skip("bench", "left out on request (--skip-bench)", required=False)
        elif slots == 1:
            benching.bench(session, pool)
    if slots > 1 and not skip_bench:  # what is measured runs alone, on all processors
        with Pool(session, require_kvm=require_kvm, kernel=request.kernel, cold=cold) as pool:
            benching.bench(session, pool)
