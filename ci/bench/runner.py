# SPDX-License-Identifier: Apache-2.0
"""Measures all systems of a benchmark in one guest: a warm-up that is not counted, then interleaved rounds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ci.bench import payload
from ci.bench.jobs import Place, job, perform
from ci.bench.live import Live
from ci.bench.system import System
from ci.bench.workloads import Metric, Workload, workload
from ci.errors import GuestPanic, InfrastructureError, ProductFailure, UsageError, VexciError
from ci.guest import Guest
from ci.manifest import BenchmarkSpec
from ci.model import Evidence, Series, Verdict
from ci.samples import checked
from ci.store import RunFolder, sha256_file

ANSWER_SECONDS = 30.0
LEAST_ROUNDS = 5
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """Why a system has no numbers, or where it is `interrupted`, no more than these."""

    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...] = ()


class Stopped(KeyboardInterrupt):
    """The person at the keyboard ended the benchmark; `series` is what had been measured by then."""

    def __init__(self, name: str, series: Sequence[Series]) -> None:
        super().__init__(name)
        self.series = list(series)


@dataclass
class Track:
    """What is known of one system under one workload so far."""

    system: System
    workload: Workload
    values: list[dict[str, float]] = field(default_factory=list)
    raw: list[Evidence] = field(default_factory=list)
    failure: Failure | None = None
    absent: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> tuple[str, str]:
        """What tells it apart from the others of its benchmark."""
        return self.workload.name, self.system.name

    @property
    def last(self) -> float | None:
        """The number of the first metric in the last round that was measured."""
        return self.values[-1].get(self.workload.metrics[0].name) if self.values else None


class _Lost(Exception):
    """The guest cannot be used any more; the sentence says why."""


def run(
    guest: Guest,
    spec: BenchmarkSpec,
    systems: Sequence[System],
    *,
    run: RunFolder,
    progress: Progress,
    conditions: Mapping[str, str] | None = None,
    place: Place | None = None,
) -> list[Series]:
    """One Series for every system, workload and metric; a system that failed has no samples, a verdict and a reason.

    `conditions` are what only the caller knows and what must be equal in a comparison, such as the accelerator. Raises
    UsageError, before anything is started, where the request is wrong or a file to be measured does not exist.
    """
    workloads = _checked(spec, systems)
    session = _Session(guest, spec, systems, workloads, run, progress, dict(conditions or {}), place or Place())
    return session.series()


def _checked(spec: BenchmarkSpec, systems: Sequence[System]) -> list[Workload]:
    names = tuple(system.name for system in systems)
    if names != spec.systems or len(set(names)) != len(names):
        raise UsageError(f"the benchmark '{spec.name}' is of {', '.join(spec.systems)}; given were {', '.join(names) or 'none'}")
    if spec.rounds < LEAST_ROUNDS:
        raise UsageError(f"the benchmark '{spec.name}' has {spec.rounds} rounds; fewer than {LEAST_ROUNDS} support no finding")
    if not spec.workloads or not systems:
        raise UsageError(f"the benchmark '{spec.name}' has no workload or no system")
    for system in systems:
        if spec.place == "guest" and system.only_here:
            raise UsageError(f"'{system.name}' is not in guests", hint=f"give the benchmark '{spec.name}' place: host")
        for item in spec.workloads:
            if item.tool == "vectors" and not system.engine:
                raise UsageError(f"workload '{item.name}': '{system.name}' holds no vectors")
            if item.tool != "vectors" and not system.filesystem:
                raise UsageError(f"workload '{item.name}': '{system.name}' holds no files")
        artifact = system.artifact
        if artifact is None:
            continue
        if not artifact.path.is_file():
            raise UsageError(f"'{system.name}' cannot be measured: {artifact.path} does not exist", hint="./inv build")
        if sha256_file(artifact.path) != artifact.sha256:
            raise ProductFailure(f"{artifact.path} is not the file that was built: its sha256 differs", hint="./inv build")
    return [workload(item) for item in spec.workloads]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".") or "_"


class _Session:
    """The state of one benchmark run."""

    def __init__(
        self,
        guest: Guest,
        spec: BenchmarkSpec,
        systems: Sequence[System],
        workloads: Sequence[Workload],
        run: RunFolder,
        progress: Progress,
        conditions: dict[str, str],
        place: Place,
    ) -> None:
        self.guest = guest
        self.spec = spec
        self.run = run
        self.progress = progress
        self.conditions = conditions
        self.place = place
        self.leftovers: list[str] = []
        self.tracks = [Track(system, item) for item in workloads for system in systems]
        for track in self.tracks:
            reason = track.system.absent or place.missing.get(track.workload.name, "")
            track.failure = Failure(Verdict.SKIP, reason) if reason else None
        if all(track.failure for track in self.tracks):
            first = self.tracks[0]
            reason = first.failure.reason if first.failure else ""
            raise InfrastructureError(f"nothing of the benchmark '{spec.name}' can be measured: {first.system.name}: {reason}")
        self.live = Live([track.name for track in self.tracks], spec.rounds + 1)

    def series(self) -> list[Series]:
        """Measure everything that can be measured; Stopped with what there is where somebody presses Ctrl-C."""
        try:
            self._prepare()
            for number in range(self.spec.rounds + 1):
                for track in self.tracks:
                    if track.failure is None:
                        self.live.begin(track.name)
                        self._measure(track, number)
                        self.live.end(track.name, track.last if number else None)
                    else:
                        self.live.drop(track.name)
        except _Lost as lost:
            for track in self.tracks:
                if track.failure is None:
                    track.failure = Failure(Verdict.INFRA, str(lost))
        except KeyboardInterrupt as stop:
            for track in self.tracks:
                if track.failure is None and len(track.values) < self.spec.rounds:
                    track.failure = Failure(Verdict.INTERRUPTED, f"interrupted after {len(track.values)} of {self.spec.rounds} rounds")
            name = str(stop.args[0]) if stop.args else "SIGINT"
            raise Stopped(name, [series for track in self.tracks for series in self._series(track)]) from stop
        return [series for track in self.tracks for series in self._series(track)]

    def _prepare(self) -> None:
        """Put the harness into the guest and ask what the guest is. A guest that is lost already loses every series."""
        local = payload.write(self.run.file("bench", "bench.pyz"))
        try:
            self.guest.put(local, self.place.payload)
            facts = json.loads(self._answer([self.place.agent, self.place.payload, "facts"]))
            if any(track.workload.tool_name == "fio" for track in self.tracks):
                facts["fio"] = self._answer(["fio", "--version"]).strip()
        except VexciError as error:
            raise _Lost(f"the guest cannot be prepared: {error.message}") from error
        self.conditions = {**facts, **self.conditions, "harness": sha256_file(local)[:16]}

    def _answer(self, argv: Sequence[str]) -> str:
        done = self.guest.run(argv, deadline=ANSWER_SECONDS)
        if done.returncode != 0:
            raise InfrastructureError(f"'{' '.join(argv[:2])}' in the guest: exit {done.returncode}: {done.stderr.strip()[-200:]}")
        return done.stdout

    def _folder(self, track: Track, number: int) -> Path:
        name = f"round-{number}" if number else "warm-up"
        return self.run.file("bench", _slug(self.spec.name), _slug(track.workload.name), _slug(track.system.name), name, "_").parent

    def _measure(self, track: Track, number: int) -> None:
        """One round of one system; the first (number 0) is the warm-up. Notes a failure in the track."""
        where = f"round {number}/{self.spec.rounds}" if number else "warm-up"
        self.progress(f"{where}  {track.workload.name} on {track.system.name}  {self.live.text(track.name)}")
        folder = self._folder(track, number)
        label = "-".join((_slug(self.run.id), _slug(track.workload.name), _slug(track.system.name), str(number)))
        todo = job(self.spec, track.system, track.workload, self.place, label, warm_up=number == 0)
        try:
            outcome = perform(self.guest, todo, self.place, folder)
        except VexciError as error:
            self._guest_error(track, where, error, folder)
            return
        self.leftovers += [f"{text} (after {where} of {track.system.name})" for text in outcome.leftover]
        if outcome.verdict is not Verdict.PASS:
            if outcome.verdict is Verdict.HANG:
                self._diagnose(folder)
            self._fail(track, outcome.verdict, f"{where}, {outcome.phase}: {outcome.detail}", folder, whole=outcome.phase != "workload")
            return
        self._take(track, number, where, folder)

    def _take(self, track: Track, number: int, where: str, folder: Path) -> None:
        path = folder / track.workload.tool.raw
        try:
            values = track.workload.tool.values(path, track.workload.options)
            track.absent.update(track.workload.tool.absent(path))
            track.facts.update(_facts(path))
            checked(list(values.values()))
        except ProductFailure as error:
            self._fail(track, error.verdict, f"{where}: {error.message}", folder, whole=False)
            return
        if number:
            track.values.append(values)
            track.raw.append(self.run.evidence("samples", path))

    def _fail(self, track: Track, verdict: Verdict, reason: str, folder: Path, *, whole: bool) -> None:
        """Note a failure; `whole` means that the system cannot be measured under any workload (its mount failed)."""
        self.progress(f"{verdict}: {track.system.name}: {reason}")
        evidence = tuple(self.run.evidence(_kind(path), path) for path in sorted(folder.rglob("*")) if path.is_file())
        track.failure = Failure(verdict, reason, evidence)
        for other in self.tracks:
            hung = verdict in (Verdict.HANG, Verdict.PANIC)
            if other.system is track.system and other.failure is None and (whole or hung):
                other.failure = Failure(verdict, f"not measured further after {track.workload.name}, {reason}", evidence)

    def _guest_error(self, track: Track, where: str, error: VexciError, folder: Path) -> None:
        """The guest, and not the agent in it, said what is wrong: judge it, and see whether the guest still answers."""
        if not isinstance(error, GuestPanic):
            self._diagnose(folder)
        for number, path in enumerate(error.evidence):
            if path.is_file() and not path.is_relative_to(self.run.path):
                (folder / f"evidence-{number}-{_slug(path.name)}").write_bytes(path.read_bytes())
        self._fail(track, error.verdict, f"{where}: {error.message}", folder, whole=True)
        reason = f"the guest was lost while {track.system.name} was measured: {error.message}"
        if isinstance(error, GuestPanic):
            raise _Lost(reason) from error
        try:
            self._answer(["true"])
        except VexciError as silent:
            raise _Lost(reason) from silent

    def _diagnose(self, folder: Path) -> None:
        """What the machine itself can tell of a hang; where it cannot, that is written down instead."""
        try:
            self.guest.diagnose(folder / "machine")
        except VexciError as error:
            (folder / "machine-diagnosis-failed.txt").write_text(f"{error}\n{error.hint}\n")

    def _series(self, track: Track) -> list[Series]:
        failure = track.failure
        if failure is None and len(track.values) != self.spec.rounds:
            failure = Failure(Verdict.FAIL, f"{len(track.values)} of {self.spec.rounds} rounds were measured")
        evidence = tuple(track.raw) if failure is None else (*failure.evidence, *track.raw)
        return [self._one(track, metric, failure, evidence) for metric in track.workload.metrics]

    def _one(self, track: Track, metric: Metric, failure: Failure | None, evidence: tuple[Evidence, ...]) -> Series:
        """A metric that the system does not have, in any round, is a skip with its reason, also where somebody ended the run."""
        kept = failure is not None and failure.verdict is Verdict.INTERRUPTED
        if metric.name in track.absent and (failure is None or kept):
            failure, kept = Failure(Verdict.SKIP, track.absent[metric.name]), False
        return Series(
            system=track.system.name,
            workload=track.workload.name,
            metric=metric.name,
            unit=metric.unit,
            better=metric.better,
            samples=() if failure and not kept else tuple(values[metric.name] for values in track.values),
            dimensions=self._dimensions(track, metric),
            artifact_sha256=track.system.artifact.sha256 if track.system.artifact else None,
            failure=failure.reason if failure else None,
            verdict=failure.verdict if failure else Verdict.PASS,
            evidence=evidence,
        )

    def _dimensions(self, track: Track, metric: Metric) -> dict[str, str]:
        """Everything but the system itself that a number depends on (failure mode P4)."""
        data = self.place.data.get(track.workload.name)
        vectors = {"data set": f"sha256 {data[1]}", "reached as": track.system.access} if data else {}
        return {
            **self.conditions,
            "benchmark": self.spec.name,
            "tool": track.workload.tool_name,
            "options": track.workload.stated,
            "rounds": str(self.spec.rounds),
            "warm-up": "1 round, not counted",
            "order": "interleaved, at one place",
            "system": "fresh each round, and proved to run before and after: a mount by mountinfo and st_dev, a server by its answer",
            **vectors,
            **track.workload.tool.dimensions(track.workload.options, metric, track.facts),
            **({} if data else {"durability": track.system.durability}),
            "left over in the guest": "; ".join(self.leftovers) or "nothing",
        }


def _facts(path: Path) -> dict[str, str]:
    """What a system said of itself in its result file, where the tool writes such."""
    text = path.read_text()
    try:
        found = json.loads(text[text.index("{") :]).get("facts", {})
    except ValueError as error:
        raise ProductFailure(f"{path.name} is no JSON: {error}", evidence=(path,)) from error
    return {str(key): str(value) for key, value in found.items()}


def _kind(path: Path) -> str:
    if path.name == "result.json":
        return "result"
    return "log" if path.suffix == ".log" else "diagnosis" if "diagnosis" in str(path) or "machine" in str(path) else "raw"
