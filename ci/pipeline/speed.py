# SPDX-License-Identifier: Apache-2.0
"""`./inv bench --suite tool`: how fast the tool itself is, beside the plain commands that it stands for."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from ci import build, console, errors
from ci.bench import cycles, editing, extras, machines, tool
from ci.bench.editing import Edit
from ci.errors import InfrastructureError
from ci.model import worst
from ci.pipeline import artifacts, benching
from ci.pipeline.pool import machine_spec, prepare
from ci.pipeline.session import Session

SUITE = "tool"
DEFAULT_ROUNDS = 5


def bench(session: Session, *, rounds: int) -> None:
    """Time the list of tasks, a build with nothing to do, guests cold and restored, files into them, a hundred guests in a row, slots,
    and the way from a save to the verdict, in interleaved rounds."""
    artifacts.build(session)  # so that the timed builds have nothing to do
    spec = machine_spec(session)
    boot, accelerator = prepare(session, spec, require_kvm=False)
    with session.record.stage("bench") as stage, console.group("bench"), tempfile.TemporaryDirectory(prefix="vexci-bench-") as scratch:
        root = session.manifest.root
        invoke = Path(sys.executable).with_name("invoke")
        measures = [
            tool.plain_list(root, invoke, Path(scratch)),
            tool.no_op_build(root, _plain_builds(session)),
            tool.cold_boot(root),
            *([tool.slots(root)] if (os.cpu_count() or 1) > 1 else []),
        ]
        virtme = _virtme(root)
        if virtme is not None:
            measures.append(tool.virtme(virtme, boot.kernel, Path(scratch)))
        with console.Progress() as progress, progress.item("the tool itself") as item:
            count = rounds or DEFAULT_ROUNDS
            run = session.record.run
            measured = machines.measure(spec, boot, accelerator, root=root, run=run, rounds=count, progress=item.say)
            measured += cycles.measure(spec, boot, accelerator, root=root, run=run, progress=item.say)
            measured += tool.measure(measures, rounds=count, run=run, progress=item.say)
            measured += editing.measure(root, Path(scratch), _edits(session), rounds=count, run=run, progress=item.say)
        stage.results["series"] = measured
        benching.show_series(measured)
        failed = [series for series in measured if series.failure]
        stage.detail = f"{len(measured) - len(failed)} of {len(measured)} series measured"
        if failed:
            raise errors.of(worst([series.verdict for series in measured]), f"{failed[0].workload}: {failed[0].failure}")


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
    for builder, name, suffix, comment in (("kbuild", "C file", ".c", "/* edit {} */\n"), ("cargo", "Rust file", ".rs", "// edit {}\n")):
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
