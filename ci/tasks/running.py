# SPDX-License-Identifier: Apache-2.0
"""Tasks that run what was built, in guests or here: deploy, validate, bisect, bench, dev."""

from __future__ import annotations

from invoke.context import Context

from ci.tasks.base import COLD, FEATURES, JSON, KERNEL, KVM, SLOTS, session, task


@task(help={"guest": "The running guest to deploy to, as vm.list shows it.", **JSON})
def deploy(ctx: Context, guest: str = "default", json: bool = False) -> None:
    """Put the built artifacts into a running guest (see vm.up) and prove that what runs is what was built."""
    from ci.pipeline import person

    person.deploy(session(), guest)


@task(
    help={
        "suite": "Run just this suite of vexci.yaml (or a,b); 'all' also runs those on request.",
        "only": "Validate just this artifact.",
        "test": "Just these cases of the suite (a,b); a crash suite's number may be any: recorded-118.",
        "options": "Settings of the suite in place of vexci.yaml's (rounds=50,seed=7).",
        "seed": "The suite's seed: a number, or 'fresh' for one that was never tried (differential).",
        "repeat": "Run all of it so many times: how often each case fails, with a confidence interval.",
        "replay": "Run just the sequence of this reproducer of the suite differential.",
        "guest": "Use this running guest (see vm.up) instead of a fresh one.",
        "cell": "Run this cell of ci.matrix, and nothing else.",
        **KERNEL,
        **FEATURES,
        **KVM,
        "core": "Where the guest hangs, keep its memory, too (a file of about its size).",
        **COLD,
        **SLOTS,
        **JSON,
    }
)
def validate(
    ctx: Context,
    suite: str = "",
    only: str = "",
    test: str = "",
    options: str = "",
    seed: str = "",
    replay: str = "",
    guest: str = "",
    kernel: str = "",
    features: str = "",
    require_kvm: bool = False,
    cold: bool = False,
    slots: int = 1,
    core: bool = False,
    repeat: int = 1,
    cell: str = "",
    json: bool = False,
) -> None:
    """Build, verify, and run the validation suites in a disposable guest."""
    from ci.pipeline import farm, person

    if cell:
        beside = (suite, only, test, options, seed, replay, guest, kernel, features)
        farm.validate(session(), cell, beside=any(beside), require_kvm=require_kvm, cold=cold, slots=slots)
        return
    person.validate(
        session(),
        suite=suite,
        only=only,
        test=test,
        options=options,
        seed=seed,
        replay=replay,
        guest=guest,
        require_kvm=require_kvm,
        kernel=kernel,
        features=features,
        cold=cold,
        slots=slots,
        core=core,
        repeat=repeat,
    )


@task(
    help={
        "good": "A commit (branch, tag, hash) at which the suite passes.",
        "bad": "A later one at which it does not.",
        "suite": "The suite of vexci.yaml that tells them apart.",
        "test": "Just these cases of it (a,b); its listed failures count, too.",
        "only": "On just this artifact.",
        "kernel": "Boot this kernel of vexci.yaml instead of those that the suite names.",
        "options": "Settings of the suite in place of vexci.yaml's (seed=7).",
        "repeat": "Ask each commit so many times; one failure makes it bad.",
        **JSON,
    }
)
def bisect(
    ctx: Context,
    good: str = "",
    bad: str = "",
    suite: str = "",
    test: str = "",
    only: str = "",
    kernel: str = "",
    options: str = "",
    repeat: int = 1,
    json: bool = False,
) -> None:
    """Find the commit that broke a suite: each is built in a worktree of its own and tried in a fresh guest."""
    from ci.pipeline import bisecting

    bisecting.run(session(), bisecting.Question(suite, test, only, kernel, options, repeat), good=good, bad=bad)


@task(
    help={
        "suite": "Run just this benchmark of vexci.yaml; 'tool' is the tool's own speed, 'overhead' what its harness costs.",
        "workload": "Measure just this workload of it (or a,b); one that is named runs with --quick, too.",
        "system": "Measure just this system of it (or a,b).",
        "rounds": "Rounds to measure, in place of vexci.yaml's number.",
        "quick": "Small workloads, about a minute of measuring; of the tool's own speed what needs no guest.",
        "control": "Also measure a slowed copy of the first system, which must show up as slower.",
        "save": "Keep the numbers as the baseline of this name.",
        "against": "Judge the numbers against the baseline of this name: a regression fails the run.",
        "follow": "Both, run after run: judge by this baseline where it was measured alike, and keep the numbers as the next.",
        "server": "Measure a server that runs already: --server qdrant-server=http://127.0.0.1:6333.",
        "guest": "Use this running guest (see vm.up) instead of a fresh one.",
        **KVM,
        **COLD,
        **JSON,
    },
    iterable=("server",),
)
def bench(
    ctx: Context,
    suite: str = "",
    workload: str = "",
    system: str = "",
    rounds: int = 0,
    quick: bool = False,
    control: bool = False,
    save: str = "",
    against: str = "",
    follow: str = "",
    server: list[str] | None = None,
    guest: str = "",
    require_kvm: bool = False,
    cold: bool = False,
    json: bool = False,
) -> None:
    """Measure the artifacts beside each other and beside references, in interleaved rounds, in a guest or on this machine."""
    from ci.pipeline import person
    from ci.pipeline.benching import Choice

    names = (tuple(filter(None, given.split(","))) for given in (workload, system))
    choice = Choice(suite, rounds, quick, control, save, against, follow, tuple(server or ()), *names)
    person.bench(session(), choice, guest=guest, require_kvm=require_kvm, cold=cold)


@task(
    help={
        **KVM,
        **SLOTS,
        "rounds": "End after so many rounds (0: at Ctrl-C).",
    }
)
def dev(ctx: Context, require_kvm: bool = False, slots: int = 1, rounds: int = 0) -> None:
    """Watch the sources: on each save build, verify, restore a guest, deploy and run the suites of what changed."""
    from ci.pipeline import dev as loop

    loop.run(session(), require_kvm=require_kvm, slots=slots, rounds=rounds)
