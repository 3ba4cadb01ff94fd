# SPDX-License-Identifier: Apache-2.0
"""What the VM and image tasks do for a person: guests that are kept, shells, lists."""

from __future__ import annotations

import sys
from pathlib import Path

from ci import console, images, process
from ci.errors import UsageError
from ci.model import Verdict
from ci.pipeline import artifacts, benching, guests, speed, validating
from ci.pipeline import choice as choices
from ci.pipeline.benching import Choice
from ci.pipeline.choice import Request
from ci.pipeline.dev import NAME as DEV
from ci.pipeline.matrix import Filter
from ci.pipeline.pool import Pool, machine_spec, prepare
from ci.pipeline.session import Session
from ci.pipeline.slots import check_slots
from ci.process import Limits
from ci.reader import nearest
from ci.validate import known
from ci.vm import access, registry
from ci.vm import guest as vm
from ci.vm import prune as snapshots

REPLAYS = "differential"  # the suite that writes reproducers


def deploy(session: Session, guest: str) -> None:
    """Build and verify, then deploy to the running guest of that name."""
    facts = vm.running(guest, session.manifest.root)
    with Pool(session, kept=facts.name) as pool:
        guests.ensure_built(session, pool.spec.kernel)
        guests.deploy(pool)


def validate(
    session: Session,
    *,
    suite: str,
    only: str,
    guest: str,
    require_kvm: bool,
    test: str = "",
    options: str = "",
    seed: str = "",
    replay: str = "",
    kernel: str = "",
    features: str = "",
    cold: bool = False,
    slots: int = 1,
    core: bool = False,
    repeat: int = 1,
) -> None:
    """Build and verify, then run the suites in fresh guests (all with that `kernel`, where one is named), or in the running one of
    that name."""
    settings = _settings(options)
    if seed:
        settings += (("seed", seed),)
    if replay:
        suite = _replayed(suite, replay)
        settings += (("replay", str(Path(replay).absolute())),)
    guests.check_request(session, suite=suite, artifact=only)
    check_slots(slots, guest)
    cases = tuple(name for name in test.split(",") if name)
    if (settings or cases) and (suite in ("", guests.ALL_SUITES) or "," in suite):
        raise UsageError("--test, --seed and --options are for one suite", hint="name it with --suite")
    if guest and kernel:
        raise UsageError(f"--guest and --kernel exclude each other: the guest '{guest}' runs already", hint="leave out one of them")
    if repeat < 1:
        raise UsageError(f"--repeat {repeat}: expected at least 1")
    known.read(session.manifest)  # its mistakes come before anything is built
    choices.check(session.manifest, Request(suite, only, cases, settings))
    with _pool(session, guest, require_kvm, kernel, cold=cold, slots=slots, core=core) as pool:
        request = Request(suite, only, cases, settings, pool.spec.kernel if guest or kernel else "")
        guests.ensure_built(session, ",".join(choices.kernels(session.manifest, request, pool.spec.kernel)), features)
        validating.validate(pool, request, repeat=repeat)


def _replayed(suite: str, replay: str) -> str:
    """The suite of a reproducer, which must be there before anything is built."""
    if suite not in ("", REPLAYS):
        raise UsageError(f"--replay is for the suite {REPLAYS}, not for {suite}", hint="leave out --suite")
    if not Path(replay).is_file():
        raise UsageError(f"--replay {replay}: there is no such file", hint="name a reproducer.json that the suite has written")
    from ci.validate.differential import reproducer

    reproducer.read(Path(replay))
    return REPLAYS


def _settings(text: str) -> tuple[tuple[str, str], ...]:
    """`a=b,c=d` as pairs; UsageError where it is something else."""
    pairs = [word.partition("=") for word in text.split(",") if word]
    for key, equals, value in pairs:
        if not (key and equals and value):
            raise UsageError(f"--options: '{key}{equals}{value}' is no setting", hint="such as --options rounds=50,seed=7")
    return tuple((key, value) for key, _, value in pairs)


def bench(session: Session, choice: Choice, *, guest: str, require_kvm: bool, cold: bool) -> None:
    """Build and verify, then measure: in a fresh guest, in the running one of that name, or on this machine, as the benchmark says."""
    if choice.suite in (speed.SUITE, speed.OVERHEAD):
        if choice != Choice(choice.suite, choice.rounds, choice.quick):
            raise UsageError(f"the benchmark '{choice.suite}' takes --rounds and --quick, and nothing else beside --json")
        (speed.bench if choice.suite == speed.SUITE else speed.harness)(session, rounds=choice.rounds, quick=choice.quick)
        return
    guests.check_request(session, benchmark=choice.suite)
    choice.addresses(session)  # a wrong one is known before anything is built
    if all(spec.place == "host" for spec in choice.benchmarks(session)):
        if session.artifacts is None:
            artifacts.build(session, Filter(daemons=True))
            artifacts.verify(session, daemons=True)
        benching.bench(session, None, choice)
        return
    with _pool(session, guest, require_kvm, cold=cold) as pool:
        guests.ensure_built(session, pool.spec.kernel)
        benching.bench(session, pool, choice)


def _pool(
    session: Session, guest: str, require_kvm: bool, kernel: str = "", *, cold: bool = False, slots: int = 1, core: bool = False
) -> Pool:
    if guest:
        vm.running(guest, session.manifest.root)
    return Pool(session, kept=guest, require_kvm=require_kvm, kernel=kernel, cold=cold, slots=slots, core=core)


def image_build(session: Session, name: str) -> None:
    """Make the images (or the one of that name), and what the default machine boots from."""
    names = [spec.name for spec in session.manifest.images]
    if name and name not in names:
        raise UsageError(f"the image '{name}' is not defined{nearest(name, names)}")
    with session.record.stage("image") as stage, console.group("image"):
        for spec in session.manifest.images:
            if name and spec.name != name:
                continue
            log = session.record.run.file("image", f"{spec.name}.log")
            image = images.build(spec, session.manifest.root, log=log, say=console.note)
            stage.results[image.name] = {"key": image.key, "size": image.size}
            made = f"{image.name} ({image.key[:12]}) {image.distribution}, {image.size >> 20} MiB: {image.disk}"
            console.verdict_line(Verdict.PASS, made)


def image_list(session: Session) -> None:
    """The images of vexci.yaml."""
    rows: list[list[str | Verdict]] = []
    for item in images.listing(session.manifest.images):
        rows.append([item.name, item.state, f"{item.size >> 20} MiB" if item.size else "", item.key[:12]])
    console.table(console.Table("", ("image", "state", "on disk", "key"), list(rows)))


def up(session: Session, *, machine: str, name: str, require_kvm: bool, kernel: str = "", cold: bool = False) -> None:
    """Start a guest that stays, with another `kernel` than its machine's where one is named."""
    spec = machine_spec(session, machine, kernel)
    boot, accelerator = prepare(session, spec, require_kvm=require_kvm)
    with session.record.stage("vm") as stage, console.group("vm"), console.Progress() as progress:
        with progress.item(f"guest {name}") as item:
            facts = vm.up(
                spec,
                boot,
                accelerator=accelerator,
                root=session.manifest.root,
                name=name,
                evidence=session.record.run.path / "guests" / name,
                progress=item.say,
                warm=not cold,
            )
            seconds = item.seconds
        stage.results.update(name=name, restored=facts.restored)
        stage.detail = f"{name} is up on port {facts.port} ({'restored from memory' if facts.restored else 'booted'})"
        console.verdict_line(Verdict.PASS, stage.detail, seconds)
    snapshots.prune(session.manifest.snapshots, say=console.note)
    console.line("next: ./inv deploy, ./inv vm.ssh, ./inv vm.down")


def listing(session: Session) -> None:
    """All guests of this user, also those of other projects."""
    found = registry.listing()
    if not found:
        console.line("no guest is running; './inv vm.up' starts one")
        return
    rows: list[list[str | Verdict]] = []
    for facts in found:
        state = "running" if facts.alive else "ended"
        where = "this project" if facts.project == str(session.manifest.root) else facts.project
        kept = "kept" if facts.kept else "for one run"
        rows.append([facts.name, state, kept, facts.image, facts.kernel, facts.accelerator, str(facts.port), facts.started, where])
    columns = ("name", "state", "stays", "image", "kernel", "accelerator", "port", "started", "project")
    console.table(console.Table("", columns, list(rows)))


def ssh(session: Session, name: str, command: list[str]) -> None:
    """A shell, or a command, in the guest; its exit code becomes ours. Without a name: `default`, or else that of `./inv dev`."""
    root = session.manifest.root
    if not name:
        name = DEV if registry.find("default", root) is None and registry.find_running(DEV, root) else "default"
    argv = access.ssh_argv(name, session.manifest.root, command)
    returncode = process.attached(argv, limits=Limits(None), cwd=session.manifest.root)
    if returncode:
        sys.exit(returncode)


def console_of(session: Session, name: str) -> None:
    """The serial console."""
    access.attach_console(vm.running(name, session.manifest.root))


def down(session: Session, name: str, *, everything: bool) -> None:
    """Take down the guest of that name, or every kept guest of this project."""
    root = session.manifest.root
    mine = [facts.name for facts in registry.listing() if facts.kept and facts.project == str(root)]
    for each in mine if everything else [name]:
        vm.down(each, root)
        console.verdict_line(Verdict.PASS, f"{each} is down")
    if everything and not mine:
        console.line("no guest is running")


def prune(session: Session, *, everything: bool) -> None:
    """Remove memory snapshots that are over the limits, or all; then say what is left."""
    freed = snapshots.prune(session.manifest.snapshots, everything=everything, say=console.line)
    left = snapshots.listing()
    size = sum(kept.size for kept in left) >> 20
    limits = session.manifest.snapshots
    console.verdict_line(Verdict.PASS, f"{freed >> 20} MiB are free again; {len(left)} memory snapshots stay, {size} MiB")
    console.line(f"limits: {limits.size} MiB, {limits.age:g} days without use ('snapshots:' in vexci.yaml)")
