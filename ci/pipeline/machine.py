# SPDX-License-Identifier: Apache-2.0
"""What is asked about this machine and this project: doctor, clean. None of these makes a record."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ci import console, host, packages, process, store
from ci.errors import InfrastructureError
from ci.model import Verdict
from ci.pipeline.session import Session
from ci.process import Limits


def doctor(session: Session, *, fix: bool) -> None:
    """Show what this machine can do; with `fix` run the commands that repair what is missing, then look again."""
    from ci.vm import accel

    findings = host.survey(accel.remembered())
    done: set[tuple[str, ...]] = set()
    # Again, for a repair may break what was whole: apt removes a package that does not go with the one that it installs.
    while fix and (commands := [command for command in host.fixes(findings) if command not in done]):
        for command in commands:
            _fix(session, command)
        done.update(commands)
        findings = host.survey(accel.remembered())
    rows: list[list[str | Verdict]] = []
    for finding in findings:
        remedy = " ".join(finding.fix) if finding.fix else finding.advice
        rows.append([finding.state, finding.what, finding.detail, finding.needed_for, remedy])
    console.table(console.Table("", ("state", "what", "found", "needed for", "fixed by"), list(rows)))
    missing = [finding for finding in findings if finding.state == "missing"]
    if missing:
        raise InfrastructureError(
            f"{len(missing)} missing: {', '.join(finding.what for finding in missing)}",
            hint="nothing more can be fixed by a command" if fix else "./inv doctor --fix runs the commands above",
        )
    console.verdict_line(Verdict.PASS, "this machine can run everything that is not marked as limited")


def _fix(session: Session, command: tuple[str, ...]) -> None:
    console.note("$ " + " ".join(command))
    log = process.scratch_file("fix.log")
    english = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = process.run(command, limits=Limits(1800, silence=600), log=log, cwd=session.manifest.root, env=english)
    if not done.ok:
        tail = done.text().strip().splitlines()[-3:]
        raise InfrastructureError(f"{' '.join(command)}: {done.how}: {' / '.join(tail)}")
    if gone := packages.removed(done.text()):
        console.note(f"removed, as it did not go with them: {' '.join(gone)}")


def clean(session: Session, *, runs: bool, cache: bool) -> None:
    """Remove the tool's build folder and cargo's; records and the cache only where asked for."""
    root = session.manifest.root
    targets = [root / ".build"]
    targets += [spec.folder / "target" for spec in session.manifest.artifacts if spec.builder == "cargo"]
    targets += [root / store.RUNS_FOLDER] if runs else []
    targets += [store.cache_dir()] if cache else []
    for path in targets:
        if path.is_dir():
            size = _size(path)
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise store.disk_error(error, path) from error
            console.line(f"removed {path} ({size >> 20} MiB)")


def _size(folder: Path) -> int:
    """Allocated bytes below a folder."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(base, name)).st_blocks * 512
    return total
