# SPDX-License-Identifier: Apache-2.0
"""From the save of one file to the verdict of `./inv dev`, in a clone of the project, so that nobody's sources are touched."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci import process
from ci.errors import Hang, ProductFailure
from ci.model import Series
from ci.store import RunFolder

# What `./inv dev` says when a round is over and it waits for the next save (ci/pipeline/dev.py), and how a verdict begins.
WAITING = "watching "
_FIRST_SECONDS = 1800.0  # a clone builds everything first
_ROUND_SECONDS = 300.0
_LOOK_SECONDS = 0.02
_END_SECONDS = 60.0


@dataclass(frozen=True)
class Edit:
    """A source file (relative to the project), and a line that may stand at its end, with `{}` for a number."""

    name: str
    file: Path
    comment: str


def largest(root: Path, folder: Path, suffix: str) -> Path | None:
    """The largest source of a folder with that suffix, relative to the project; None where it has none."""
    files = [path for path in folder.rglob(f"*{suffix}") if not {"target", "tests", ".build"}.intersection(path.relative_to(folder).parts)]
    return max(files, key=lambda path: path.stat().st_size).relative_to(root) if files else None


def measure(
    root: Path, scratch: Path, edits: Sequence[Edit], *, rounds: int, run: RunFolder, progress: Callable[[str], None]
) -> list[Series]:
    """One series in seconds for each of the edits, taken in turn. Raises where a round does not pass or does not end."""
    project = scratch / "clone"
    progress("edit to verdict: cloning the project")
    process.output(["git", "clone", "--quiet", root, project], deadline=120)
    log = run.file("bench", "editing", "dev.log")
    taken: dict[str, list[float]] = {edit.name: [] for edit in edits}
    argv: list[str | Path] = [project / "inv", "dev", "--rounds", str(1 + (rounds + 1) * len(edits))]
    with process.started(argv, stdout=log, cwd=project) as tool:
        try:
            progress("edit to verdict: the first build of the clone")
            _until_waiting(tool, log, 1, _FIRST_SECONDS)
            count = 1
            for number in range(rounds + 1):
                for edit in edits:
                    progress(f"edit to verdict: {edit.name}, {f'round {number}/{rounds}' if number else 'warm-up'}")
                    begin = _save(project / edit.file, edit.comment.format(number))
                    count += 1
                    seconds = _until_verdict(tool, log, count, _ROUND_SECONDS) - begin
                    if number:
                        taken[edit.name].append(seconds)
                    if number < rounds or edit is not edits[-1]:
                        _until_waiting(tool, log, count, _ROUND_SECONDS)
        finally:
            _end(tool)
    raw = run.file("bench", "editing", "samples.json")
    raw.write_text(json.dumps(taken, indent=1) + "\n")
    evidence = (run.evidence("samples", raw), run.evidence("log", log))
    files = {edit.name: str(edit.file) for edit in edits}
    return [
        Series(
            name, "edit", "save to verdict", "s", "lower", tuple(values), {"file": files[name], "rounds": str(rounds)}, evidence=evidence
        )
        for name, values in taken.items()
    ]


def _save(path: Path, line: str) -> float:
    """Add a line as an editor would, by a new file in its place; returns when."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(path.read_text() + line)
    new.chmod(path.stat().st_mode)
    begin = time.monotonic()
    os.replace(new, path)
    return begin


def _verdicts(log: Path) -> list[str]:
    """The lines with the verdicts of rounds: each stands before the line that shows the stages' times."""
    lines = log.read_text(errors="replace").splitlines()
    return [before for before, line in itertools.pairwise(lines) if "vm beside build" in line]


def _until_verdict(tool: subprocess.Popen[bytes], log: Path, count: int, seconds: float) -> float:
    """Wait for the verdict of that many rounds; returns when it was seen. ProductFailure where it is no pass."""
    end = time.monotonic() + seconds
    while len(found := _verdicts(log)) < count:
        _check(tool, log, end, seconds)
        time.sleep(_LOOK_SECONDS)
    now = time.monotonic()
    if not found[count - 1].startswith("pass"):
        raise ProductFailure(f"./inv dev did not pass after the edit: {found[count - 1].strip()}", evidence=(log,))
    return now


def _until_waiting(tool: subprocess.Popen[bytes], log: Path, count: int, seconds: float) -> None:
    _until_verdict(tool, log, count, seconds)
    end = time.monotonic() + seconds
    while sum(line.startswith(WAITING) for line in log.read_text(errors="replace").splitlines()) < count:
        _check(tool, log, end, seconds)
        time.sleep(_LOOK_SECONDS)


def _check(tool: subprocess.Popen[bytes], log: Path, end: float, seconds: float) -> None:
    if tool.poll() is not None:
        raise ProductFailure(f"./inv dev ended: {process.describe_returncode(tool.returncode)}", evidence=(log,))
    if time.monotonic() > end:
        raise Hang(f"./inv dev gave no verdict within {seconds:g} s", evidence=(log,))


def _end(tool: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, so that its guest goes, too; after its last round it ends by itself."""
    if not process.wait_exit(tool, _LOOK_SECONDS):
        os.killpg(tool.pid, signal.SIGINT)
        process.wait_exit(tool, _END_SECONDS)
