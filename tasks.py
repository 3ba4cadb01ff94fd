# SPDX-License-Identifier: Apache-2.0
"""The tasks of vexci: flags in, the pipeline called, errors mapped to exit codes; nothing else.

Imports of ci happen inside the tasks, so that `./inv --list` stays as quick as Invoke itself.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

if TYPE_CHECKING:
    from ci.pipeline.session import Session

CI_STAGES = ("build", "verify", "image", "vm", "deploy", "validate", "bench", "report")
STAGES = ("build", "verify", "deploy", "validate", "bench", "report", "test", "lint")


def _with_defaults(body: Callable[..., None], texts: dict[str, str]) -> dict[str, str]:
    """The flags' help, each with its default where it has one: Invoke itself does not show it."""
    shown = {}
    for name, parameter in inspect.signature(body).parameters.items():
        text = texts.get(name.replace("_", "-"))
        if text is not None:
            default = {False: "off", "": "", None: ""}.get(parameter.default, str(parameter.default))
            shown[name.replace("_", "-")] = f"{text} [default: {default}]" if default else text
    return shown


def _task(
    name: str | None = None, help: dict[str, str] | None = None, optional: tuple[str, ...] = (), iterable: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Task[Any]]:
    """A task with its flags explained, whose errors become messages and exit codes."""

    def decorate(body: Callable[..., None]) -> Task[Any]:
        made: Task[Any] = task(name=name, help=_with_defaults(body, help or {}), optional=optional, iterable=iterable)(
            _errors_to_exit_codes(body)
        )
        return made

    return decorate


def _requested() -> list[str]:
    """The stages that the command line asks for, in its order; `ci` stands for all of its stages."""
    found: list[str] = []
    for word in sys.argv[1:]:
        if word == "--":
            break
        found += (
            CI_STAGES
            if word in ("ci", "ci.run")
            else ["matrix"]
            if word == "ci.matrix"
            else ["release"]
            if word in ("release", "release.make")
            else [word]
            if word in STAGES
            else []
        )
    return found


@functools.lru_cache(maxsize=1)
def _session() -> Session:
    from ci.pipeline.session import Session

    session = Session(_requested())
    atexit.register(session.finish)
    session.begin()
    return session


def _errors_to_exit_codes(body: Callable[..., None]) -> Callable[..., None]:
    """Run a task's body in the session of this invocation; whatever it raises becomes a message and an exit code."""

    @functools.wraps(body)
    def wrapped(ctx: Context, *args: Any, **kwargs: Any) -> None:
        from ci import console

        if kwargs.get("json"):
            console.send_to_stderr()
        session = None
        try:
            session = _session()
            session.json = session.json or bool(kwargs.get("json"))
            body(ctx, *args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            if session is None:
                raise
            raise Exit(code=session.fail(error)) from None

    return wrapped


_KVM = {"require-kvm": "Fail instead of emulating where KVM does not work."}
_COLD = {"cold": "Boot guests instead of restoring them from a memory snapshot."}
_SLOTS = {"slots": "How many guests run suites at the same time."}
_KERNEL = {"kernel": "Boot this kernel of vexci.yaml instead of the machine's, and of those that suites name."}
_JSON = {"json": "Print the run record to standard output, and nothing else there."}


_FEATURES = {"features": "Feature sets of vexci.yaml to build (a,b or 'all'); an artifact that has none of them is built as always."}


@_task(
    help={
        "only": "Build just this artifact of vexci.yaml (or a,b).",
        "kernel": "Build modules just for this kernel of vexci.yaml (a,b or 'all').",
        "toolchain": "Build modules with this compiler (gcc, clang, or 'all').",
        **_FEATURES,
        "twice": "Also build each from nothing in two other folders, and compare the bytes (slow).",
        **_JSON,
    }
)
def build(
    ctx: Context, only: str = "", kernel: str = "", features: str = "", toolchain: str = "", twice: bool = False, json: bool = False
) -> None:
    """Build the kernel module (for each kernel) and the daemon, with the right features."""
    from ci.pipeline import artifacts
    from ci.pipeline.matrix import Filter

    artifacts.build(_session(), Filter(only, kernel, features, toolchain), twice=twice)


@_task(
    help={
        "explain": "Say what the check with this id means (such as V1), or list them all; nothing is verified.",
        "release": "Judge as for a release: the tree must be clean, and what was built must be from its commit.",
        **_JSON,
    },
    optional=("explain",),
)
def verify(ctx: Context, explain: str = "", release: bool = False, json: bool = False) -> None:
    """Check that what was built is what it claims to be: kind, freshness, license, symbols, code, versions, features."""
    from ci.pipeline import artifacts

    if explain:
        artifacts.explain(str(explain) if isinstance(explain, str) else "list")
        return
    _session().release = release
    artifacts.verify(_session())


@_task(
    name="run",
    help={
        **_KVM,
        "skip-bench": "Leave out the benchmarks.",
        "suite": "Run just these suites of vexci.yaml (a,b).",
        "kernel": "Boot this kernel of vexci.yaml for all of them.",
        **_COLD,
        **_SLOTS,
        **_JSON,
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

    whole.run(_session(), Request(suite, kernel=kernel), require_kvm=require_kvm, skip_bench=skip_bench, cold=cold, slots=slots)


@_task(
    name="matrix",
    help={
        "kernel": "Only these kernels (a,b); 'all' also those on request.",
        "suite": "Only these suites (a,b); 'all' also those on request.",
        "shards": "Divide each suite into up to so many cells.",
        "changed-since": "Leave out the cells that no file changed since this revision concerns; says which and why.",
        "fresh": "Give each suite that has a seed one that was never tried.",
        **_JSON,
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

    farm.matrix(_session(), kernel=kernel, suite=suite, shards=shards, changed_since=changed_since, fresh=fresh)


@_task(help={"fetch": "Download or build this kernel of vexci.yaml now (a,b or 'all'), a newer one where there is one."})
def kernels(ctx: Context, fetch: str = "") -> None:
    """List the kernels of vexci.yaml: known, downloaded, installed or built, with their sizes and places."""
    from ci.pipeline import targets

    targets.show(_session(), fetch=fetch)


@_task(help={"fix": "Run the commands that fix what is missing."})
def doctor(ctx: Context, fix: bool = False) -> None:
    """Show what this machine can do, what is missing, and the exact command that fixes it."""
    from ci.pipeline import machine

    machine.doctor(_session(), fix=fix)


@_task(help={"guest": "The running guest to deploy to, as vm.list shows it.", **_JSON})
def deploy(ctx: Context, guest: str = "default", json: bool = False) -> None:
    """Put the built artifacts into a running guest (see vm.up) and prove that what runs is what was built."""
    from ci.pipeline import person

    person.deploy(_session(), guest)


@_task(
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
        **_KERNEL,
        **_FEATURES,
        **_KVM,
        "core": "Where the guest hangs, keep its memory, too (a file of about its size).",
        **_COLD,
        **_SLOTS,
        **_JSON,
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
        farm.validate(_session(), cell, beside=any(beside), require_kvm=require_kvm, cold=cold, slots=slots)
        return
    person.validate(
        _session(),
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


@_task(
    help={
        "suite": "Run just this benchmark of vexci.yaml, or 'tool' for the tool's own speed.",
        "rounds": "Rounds to measure, in place of vexci.yaml's number.",
        "quick": "Small workloads: about a minute on this machine; of the tool's own speed what needs no guest.",
        "control": "Also measure a slowed copy of the first system, which must show up as slower.",
        "save": "Keep the numbers as the baseline of this name.",
        "against": "Judge the numbers against the baseline of this name: a regression fails the run.",
        "guest": "Use this running guest (see vm.up) instead of a fresh one.",
        **_KVM,
        **_COLD,
        **_JSON,
    }
)
def bench(
    ctx: Context,
    suite: str = "",
    rounds: int = 0,
    quick: bool = False,
    control: bool = False,
    save: str = "",
    against: str = "",
    guest: str = "",
    require_kvm: bool = False,
    cold: bool = False,
    json: bool = False,
) -> None:
    """Measure the artifacts beside each other and beside references, in interleaved rounds, in a guest or on this machine."""
    from ci.pipeline import person
    from ci.pipeline.benching import Choice

    person.bench(_session(), Choice(suite, rounds, quick, control, save, against), guest=guest, require_kvm=require_kvm, cold=cold)


@_task(
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
        farm.merge(_session(), merge)
        return
    reporting.report(_session(), run_id, executive=executive, compare=compare or ())


@_task(
    name="make",
    help={
        "version": "The version to release, as vexci.yaml has it (1.2.3).",
        "records": "Folders with the records of its tests (a,b); this project's own where none are named.",
        "key": "Sign with this minisign secret key file.",
        "gpg-key": "Sign with this key of gpg.",
        "output": "The folder to make; dist/PROJECT-VERSION where none is named.",
        "prebuilt": "Also put the built modules in, one for each kernel.",
        **_JSON,
    },
)
def release(
    ctx: Context,
    version: str = "",
    records: str = "",
    key: str = "",
    gpg_key: str = "",
    output: str = "",
    prebuilt: bool = False,
    json: bool = False,
) -> None:
    """Make source tarballs, packages, and the papers that prove them, of a clean, tagged and tested commit; or say why not."""
    from ci.pipeline import releasing
    from ci.release.papers import Key

    releasing.release(_session(), releasing.Wanted(version, Key(key, gpg_key), records, output, prebuilt))


@_task(
    name="verify",
    help={
        "folder": "The folder with the downloaded files.",
        "public-key": "The public key file (minisign) that it must be signed with.",
        "keyring": "The keyring file (gpg) with the key that it must be signed with.",
        "unsigned": "Do not look at the signature.",
    },
)
def release_verify(ctx: Context, folder: str, public_key: str = "", keyring: str = "", unsigned: bool = False) -> None:
    """Check a downloaded release: hashes, signature, provenance, bills of materials, and what the packages hold."""
    from ci.pipeline import releasing

    releasing.verify(folder, public=public_key, keyring=keyring, unsigned=unsigned)


@_task(help={"last": "How many runs to show."})
def runs(ctx: Context, last: int = 20) -> None:
    """List the recorded runs with their verdicts."""
    from ci.pipeline import machine

    machine.runs(_session(), last)


@_task(help={"runs": "Also remove all run records.", "cache": "Also remove the cache: images, kernels, answers about this machine."})
def clean(ctx: Context, runs: bool = False, cache: bool = False) -> None:
    """Remove what builds have made; records and the cache stay unless asked for."""
    from ci.pipeline import machine

    machine.clean(_session(), runs=runs, cache=cache)


@_task(
    help={
        "quick": "Only what needs no VM: at most 90 seconds.",
        "fresh": "Also prove the two commands in a fresh Debian root (slow, needs root).",
        "soak": "Only the long tests that neither a developer nor CI waits for; --only narrows them.",
        "only": "Only the tests whose names match this pytest expression.",
    }
)
def test(ctx: Context, quick: bool = False, fresh: bool = False, soak: bool = False, only: str = "") -> None:
    """Run the project's own linters and tests; says what it did not run and why."""
    from ci.pipeline import selftest

    selftest.run(_session(), quick=quick, fresh=fresh, soak=soak, only=only)


@_task()
def lint(ctx: Context) -> None:
    """Run the linters: ruff, mypy, rustfmt, clippy, W=1, sparse and checkpatch."""
    from ci.pipeline import selftest

    selftest.lint(_session())


@_task(name="build", help={"name": "Only this image of vexci.yaml."})
def image_build(ctx: Context, name: str = "") -> None:
    """Make the guest images that are missing or whose definition changed."""
    from ci.pipeline import person

    person.image_build(_session(), name)


@_task(name="list")
def image_list(ctx: Context) -> None:
    """List the guest images with their state and size."""
    from ci.pipeline import person

    person.image_list(_session())


_GUEST = {"name": "The guest's name."}


@_task(name="up", help={"machine": "A machine of vexci.yaml.", **_KERNEL, **_KVM, **_COLD, **_GUEST})
def vm_up(
    ctx: Context, machine: str = "default", name: str = "default", kernel: str = "", require_kvm: bool = False, cold: bool = False
) -> None:
    """Start a guest that stays until vm.down."""
    from ci.pipeline import person

    person.up(_session(), machine=machine, name=name, require_kvm=require_kvm, kernel=kernel, cold=cold)


@_task(name="list")
def vm_list(ctx: Context) -> None:
    """List the running guests."""
    from ci.pipeline import person

    person.listing(_session())


@_task(name="ssh", help={"name": "The guest's name; without one 'default', or else the guest of ./inv dev."})
def vm_ssh(ctx: Context, name: str = "") -> None:
    """Open a shell in a guest, or run what follows `--` there."""
    from ci.pipeline import person

    command = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    person.ssh(_session(), name, command)


@_task(name="console", help=_GUEST)
def vm_console(ctx: Context, name: str = "default") -> None:
    """Attach to a guest's serial console (leave with Ctrl-])."""
    from ci.pipeline import person

    person.console_of(_session(), name)


@_task(name="down", help={"all": "Every guest of this user.", **_GUEST})
def vm_down(ctx: Context, name: str = "default", all: bool = False) -> None:
    """Stop a guest and remove its disk."""
    from ci.pipeline import person

    person.down(_session(), name, everything=all)


@_task(
    help={
        **_KVM,
        **_SLOTS,
        "rounds": "End after so many rounds (0: at Ctrl-C).",
    }
)
def dev(ctx: Context, require_kvm: bool = False, slots: int = 1, rounds: int = 0) -> None:
    """Watch the sources: on each save build, verify, restore a guest, deploy and run the suites of what changed."""
    from ci.pipeline import dev as loop

    loop.run(_session(), require_kvm=require_kvm, slots=slots, rounds=rounds)


@_task(name="prune", help={"all": "Remove every memory snapshot."})
def vm_prune(ctx: Context, all: bool = False) -> None:
    """Remove memory snapshots that are over the limits of vexci.yaml (each start of a guest does so, too)."""
    from ci.pipeline import person

    person.prune(_session(), everything=all)


def _collection(name: str, default: Task[Any], *others: Task[Any]) -> Collection:
    """Tasks of one name, of which the first is called by that name alone."""
    made = Collection(name, *others)
    made.add_task(default, default=True)
    return made


ns = Collection(build, verify, kernels, dev, doctor, deploy, validate, bench, report, runs, clean, test, lint)
ns.add_collection(_collection("ci", ci, ci_matrix))
ns.add_collection(_collection("release", release, release_verify))
ns.add_collection(Collection("image", image_build, image_list))
ns.add_collection(Collection("vm", vm_up, vm_list, vm_ssh, vm_console, vm_down, vm_prune))
