# SPDX-License-Identifier: Apache-2.0
"""The collection `ci`: everything in one run, and the matrix that divides it among machines."""

from __future__ import annotations

from invoke.context import Context

from ci.tasks.base import COLD, JSON, KVM, SLOTS, session, task


@task(
    name="run",
    help={
        **KVM,
        "skip-bench": "Leave out the benchmarks.",
        "suite": "Run just these suites of vexci.yaml (a,b).",
        "kernel": "Boot this kernel of vexci.yaml for all of them.",
        **COLD,
        **SLOTS,
        **JSON,
    },
)
def ci(
    ctx: Context,
    require_kvm: bool = False,
    skip_bench: bool = False,
    suite: str = "",
    kernel: str = "",
    cold: bool = False,
    slots: int = 1,
    json: bool = False,
) -> None:
    """Do everything in one run: build, verify, image, VM, deploy, validate, bench, report."""
    from ci.pipeline import whole
    from ci.pipeline.choice import Request

    whole.run(session(), Request(suite, kernel=kernel), require_kvm=require_kvm, skip_bench=skip_bench, cold=cold, slots=slots)


@task(
    name="matrix",
    help={
        "kernel": "Only these kernels (a,b); 'all' also those on request.",
        "suite": "Only these suites (a,b); 'all' also those on request.",
        "shards": "Divide each suite into up to so many cells.",
        "changed-since": "Leave out the cells that no file changed since this revision concerns; says which and why.",
        "fresh": "Give each suite that has a seed one that was never tried.",
        **JSON,
    },
)
def ci_matrix(
    ctx: Context,
    kernel: str = "",
    suite: str = "",
    shards: int = 1,
    changed_since: str = "",
    fresh: bool = False,
    json: bool = False,
) -> None:
    """Print the cells that a farm is to run, as JSON for GitHub's strategy.matrix; report --merge joins their records."""
    from ci.pipeline import farm

    farm.matrix(session(), kernel=kernel, suite=suite, shards=shards, changed_since=changed_since, fresh=fresh)


@task(
    name="farm",
    help={
        "kernel": "Only these kernels (a,b); 'all' also those on request.",
        "suite": "Only these suites (a,b); 'all' also those on request.",
        "shards": "Divide each suite into up to so many cells.",
        "changed-since": "Leave out the cells that no file changed since this revision concerns; says which and why.",
        "fresh": "Give each suite that has a seed one that was never tried.",
        "machine": "Only on these machines of vexci.yaml that have slots (a,b).",
        **JSON,
    },
)
def ci_farm(
    ctx: Context,
    kernel: str = "",
    suite: str = "",
    shards: int = 1,
    changed_since: str = "",
    fresh: bool = False,
    machine: str = "",
    json: bool = False,
) -> None:
    """Run the cells of ci.matrix on all machines of vexci.yaml that have slots, and merge their records into one verdict."""
    from ci.pipeline import spread

    spread.run(session(), kernel=kernel, suite=suite, shards=shards, changed_since=changed_since, fresh=fresh, machine=machine)


@task(
    name="cost",
    help={
        "kernels": "How many kernels the matrix has.",
        "machines": "On how many machines (a,b), each with one cell at a time.",
        "records": "Take the records below these folders (a,b) instead of this project's.",
        "since": "Only runs begun since then: an age (12h, 3d), a day or a time (UTC).",
    },
)
def ci_cost(ctx: Context, kernels: int = 20, machines: str = "1,4,32", records: str = "", since: str = "") -> None:
    """Say what each cell cost in recorded runs, and what a matrix of them takes on so many machines."""
    from ci.pipeline import costing
    from ci.report.selection import selection

    begun = selection(command="", verdict="", kernel="", suite="", since=since).since
    costing.show(session(), kernels=kernels, machines=machines, places=records, since=begun)
