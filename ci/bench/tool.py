# SPDX-License-Identifier: Apache-2.0
"""How fast the tool itself is: its commands against the plain ones that they stand for, in interleaved rounds.

    ./inv --list              against   a bare `invoke --list` of an empty tasks.py
    ./inv build verify        against   the no-op `make` and `cargo build` themselves
    ./inv verify              against   nothing: all artifacts, each of which has a bound
    a cold boot to the first SSH answer, against nothing
    a suite in two slots      against   the same in one
    virtme-ng, where it is installed, against nothing: a figure to stand beside

Which commands these are is the caller's to say; nothing here knows them.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ci import process
from ci.errors import Hang, ProductFailure, UsageError, VexciError
from ci.model import Evidence, Series, Verdict
from ci.store import RunFolder

DEADLINE = 600.0
SLOT_ROUNDS = 3


@dataclass(frozen=True)
class Command:
    """One command line. It must end with exit 0; `env` is added to the environment. With a `stage` not the command is timed but that
    stage of the run that it records."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    deadline: float = DEADLINE
    stage: str = ""


@dataclass(frozen=True)
class Measure:
    """What is timed under one name: the `subject` and, where there is one, the `baseline`.

    Each is a list of commands whose times are added up. `after` runs at the end of every round, whatever happened in
    it, and is not timed (it takes a guest down again). What takes minutes is counted in `most` rounds, however many there are.
    """

    name: str
    subject: tuple[Command, ...]
    baseline: tuple[Command, ...] = ()
    baseline_name: str = ""
    after: tuple[Command, ...] = ()
    most: int = 1000


@dataclass
class _Taken:
    """The times of one measure in seconds, one a counted round; or why there are none."""

    subject: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    failure: VexciError | None = None


def measure(
    measures: Sequence[Measure],
    *,
    rounds: int,
    run: RunFolder,
    progress: Callable[[str], None],
    conditions: Mapping[str, str] | None = None,
) -> list[Series]:
    """Time everything in `rounds` interleaved rounds, after one that is not counted.

    Each measure gives a series in seconds for the subject; with a baseline also one for that, and the ratio of the two,
    taken within each round. A command that fails takes the numbers of its measure away,
    with the reason. Raises UsageError, before anything runs, where there is nothing to time or a folder is missing.
    """
    _check(measures, rounds)
    taken = {item.name: _Taken() for item in measures}
    for number in range(rounds + 1):
        for item in measures:
            state = taken[item.name]
            if state.failure is None and number <= item.most:
                progress(f"{f'round {number}/{rounds}' if number else 'warm-up'}  {item.name}")
                _round(item, state, number, run)
    given = conditions or {}
    return [series for item in measures for series in _series(item, taken[item.name], {**_conditions(min(rounds, item.most)), **given})]


def _check(measures: Sequence[Measure], rounds: int) -> None:
    if not measures or rounds < 1:
        raise UsageError("there is nothing to time")
    if len({item.name for item in measures}) != len(measures):
        raise UsageError("two measures have one name")
    for item in measures:
        if not item.subject:
            raise UsageError(f"'{item.name}' has no command")
        for command in (*item.subject, *item.baseline, *item.after):
            if not command.cwd.is_dir():
                raise UsageError(f"'{item.name}': the folder {command.cwd} does not exist")


def _round(item: Measure, state: _Taken, number: int, run: RunFolder) -> None:
    """One round of one measure; its times go into a file that is the evidence of each sample."""
    folder = run.file("bench", "tool", item.name, f"round-{number}" if number else "warm-up", "_").parent
    try:
        try:
            subject = _time(item.subject, folder / "subject.log")
            baseline = _time(item.baseline, folder / "baseline.log")
        finally:
            _time(item.after, folder / "after.log")
    except VexciError as error:
        state.failure = error
        state.evidence += [run.evidence("log", path) for path in sorted(folder.glob("*.log"))]
        return
    raw = folder / "seconds.json"
    raw.write_text(json.dumps({"subject": subject, "baseline": baseline}, indent=1) + "\n")
    if number:
        state.subject.append(sum(subject))
        state.baseline.append(sum(baseline))
        state.evidence.append(run.evidence("samples", raw))


def _time(commands: Sequence[Command], log: Path) -> list[float]:
    """Wall seconds of each command; ProductFailure where one ends with anything but 0."""
    seconds = []
    for command in commands:
        begin = time.monotonic()
        with process.started(command.argv, stdout=log, cwd=command.cwd, env={**os.environ, **command.env}) as child:
            # Waits in the kernel for the end; process.run looks every 50 ms, which is too coarse for what is timed here.
            ended = process.wait_exit(child, command.deadline)
            seconds.append(time.monotonic() - begin)
        words = " ".join(command.argv)
        if not ended:
            raise Hang(f"'{words}' did not end within {command.deadline:g} s", evidence=(log,))
        if child.returncode != 0:
            tail = log.read_text(errors="backslashreplace").strip().splitlines()[-1:] or ["it said nothing"]
            raise ProductFailure(f"'{words}': {process.describe_returncode(child.returncode)}: {tail[0]}", evidence=(log,))
        if command.stage:
            seconds[-1] = _of_stage(command, log)
    return seconds


def _of_stage(command: Command, log: Path) -> float:
    """The seconds of the command's stage in the record that it has just left."""
    record = json.loads((command.cwd / ".runs/latest/record.json").read_text())
    found = [float(stage["seconds"]) for stage in record["stages"] if stage["name"] == command.stage]
    if not found:
        raise ProductFailure(f"'{' '.join(command.argv)}' recorded no stage '{command.stage}'", evidence=(log,))
    return sum(found)


def _conditions(rounds: int) -> dict[str, str]:
    return {
        "kernel": os.uname().release,
        "cpus": str(os.cpu_count()),
        "python": platform.python_version(),
        "machine": "this host",
        "rounds": str(rounds),
        "warm-up": "1 round, not counted",
        "order": "interleaved",
    }


def _series(item: Measure, taken: _Taken, common: Mapping[str, str]) -> list[Series]:
    rows: list[tuple[str, str, str, list[float]]] = [(item.name, "time", "s", taken.subject)]
    if item.baseline:
        pairs = list(zip(taken.subject, taken.baseline, strict=True))
        rows += [
            (item.baseline_name or "baseline", "time", "s", taken.baseline),
            (item.name, "ratio to the plain command", "times", [one / other for one, other in pairs]),
        ]
    failure = taken.failure
    dimensions = {**common, "command": " && ".join(" ".join(c.argv) for c in item.subject)}
    if item.baseline:
        dimensions["plain command"] = " && ".join(" ".join(c.argv) for c in item.baseline)
    return [
        Series(
            system=system,
            workload=item.name,
            metric=metric,
            unit=unit,
            better="lower",
            samples=() if failure else tuple(values),
            dimensions=dimensions,
            failure=str(failure) if failure else None,
            verdict=failure.verdict if failure else Verdict.PASS,
            evidence=tuple(taken.evidence),
        )
        for system, metric, unit, values in rows
    ]


def plain_list(root: Path, invoke: Path, scratch: Path) -> Measure:
    """`./inv --list` of the project at `root` against `invoke --list` of an empty tasks.py, made in `scratch`."""
    (scratch / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef nothing(ctx):\n    pass\n")
    subject = (Command((str(root / "inv"), "--list"), root),)
    return Measure("list", subject, (Command((str(invoke), "--list"), scratch),), "invoke --list of an empty tasks.py")


def no_op_build(root: Path, plain: Sequence[Command]) -> Measure:
    """`./inv build verify` with nothing to do against the plain commands with nothing to do."""
    return Measure(
        "build-verify", (Command((str(root / "inv"), "build", "verify"), root),), tuple(plain), "make and cargo with nothing to do"
    )


def verification(root: Path) -> Measure:
    """`./inv verify` of everything that was built, from the command to its end."""
    return Measure("verify", (Command((str(root / "inv"), "verify"), root),))


def times(system: str, workload: str, samples: Sequence[float], dimensions: Mapping[str, str], evidence: Sequence[Evidence]) -> Series:
    """A series of seconds that were taken inside the tool, one a round."""
    given = {**_conditions(len(samples)), **dimensions}
    return Series(system, workload, "time", "s", "lower", tuple(samples), given, evidence=tuple(evidence))


def cold_boot(root: Path, name: str = "bench-boot") -> Measure:
    """From nothing to a guest that answers over SSH: `./inv vm.up`, then, not timed, `./inv vm.down`."""
    return Measure("cold-boot", (_up(root, name, "--cold"),), after=(_down(root, name),))


def _up(root: Path, name: str, *how: str) -> Command:
    return Command((str(root / "inv"), "vm.up", *how, "--name", name), root)


def _down(root: Path, name: str) -> Command:
    return Command((str(root / "inv"), "vm.down", "--name", name), root)


def slots(root: Path, suite: str) -> Measure:
    """A suite in two guests at once against one after the other in one: the stage alone, without what comes before it."""
    one = (str(root / "inv"), "validate", "--suite", suite)
    subject = (Command((*one, "--slots", "2"), root, stage="validate"),)
    return Measure("slots", subject, (Command(one, root, stage="validate"),), f"{suite} in one slot", most=SLOT_ROUNDS)


def beside_virtme(root: Path, program: str, name: str, kernel: Path, scratch: Path, *, kvm: bool) -> list[Measure]:
    """A guest with the kernel `name` of vexci.yaml, booted and restored, up to its first answer; against virtme-ng on that very `kernel`
    from its start to the end of one command, which is what it is for."""
    how = () if kvm else ("--disable-kvm",)
    path = f"{Path(program).parent}:{os.environ.get('PATH', os.defpath)}"  # it calls programs that lie beside it
    virtme = Command((program, *how, "--run", str(kernel), "--", "uname", "-r"), scratch, {"PATH": path})
    cold, warm = "bench-beside-cold", "bench-beside-warm"
    booted = (_up(root, cold, "--cold", "--kernel", name),)
    restored = (_up(root, warm, "--kernel", name),)
    return [
        Measure("boot-beside-virtme-ng", booted, (virtme,), "virtme-ng", (_down(root, cold),), most=SLOT_ROUNDS),
        Measure("restore-beside-virtme-ng", restored, after=(_down(root, warm),), most=SLOT_ROUNDS),
    ]
