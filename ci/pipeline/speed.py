# SPDX-License-Identifier: Apache-2.0
"""`./inv bench --suite tool`: how fast the tool itself is, beside the plain commands that it stands for; `--suite overhead`: what its
harness takes away from a program that is measured."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ci import build, console, errors, kernels
from ci import deploy as deployer
from ci import validate as suites
from ci.bench import available, cycles, editing, extras, machines, overhead, tool
from ci.bench.editing import Edit
from ci.errors import InfrastructureError, UsageError
from ci.images import modules
from ci.manifest import MachineSpec, SuiteSpec
from ci.model import Accelerator, KernelTarget, Series, worst
from ci.pipeline import artifacts, benching
from ci.pipeline.guests import for_guest
from ci.pipeline.measuring import measuring
from ci.pipeline.pool import machine_spec, prepare
from ci.pipeline.session import Session
from ci.record import Stage
from ci.samples import LEAST_SAMPLES
from ci.vm.boot import Boot
from ci.vm.machine import Machine

SUITE = "tool"
OVERHEAD = "overhead"
DEFAULT_ROUNDS = 5
_UDEV = ("/lib/systemd/systemd-udevd", "/usr/lib/systemd/systemd-udevd", "/sbin/udevd")


def bench(session: Session, *, rounds: int, quick: bool = False) -> None:
    """Time the list of tasks, a build with nothing to do, verification, guests cold and restored, files into them, a hundred guests in a
    row, slots, and the way from a save to the verdict, in interleaved rounds.

    `quick` leaves out everything that needs a guest.
    """
    artifacts.build(session)  # so that the timed builds have nothing to do
    artifacts.verify(session)  # and the static checkers' answers are remembered
    spec = machine_spec(session)
    guests = None if quick else prepare(session, spec, require_kvm=False)
    with session.record.stage("bench") as stage, console.group("bench"), tempfile.TemporaryDirectory(prefix="vexci-bench-") as scratch:
        root = session.manifest.root
        count = rounds or DEFAULT_ROUNDS
        run = session.record.run
        measures = [
            tool.plain_list(root, Path(sys.executable).with_name("invoke"), Path(scratch)),
            tool.no_op_build(root, _plain_builds(session)),
            tool.verification(root),
            *(_with_guests(session, guests[1], Path(scratch)) if guests else []),
        ]
        with measuring("the tool itself") as say:
            measured = machines.measure(spec, *guests, root=root, run=run, rounds=count, progress=say) if guests else []
            measured += _cycles(session, spec, guests, say) if guests else []
            measured += tool.measure(measures, rounds=count, run=run, progress=say)
            measured += _each_verified(session, stage, count)
            if guests:
                measured += editing.measure(root, Path(scratch), _edits(session), rounds=count, run=run, progress=say)
        stage.results["series"] = measured
        benching.show_series(measured)
        failed = [series for series in measured if series.failure]
        stage.detail = f"{len(measured) - len(failed)} of {len(measured)} series measured"
        if failed:
            raise errors.of(worst([series.verdict for series in measured]), f"{failed[0].workload}: {failed[0].failure}")


def harness(session: Session, *, rounds: int, quick: bool = False) -> None:
    """fio through the tool beside fio by hand; fails where the harness is shown to take more than its bound."""
    available.require_fio(OVERHEAD)
    count = rounds or (overhead.QUICK_ROUNDS if quick else overhead.ROUNDS)
    if count < LEAST_SAMPLES:
        raise UsageError(f"--rounds {count}: fewer than {LEAST_SAMPLES} support no finding")
    with session.record.stage("bench") as stage, console.group("bench"):
        with measuring("the harness") as say:
            measured, found = overhead.measure(session.record.run, rounds=count, quick=quick, progress=say)
        stage.results["series"] = measured
        benching.show_series(measured)
        for each in found:
            console.line(f"  {each}")
        overhead.require(found)
        unsure = sum(each.verdict == "not shown" for each in found)
        stage.detail = f"{len(found) - unsure} of {len(found)} profiles within {overhead.BOUND:.0%}"
        if unsure:
            stage.detail += f", {unsure} not shown: repeat on a quieter machine or with more --rounds"


def _with_guests(session: Session, accelerator: Accelerator, scratch: Path) -> list[tool.Measure]:
    """What is timed with guests: a cold boot, a suite in slots, and guests beside virtme-ng's where that is to be had."""
    root = session.manifest.root
    found = [tool.cold_boot(root)]
    suite = _suite(session)
    if suite is not None and (os.cpu_count() or 1) > 1:
        found.append(tool.slots(root, suite.name))
    kernel = _for_virtme(session)
    if kernel is None or kernel.image is None:
        console.note("not measured: virtme-ng mounts its root by 9p, which no kernel has that is here; ./inv kernels --fetch gets others")
        return found
    if not any(Path(place).exists() for place in _UDEV):
        console.note("not measured: virtme-ng finds its ports by udev, which is not installed on this machine (package udev)")
        return found
    virtme = _virtme(root)
    if virtme is None:
        return found
    return [*found, *tool.beside_virtme(root, virtme, kernel.name, kernel.image, scratch, kvm=accelerator.name == "kvm")]


def _suite(session: Session) -> SuiteSpec | None:
    """The suite that is timed: the first that runs unasked."""
    return next((suite for suite in session.manifest.suites if not suite.on_request), None)


def _cycles(session: Session, spec: MachineSpec, guests: tuple[Boot, Accelerator], say: Callable[[str], None]) -> list[Series]:
    """A hundred guests in a row, each of which passes the first suite that runs unasked, on its artifacts in turn."""
    suite = _suite(session)
    fitting = for_guest(session, spec.kernel)
    subjects = [each for each in fitting if suite and each[0].name in suite.artifacts]
    if suite is None or not subjects:
        console.note("not measured: guests in a row, each of which runs a suite: there is no suite for what is built")
        return []
    run = session.record.run

    def work(machine: Machine, number: int) -> None:
        subject = subjects[number % len(subjects)]
        for each in (*(each for each in fitting if not each[0].mount), subject):
            deployer.deploy(machine, *each)
        result = suites.run_suite(machine, suite, *subject, run=run)
        if not result.verdict.ok:
            raise errors.of(result.verdict, f"{result.suite} on {result.artifact} in cycle {number}: {result.detail}")

    return cycles.measure(spec, *guests, work, root=session.manifest.root, run=run, progress=say)


def _for_virtme(session: Session) -> KernelTarget | None:
    """The first kernel with 9p among those that are here already, the machine's own before others; None where there is none."""
    own = machine_spec(session).kernel
    here = [row.name for row in kernels.listing(session.manifest.kernels) if row.state in ("downloaded", "built")]
    for name in sorted(here, key=lambda name: name != own):
        kernel = kernels.resolve(session.manifest.kernel(name), say=console.note)
        if has_9p(kernel):
            return kernel
    return None


def has_9p(kernel: KernelTarget | None) -> bool:
    """Whether a kernel that can be booted has the file system 9p, as a module or built in."""
    return kernel is not None and kernel.modules is not None and modules.has(kernel.modules, "9p")


def _each_verified(session: Session, stage: Stage, rounds: int) -> list[Series]:
    """The seconds that the checks of each single artifact take, all of them, after a round that is not counted."""
    taken: dict[str, list[float]] = {artifact.label: [] for artifact in artifacts.present(session)}
    for number in range(rounds + 1):
        for artifact in artifacts.present(session):
            begin = time.monotonic()
            checks = artifacts.verify_one(session, stage, artifact)
            if number and checks:
                taken[artifact.label].append(time.monotonic() - begin)
    raw = session.record.run.file("bench", "tool", "verify-one", "seconds.json")
    raw.write_text(json.dumps(taken, indent=1) + "\n")
    evidence = [session.record.run.evidence("samples", raw)]
    return [
        tool.times(label, "verify-one", seconds, {"command": "the checks of one artifact"}, evidence) for label, seconds in taken.items()
    ]


def _virtme(root: Path) -> str | None:
    """The program of virtme-ng: the machine's own, or installed now; None, and said, where it is not to be had."""
    found = shutil.which("vng")
    if found is not None:
        return found
    try:
        return str(extras.virtme(root, console.note))
    except InfrastructureError as error:
        console.note(f"not measured: virtme-ng is not installed and cannot be: {error.message}")
        return None


def _edits(session: Session) -> list[Edit]:
    """One C file and one Rust file: the largest of the first artifact of its kind that a suite judges."""
    found = []
    judged = {name for suite in session.manifest.suites for name in suite.artifacts}
    for builder, name, suffix, comment in (
        ("kbuild", "C file", ".c", "\n/* edit {} */\n"),
        ("cargo", "Rust file", ".rs", "\n// edit {}\n"),
    ):
        specs = [spec for spec in session.manifest.artifacts if spec.builder == builder and spec.name in judged]
        file = editing.largest(session.manifest.root, specs[0].folder, suffix) if specs else None
        if file is not None:
            found.append(Edit(name, file, comment))
    return found


def _plain_builds(session: Session) -> list[tool.Command]:
    """The make and cargo command lines of everything that was built."""
    found = []
    for artifact in artifacts.present(session):
        job = artifacts.job(session, session.manifest.artifact(artifact.name), session.kernels.get(artifact.kernel or ""))
        argv, environment = build.plain_command(job)
        found.append(tool.Command(tuple(argv), job.spec.folder, environment))
    return found
