# SPDX-License-Identifier: Apache-2.0
"""Tasks about what was run: report, runs, clean."""

from __future__ import annotations

from invoke.context import Context
from invoke.exceptions import Exit

from ci.tasks.base import session, task


@task(
    help={
        "run-id": "The run to report on; the newest with results where none is given.",
        "executive": "Also write the summary on one page, as HTML and PDF; refused where results are missing, stale or unequal.",
        "compare": "Judge two runs beside each other: --compare RUN1 RUN2.",
        "merge": "Join the records below these folders (a,b), those of ci.matrix's cells, into one with one verdict.",
    },
    iterable=("compare",),
)
def report(ctx: Context, run_id: str = "", executive: bool = False, compare: list[str] | None = None, merge: str = "") -> None:
    """Write summary.md, report.html and the numbers as CSV and JSON from a run's record; nothing is run again."""
    from ci.pipeline import farm, reporting

    if merge:
        if run_id or executive or compare:
            raise Exit("report --merge stands alone: leave out --run-id, --executive and --compare", code=2)
        farm.merge(session(), merge)
        return
    reporting.report(session(), run_id, executive=executive, compare=compare or ())


@task(help={"last": "How many runs to show."})
def runs(ctx: Context, last: int = 20) -> None:
    """List the recorded runs with their verdicts."""
    from ci.pipeline import machine

    machine.runs(session(), last)


@task(help={"runs": "Also remove all run records.", "cache": "Also remove the cache: images, kernels, answers about this machine."})
def clean(ctx: Context, runs: bool = False, cache: bool = False) -> None:
    """Remove what builds have made; records and the cache stay unless asked for."""
    from ci.pipeline import machine

    machine.clean(session(), runs=runs, cache=cache)
