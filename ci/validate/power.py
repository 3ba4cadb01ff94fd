# SPDX-License-Identifier: Apache-2.0
"""Power cuts: guests are destroyed in mid-work, and their disk loses what was not flushed. The next must find all promises kept."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ci import splat
from ci.errors import VexciError
from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Case, Evidence, SuiteResult, Verdict, worst
from ci.process import scratch_file
from ci.store import RunFolder, atomic_write
from ci.validate import plan
from ci.validate.transcript import Transcript

# Of one life, in operation deadlines: with these it is longer where the kernel or the accelerator is slow.
_LIFE_OPERATIONS = 6
SILENCE_SECONDS = 30.0
# From the moment that the workload's folders are promised to the cut.
_WORK_SECONDS = (0.05, 3.0)
_AFTER = "/run/vexci/after.json"
_NAME = re.compile(r"power-\d+$", re.ASCII)

Say = Callable[[str], None]


class Lives(Protocol):
    """Where guests come from, one after the other, all with the one disk."""

    def begin(self) -> tuple[Guest, str]:
        """A new guest with the artifact deployed, and its device of the disk."""
        ...

    def destroy(self) -> None:
        """End the guest as a power cut would. May be called from any thread, and twice."""
        ...

    def close(self) -> None:
        """Let go of the last guest and of the disk."""
        ...

    def lose(self, dice: random.Random) -> tuple[int, int]:
        """The disk's own part of the power cut; returns how many writes were not flushed, and of how many it has something."""
        ...


@dataclass
class _Known:
    """What is known of the last life when the next begins."""

    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    where: str = ""


@dataclass
class _Sums:
    """Figures of a case."""

    cuts: int = 0
    promises: int = 0
    files: int = 0
    open_writes: int = 0
    kept: int = 0


def run_power(
    suite: SuiteSpec,
    spec: ArtifactSpec,
    artifact: Artifact,
    *,
    lives: Callable[[], Lives],
    kernel: str,
    run: RunFolder,
    progress: Say,
    only: tuple[str, ...] = (),
    ended: Callable[[Case], None] = lambda case: None,
) -> SuiteResult:
    """Run the suite: a case `power-<seed>` for each seed, `cuts` power cuts on one volume. `lives()` begins with an empty disk. `only`
    names cases, of any seed. What the suite's deadline leaves no time for is skipped, or a hang where it had begun."""
    begin = time.monotonic()
    options = dict(suite.options)
    first, seeds, cuts = (int(options.get(name, default)) for name, default in (("seed", 1), ("power", 1), ("cuts", 2)))
    names = tuple(name for name in only if _NAME.match(name)) if only else tuple(f"power-{seed}" for seed in range(first, first + seeds))
    end = begin + suite.deadline
    cases, evidence = list[Case](), list[Evidence]()
    for name in names:
        if time.monotonic() > end:
            cases.append(Case(name, Verdict.SKIP, f"not run: the suite's deadline of {suite.deadline:g} s was reached", 0.0))
            continue
        one = _Case(name, cuts, suite, spec, artifact, lives(), run, progress, end)
        cases.append(one.run())
        ended(cases[-1])
        evidence += one.evidence
    bad = [f"{case.id}: {case.detail}" for case in cases if case.verdict is not Verdict.PASS]
    ran = sum(case.verdict is not Verdict.SKIP for case in cases)
    few = ran < suite.minimum
    if few:
        bad.append(f"{ran} cases ran, the suite '{suite.name}' asks for at least {suite.minimum}")
    verdict = worst([*(case.verdict for case in cases), *([Verdict.FAIL] if bad else [])]) if bad else Verdict.PASS
    detail = "; ".join([*bad[:3], f"{sum(case.ok for case in cases)} of {len(cases)} cases passed"])
    return SuiteResult(
        suite=suite.name,
        artifact=artifact.name,
        kernel=kernel,
        verdict=verdict,
        detail=detail,
        minimum=suite.minimum,
        cases=tuple(cases),
        seconds=time.monotonic() - begin,
        evidence=tuple(evidence),
        beside=Verdict.FAIL if few else Verdict.PASS,
    )


class _Case:
    """One seed: a volume, and so many power cuts."""

    def __init__(
        self,
        name: str,
        cuts: int,
        suite: SuiteSpec,
        spec: ArtifactSpec,
        artifact: Artifact,
        lives: Lives,
        run: RunFolder,
        say: Say,
        end: float,
    ) -> None:
        self.evidence: list[Evidence] = []
        self._name = name
        self._seed = int(name.rpartition("-")[2])
        self._cuts = cuts
        self._suite = suite
        self._spec = spec
        self._artifact = artifact
        self._lives = lives
        self._run = run
        self._say = say
        self._end = end
        self._lines: list[str] = []
        self._sums = _Sums()

    def run(self) -> Case:
        """All lives, to the last check or the first failure."""
        begin = time.monotonic()
        try:
            verdict, detail = self._all()
        except VexciError as error:
            verdict, detail = error.verdict, str(error)
        finally:
            self._lives.close()
        folder = f"{self._suite.name}-{self._artifact.name}-{self._artifact.target}"
        path = self._run.file("validate", folder, f"{self._name}.jsonl")
        atomic_write(path, "".join(f"{line}\n" for line in self._lines))
        self.evidence.append(self._run.evidence("transcript", path))
        return Case(self._name, verdict, detail, time.monotonic() - begin)

    def _all(self) -> tuple[Verdict, str]:
        known = _Known()
        for number in range(self._cuts + 1):
            dice = random.Random(f"power/{self._seed}/{number}")
            last = number == self._cuts
            if time.monotonic() > self._end:
                return Verdict.HANG, f"the suite's deadline of {self._suite.deadline:g} s was reached after {self._sums.cuts} power cuts"
            self._say(f"{self._name}: life {number + 1} of {self._cuts + 1}")
            problem, known = self._life(known, dice, work="" if last else str(self._seed * 1000 + number))
            if problem is not None:
                return problem[0], f"life {number + 1}: {problem[1]}"
            if not last:
                self._sums.cuts += 1
                open_writes, kept = self._lives.lose(dice)
                self._sums.open_writes += open_writes
                self._sums.kept += kept
        sums = self._sums
        if sums.promises == 0:
            return Verdict.FAIL, "nothing was promised before any of the cuts: nothing was proved"
        lost = sums.open_writes - sums.kept
        return (
            Verdict.PASS,
            f"{sums.cuts} power cuts ({lost} unflushed writes lost): {sums.promises} promises kept, {sums.files} files compared",
        )

    def _life(self, known: _Known, dice: random.Random, *, work: str) -> tuple[tuple[Verdict, str] | None, _Known]:
        """One guest: what was wrong (a verdict and a sentence) or None, and what it promised in turn."""
        guest, device = self._lives.begin()
        before = len(guest.console_text())
        options = {"device": device, "work": work, "after": self._put(guest, known) if known.where else ""}
        facts = plan.make(replace(self._suite, options=tuple(options.items())), self._spec, self._artifact)
        transcript = Transcript(lambda _: None)
        cut = _Cut(self._lives, dice.uniform(*_WORK_SECONDS))

        def on_line(line: str) -> None:
            self._lines.append(line)
            transcript.take(line)
            if any("ready" in message for message in transcript.messages[-1:]):
                cut.arm()

        stopped: VexciError | None = None
        try:
            limit = _LIFE_OPERATIONS * self._suite.operation_deadline
            guest.run(plan.install(guest, facts), deadline=limit, silence=SILENCE_SECONDS, on_line=on_line)
        except VexciError as error:
            stopped = error
        cut.disarm()
        problem = self._problem(transcript, stopped if not cut.done else None, guest.console_text()[before:], ended=cut.done or not work)
        for message in transcript.messages:
            if "recovered" in message:
                self._sums.promises += message["recovered"]["promises"]
                self._sums.files += message["recovered"]["files"]
        chosen: dict[str, Any] = next((message["options"] for message in transcript.messages if "options" in message), {})
        return problem, _Known(chosen, transcript.messages, f"the power cut {cut.seconds:.2f} s after the workload was ready")

    def _put(self, guest: Guest, known: _Known) -> str:
        local = scratch_file("after.json")
        local.write_text(json.dumps({"options": known.options, "messages": known.messages, "where": known.where}))
        guest.put(local, _AFTER)
        return _AFTER

    def _problem(self, transcript: Transcript, stopped: VexciError | None, console: str, *, ended: bool) -> tuple[Verdict, str] | None:
        if found := splat.scan(console):
            return found[0].verdict, found[0].sentence
        for case in transcript.cases:
            if case.verdict is not Verdict.PASS:
                return case.verdict, f"{case.id}: {case.detail}"
        if stopped is not None:
            during = f" (during: {transcript.in_progress})" if transcript.in_progress else ""
            return stopped.verdict, f"{stopped}{during}"
        if not ended:
            return Verdict.INFRA, "the guest's agent ended before the power was cut"
        return None


class _Cut:
    """The power cut of one life: so many seconds after `arm`."""

    def __init__(self, lives: Lives, seconds: float) -> None:
        self.seconds = seconds
        self.done = False
        self._lives = lives
        self._timer: threading.Timer | None = None

    def arm(self) -> None:
        """Count from now; again has no effect."""
        if self._timer is None:
            self._timer = threading.Timer(self.seconds, self._strike)
            self._timer.start()

    def disarm(self) -> None:
        """Nothing strikes any more after this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def _strike(self) -> None:
        self.done = True
        self._lives.destroy()
