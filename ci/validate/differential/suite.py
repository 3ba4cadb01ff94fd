# SPDX-License-Identifier: Apache-2.0
"""One run of the suite differential in one guest: batches of sequences, the smallest that differs, the kernel's log."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ci import splat
from ci.errors import UsageError, VexciError
from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Case, Evidence, SuiteResult, Verdict, worst
from ci.settings import FRESH
from ci.store import RunFolder, atomic_write
from ci.validate.differential import hunt, reproducer
from ci.validate.differential.hunt import Finding
from ci.validate.differential.link import Systems
from ci.validate.differential.sequences import Operation, words

SETTINGS = {"seed": "1", "sequences": "200", "batch": "40"}
LOG_SECONDS = 30.0
Say = Callable[[str], None]


def run(
    machine: Guest,
    suite: SuiteSpec,
    subjects: Sequence[tuple[ArtifactSpec, Artifact]],
    *,
    run: RunFolder,
    progress: Say | None = None,
    ended: Callable[[Case], None] = lambda case: None,
) -> SuiteResult:
    """The suite on deployed artifacts, all in this guest.

    Options: `seed` (a number, or `fresh` for one nobody has seen, which the result names), `sequences`, `batch`; `replay` names a
    reproducer whose sequence alone is run.
    """
    return _Session(machine, suite, subjects, run, progress or (lambda _: None), ended).result()


class _Session:
    def __init__(
        self,
        machine: Guest,
        suite: SuiteSpec,
        subjects: Sequence[tuple[ArtifactSpec, Artifact]],
        run: RunFolder,
        say: Say,
        ended: Callable[[Case], None],
    ) -> None:
        options = {**SETTINGS, **dict(suite.options)}
        self._machine, self._suite, self._run, self._say = machine, suite, run, say
        self._seed = random.SystemRandom().randrange(1 << 32) if options["seed"] == FRESH else _number(options, "seed")
        self._count, self._batch = _number(options, "sequences"), _number(options, "batch")
        self._replay = Path(options["replay"]) if "replay" in options else None
        self._artifact = "+".join(artifact.name for _, artifact in subjects)
        self._subjects = subjects
        self._folder = run.file("validate", f"{suite.name}-{self._artifact}", "x").parent
        self._cases: list[Case] = []
        self._ended = ended
        self._evidence: list[Evidence] = []
        self._before = len(machine.console_text())
        self._since = time.monotonic()

    def result(self) -> SuiteResult:
        """Run, judge, keep the evidence; what stops the guest in the middle is a result too."""
        begin = time.monotonic()
        batches = [[reproducer.read(self._replay)]] if self._replay else self._batches()
        try:
            self._execute(batches, once=self._replay is not None)
        except VexciError as error:
            if error.verdict is Verdict.USAGE:
                raise
            self._case("stopped", error.verdict, str(error))
            self._evidence += [self._run.evidence("diagnosis", path) for path in error.evidence if path.is_file()]
        self._look_at_kernel()
        ran = sum(case.verdict is not Verdict.SKIP for case in self._cases)
        if ran < self._suite.minimum and not self._replay and all(case.verdict.ok for case in self._cases):
            self._case("minimum", Verdict.FAIL, f"{ran} cases ran, the suite '{self._suite.name}' asks for at least {self._suite.minimum}")
        bad = [case for case in self._cases if not case.verdict.ok]
        return SuiteResult(
            suite=self._suite.name,
            artifact=self._artifact,
            kernel=self._machine.kernel,
            verdict=worst([case.verdict for case in self._cases]),
            detail="; ".join(f"{case.id}: {case.detail}" for case in bad) or f"{len(self._cases)} cases agreed, seed {self._seed}",
            minimum=self._suite.minimum,
            cases=tuple(self._cases),
            seconds=time.monotonic() - begin,
            evidence=tuple(self._evidence),
        )

    def _batches(self) -> list[list[list[Operation]]]:
        drawn = hunt.draw(self._seed, self._count)
        return [drawn[at : at + self._batch] for at in range(0, len(drawn), self._batch)]

    def _execute(self, batches: list[list[list[Operation]]], *, once: bool) -> None:
        systems = Systems(self._machine, self._suite, self._subjects)
        systems.begin()
        self._case("mount", Verdict.PASS, ", ".join(systems.names))
        for number, batch in enumerate(batches, 1):
            name = "replay" if once else f"batch-{number}"
            self._say(f"{number}/{len(batches)} {name}")
            answers = systems.run(batch, remount=True, say=lambda text, name=name: self._say(f"{name}: {text}"))  # type: ignore[misc]
            judged = (hunt.judge(systems.names, operations, told) for operations, told in zip(batch, answers, strict=True))
            found = next((finding for finding in judged if finding is not None), None)
            if found is not None:
                self._say(f"{name}: {found.difference.sentence}")
                self._found(name, found if once else self._shrink(systems, found))
                break
            self._case(name, Verdict.PASS, f"{len(batch)} sequences, {sum(map(len, batch))} operations on {len(systems.names)} systems")
        systems.end()
        self._case("unmount", Verdict.PASS, "unmounted, and checked where the manifest says how")

    def _shrink(self, systems: Systems, found: Finding) -> Finding:
        asked = 0

        def ask(operations: list[Operation]) -> Finding | None:
            nonlocal asked
            asked += 1
            self._say(f"shrinking: {len(operations)} operations, question {asked}")
            (answers,) = systems.run([operations], remount=found.remounted)
            return hunt.judge(systems.names, operations, answers)

        return hunt.shrink(self._seed, self._count, found, ask)

    def _found(self, name: str, found: Finding) -> None:
        path = self._folder / "reproducer.json"
        reproducer.write(path, found, seed=self._seed, kernel=self._machine.kernel)
        self._evidence.append(self._run.evidence("reproducer", path))
        steps = "; ".join(words(operation) for operation in found.operations)
        again = f"./inv validate --replay {path}"
        self._case(name, Verdict.FAIL, f"{found.difference.sentence}. All of the sequence: {steps}. Again: {again}")

    def _case(self, name: str, verdict: Verdict, detail: str) -> None:
        now = time.monotonic()
        self._cases.append(Case(name, verdict, detail, now - self._since))
        self._ended(self._cases[-1])
        self._since = now

    def _look_at_kernel(self) -> None:
        console = self._machine.console_text()[self._before :]
        path = self._folder / "console.log"
        atomic_write(path, console)
        self._evidence.append(self._run.evidence("console", path))
        for found in splat.scan(console):
            self._case("kernel", found.verdict, found.sentence)


def _number(options: dict[str, str], name: str) -> int:
    """A whole number that is at least 1 (a seed may be 0)."""
    try:
        value = int(options[name])
    except ValueError:
        value = -1
    if value < (name != "seed"):
        raise UsageError(f"the option {name}={options[name]} of the suite differential is no whole number")
    return value
