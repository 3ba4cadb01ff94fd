# SPDX-License-Identifier: Apache-2.0
"""The stage bench: the chosen benchmarks, in a guest or on this machine, and what their numbers support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci import bench as benchmarks
from ci import console, errors
from ci.bench import systems as references
from ci.bench.baseline import Change, Judgement
from ci.bench.compare import Comparison, Finding
from ci.errors import ProductFailure, UsageError
from ci.fingerprint import CONTROL
from ci.manifest import BenchmarkSpec
from ci.model import Series, Verdict, worst
from ci.pipeline import guests, host
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.reader import nearest
from ci.record import Stage, plain
from ci.report.words import number
from ci.samples import summarise


@dataclass(frozen=True)
class Choice:
    """What a person asked for: which benchmark ("" for those that are not on request), rounds (0 for the manifest's).

    `workloads` and `systems` are the only ones to measure (none: all); one that is named runs with `quick`, too, which is for small
    workloads and leaves out the long ones. `control` is for a slowed copy of the first system beside it;
    `servers` are NAME=URL of servers that run already;
    `save` is the name that the numbers are kept under as a baseline, `against` that of the baseline they are judged by.
    `follow` is both, run after run: where there is none yet, or one that was measured in another way, that is said and no failure.
    """

    suite: str = ""
    rounds: int = 0
    quick: bool = False
    control: bool = False
    save: str = ""
    against: str = ""
    follow: str = ""
    servers: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()

    def benchmarks(self, session: Session) -> list[BenchmarkSpec]:
        """The chosen ones as they are to run; UsageError where there is none."""
        known = session.manifest.benchmarks
        chosen = [item for item in known if (item.name == self.suite if self.suite else not item.on_request)]
        if not chosen:
            raise UsageError("there is no benchmark to run", hint="define one under 'benchmarks:' in vexci.yaml")
        _require_known("workload", self.workloads, [each.name for item in chosen for each in item.workloads])
        _require_known("system", self.systems, [name for item in chosen for name in item.systems])
        asked = [self._as_asked(item) for item in chosen]
        left = [item for item in asked if item.workloads and item.systems]
        if not left:
            raise UsageError("no benchmark has both the workloads and the systems that were asked for")
        return left

    def addresses(self, session: Session) -> dict[str, str]:
        """Where the servers run; UsageError where one is not among the systems that are to be measured."""
        found = references.servers(self.servers)
        measured = {name for spec in self.benchmarks(session) for name in spec.systems}
        for name in found:
            if name not in measured:
                raise UsageError(f"--server {name}: it is not among the systems", hint=f"measured are: {', '.join(sorted(measured))}")
        return found

    def names(self, series: Series) -> bool:
        """Whether the series is of a workload and a system that were asked for, so that without it something is missing."""
        return (not self.workloads or series.workload in self.workloads) and (not self.systems or series.system in self.systems)

    def _as_asked(self, spec: BenchmarkSpec) -> BenchmarkSpec:
        workloads = [item for item in spec.workloads if item.name in self.workloads or not (self.workloads or (self.quick and item.long))]
        if self.quick:
            workloads = [replace(item, options=tuple({**dict(item.options), **dict(item.quick)}.items())) for item in workloads]
        systems = tuple(name for name in spec.systems if not self.systems or name in self.systems)
        return replace(spec, workloads=tuple(workloads), systems=systems, rounds=self.rounds or spec.rounds)


def _require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """UsageError where one of the names is not among the known ones."""
    for name in names:
        if name not in known:
            raise UsageError(f"there is no {what} '{name}' in what is to be measured{nearest(name, list(dict.fromkeys(known)))}")


def bench(session: Session, pool: Pool | None, choice: Choice | None = None) -> list[Series]:
    """Measure and compare; a system that failed is shown with its reason, and the run then ends with its verdict."""
    choice = followed(session.manifest.root, choice or Choice())
    with session.record.stage("bench") as stage, console.group("bench"):
        measured: list[Series] = []
        stage.results["series"] = measured
        if choice.against:
            benchmarks.baseline.load(session.manifest.root, choice.against)  # a wrong name is known before anything is measured
        addresses = choice.addresses(session)
        try:
            for spec in choice.benchmarks(session):
                if spec.place == "host":
                    measured += host.measure(session, spec, control=choice.control, servers=addresses)
                else:
                    assert pool is not None  # person.bench makes one where a benchmark wants a guest
                    measured += guests.measure(pool, spec, control=choice.control)
        except benchmarks.Stopped as stop:
            measured += stop.series
            _keep(session, stage, measured)
            raise
        found = benchmarks.comparisons(measured, references=_references(session))
        stage.results["comparisons"] = plain(found)
        show_series(measured)
        for text in sentences(found):
            console.line(f"  {text}")
        stage.results.update(benchmarks.details(measured, session.record.run.path))
        judgements = _judge(session, stage, choice, measured)
        failed = [item for item in measured if item.failure and item.verdict is not Verdict.SKIP]
        skipped = [item for item in measured if item.verdict is Verdict.SKIP]
        counted = f"{len(measured) - len(failed) - len(skipped)} of {len(measured)} series measured"
        stage.detail = counted + (f", {len(skipped)} skipped, each with its reason" if skipped else "")
        if failed:
            verdict = worst([item.verdict for item in measured if item.verdict is not Verdict.SKIP])
            raise errors.of(verdict, f"{failed[0].system}, {failed[0].workload}: {failed[0].failure}")
        if choice.control:
            require_control(found)
        require_no_regression(judgements, choice.against, another_machine=bool(choice.follow))
        if choice.save:
            kept = benchmarks.baseline.save(session.manifest.root, choice.save, session.record.run.id, session.revision.commit, measured)
            console.line(f"kept as the baseline '{choice.save}': {kept.relative_to(session.manifest.root)}")
    return measured


def followed(root: Path, choice: Choice) -> Choice:
    """What `follow` stands for: judged by the baseline where there is one, and kept as the next."""
    name = choice.follow
    if not name:
        return choice
    if choice.save or choice.against:
        raise UsageError("--follow stands for --save and --against", hint="leave these out")
    if benchmarks.baseline.exists(root, name):
        return replace(choice, save=name, against=name)
    console.line(f"there is no baseline '{name}' yet: these numbers become the first, judged by nothing")
    return replace(choice, save=name)


def _keep(session: Session, stage: Stage, measured: list[Series]) -> None:
    """Somebody ended the run: what was measured stays in the record, and it is said how much that is."""
    whole = [item for item in measured if item.verdict is Verdict.PASS]
    part = [item for item in measured if item.verdict is Verdict.INTERRUPTED and item.samples]
    stage.results.update(benchmarks.details([*whole, *part], session.record.run.path))
    stage.detail = f"kept: {len(whole)} of {len(measured)} series with all rounds, {len(part)} with a part of them"
    show_series(measured)
    console.line(stage.detail)


def _judge(session: Session, stage: Stage, choice: Choice, measured: list[Series]) -> list[Judgement]:
    if not choice.against:
        return []
    kept = [item for item in benchmarks.baseline.load(session.manifest.root, choice.against) if choice.names(item)]
    if not kept:
        raise UsageError(f"the baseline '{choice.against}' holds nothing of what was asked for")
    found = benchmarks.baseline.judge(measured, kept)
    stage.results["baseline"] = {"name": choice.against, "threshold": benchmarks.baseline.THRESHOLD, "judgements": plain(found)}
    for item in found:
        ratio = f", {item.ratio:.2f} times ({item.low:.2f} to {item.high:.2f})" if item.ratio else ""
        console.line(f"  {item.workload} {item.metric} of {item.system}: {item.change}{ratio}: {item.reason}")
    return found


def require_no_regression(found: list[Judgement], name: str, *, another_machine: bool = False) -> None:
    """Nothing that was refused or is missing counts as unchanged. Where the next baseline takes the place of this one, `another_machine` of
    those that a service gives may have measured it: what is refused for that stands in the record, and is no failure."""
    for change in (Change.REGRESSION, Change.MISSING, *(() if another_machine else (Change.REFUSED,))):
        bad = [item for item in found if item.change is change]
        if bad:
            first = bad[0]
            which = f"{first.workload} {first.metric} of {first.system}: {first.reason}"
            text = f"against the baseline '{name}': {len(bad)} times {change}, first {which}"
            raise ProductFailure(text) if change is Change.REGRESSION else UsageError(text)


def require_control(found: list[Comparison]) -> None:
    """The slowed control must be slower than what it is a copy of, in each workload, by at least one metric (failure mode P3)."""
    mine = [item for item in found if item.system == f"{item.baseline}{CONTROL}"]
    slower = {item.workload for item in mine if item.finding is Finding.SLOWER}
    faster = [item for item in mine if item.finding is Finding.FASTER]
    silent = [name for name in dict.fromkeys(item.workload for item in mine) if name not in slower]
    if not mine or silent:
        where = ", ".join(silent) or "anything"
        raise ProductFailure(f"the slowed control does not show up as slower in {where}: these numbers are worth nothing")
    for item in faster:
        console.note(f"the control was faster in {item.workload} {item.metric}: chance, or that metric does not see the slowing")


def _references(session: Session) -> list[str]:
    known = {spec.name for spec in session.manifest.artifacts}
    return [name for item in session.manifest.benchmarks for name in item.systems if name not in known]


def sentences(found: Sequence[Comparison]) -> list[str]:
    """A line for each finding; what two systems were refused, or lack a number for, for one reason is one line."""
    silent: dict[tuple[str, str, Finding, str], list[Comparison]] = {}
    lines = []
    for item in found:
        if item.finding in (Finding.REFUSED, Finding.NOT_MEASURED):
            silent.setdefault((item.system, item.baseline, item.finding, item.reason), []).append(item)
        else:
            lines.append(sentence(item))
    for (system, baseline, finding, reason), items in silent.items():
        where = sentence(items[0]).partition(":")[0] if len(items) == 1 else f"{len(items)} metrics"
        lines.append(f"{where}: {system} against {baseline}: {finding} ({reason})")
    return lines


def sentence(found: Comparison) -> str:
    """A comparison as one line; what is no time and no rate is better or worse, not faster or slower."""
    said = str(found.finding)
    if found.metric in ("disk", "memory") or found.metric.endswith("recall"):
        said = {Finding.FASTER: "better", Finding.SLOWER: "worse"}.get(found.finding, said)
    names = f"{found.workload} {found.metric}: {found.system} against {found.baseline}: {said}"
    if found.ratio is None or found.low is None or found.high is None:
        return f"{names} ({found.reason})"
    return f"{names}, {found.ratio:.2f} times (95 % interval {found.low:.2f} to {found.high:.2f})"


def show_series(measured: list[Series]) -> None:
    """A table of medians with their spread; what was not measured with its reason, in one row where it is the same for several metrics."""
    rows: list[list[str | Verdict]] = []
    missing: dict[tuple[str, str, str], int] = Counter(
        (item.workload, item.system, item.failure or "") for item in measured if not item.samples
    )
    for item in measured:
        name = f"{item.workload} {item.metric}"
        if not item.samples:
            count = missing.pop((item.workload, item.system, item.failure or ""), 0)
            which = name if count == 1 else f"{item.workload}, {count} metrics"
            if count:
                rows.append([item.verdict, which, item.system, "not measured", "", item.failure or "no samples"])
            continue
        found = summarise(item.samples)
        spread = f"{number(found.minimum)} to {number(found.maximum)}"
        how = item.failure or f"{len(item.samples)} rounds"
        rows.append([item.verdict, name, item.system, f"{number(found.median)} {item.unit}", spread, how])
    console.table(console.Table("", ("verdict", "workload", "system", "median", "spread", "from"), list(rows)))
