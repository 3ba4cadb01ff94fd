# SPDX-License-Identifier: Apache-2.0
"""Tasks about what was run: report, runs, clean."""

from __future__ import annotations

from invoke.context import Context

from ci.tasks.base import session, task


@task(
    help={
        "run-id": "The run to report on; the newest with results where none is given.",
        "executive": "Also write the summary on one page, as HTML and PDF; refused where results are missing, stale or unequal.",
        "compare": "Judge two runs beside each other: --compare RUN1 RUN2.",
        "site": "Write a static site about all recorded runs into this folder: states, trends, flaky tests, when failures appeared.",
        "records": "With --site, also the records below these folders (a,b).",
        "newest": "With --site, only the newest so many runs; 0 for all.",
        "merge": "Join the records below these folders (a,b), those of ci.matrix's cells, into one with one verdict.",
    },
    iterable=("compare",),
)
def report(
    ctx: Context,
    run_id: str = "",
    executive: bool = False,
    compare: list[str] | None = None,
    merge: str = "",
    site: str = "",
    records: str = "",
    newest: int = 0,
) -> None:
    """Write summary.md, report.html and the numbers as CSV and JSON from a run's record; nothing is run again."""
    from ci.errors import UsageError
    from ci.pipeline import farm, past, reporting

    for name, value in (("merge", merge), ("site", site)):
        if value and (run_id or executive or compare or (merge and site)):
            raise UsageError(
                f"report --{name} stands alone", hint="leave out --run-id, --executive, --compare and the other one of --merge and --site"
            )
    if (records or newest) and not site:
        raise UsageError("report --records and --newest go with --site DIR", hint="--merge names the folders that it joins itself")
    if site:
        past.make_site(session(), site, records, newest)
        return
    if merge:
        farm.merge(session(), merge)
        return
    reporting.report(session(), run_id, executive=executive, compare=compare or ())


@task(
    help={
        "last": "How many runs to show; 0 for all.",
        "command": "Only runs whose command has this text.",
        "verdict": "Only runs with this verdict (a,b).",
        "kernel": "Only runs with results for this kernel, a name or a release (a,b; 6.12*).",
        "suite": "Only runs with results of this suite or benchmark (a,b).",
        "since": "Only runs begun since then: an age (12h, 3d), a day or a time (UTC).",
        "compare": "Show everything that differs between two runs: --compare RUN1 RUN2.",
    },
    iterable=("compare",),
)
def runs(
    ctx: Context,
    last: int = 20,
    command: str = "",
    verdict: str = "",
    kernel: str = "",
    suite: str = "",
    since: str = "",
    compare: list[str] | None = None,
) -> None:
    """List the recorded runs with their verdicts, or compare two of them."""
    from ci.pipeline import past
    from ci.report.selection import selection

    if compare:
        past.compare(session(), compare)
        return
    past.runs(session(), last, selection(command=command, verdict=verdict, kernel=kernel, suite=suite, since=since))


@task(help={"runs": "Also remove all run records.", "cache": "Also remove the cache: images, kernels, answers about this machine."})
def clean(ctx: Context, runs: bool = False, cache: bool = False) -> None:
    """Remove what builds have made; records and the cache stay unless asked for."""
    from ci.pipeline import machine

    machine.clean(session(), runs=runs, cache=cache)
