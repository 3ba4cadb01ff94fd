# SPDX-License-Identifier: Apache-2.0
"""The stage validate: runs suites in guests, in several slots, and says what came of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ci import console, errors
from ci import validate as suites
from ci.board import Board
from ci.errors import InfrastructureError, Interrupted, ProductFailure
from ci.manifest import ArtifactSpec, KernelSpec, SuiteSpec
from ci.model import Accelerator, Artifact, Case, Evidence, SuiteResult, Verdict, worst
from ci.pipeline import checkouts, choice
from ci.pipeline.choice import Item, Request
from ci.pipeline.guests import deploy_tools, for_guest, once, tools
from ci.pipeline.lives import PoolLives
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session
from ci.pipeline.slots import Slots
from ci.record import Stage, plain
from ci.report import cases as cases_of
from ci.store import RunFolder, atomic_write
from ci.validate import adapters, known, rates
from ci.validate.known import Ledger
from ci.validate.power import run_power

# The suite whose guests are destroyed and started again; all others run in the pool's own guest.
POWER = "power"
# What stands around every other case, in the suites that have it: asked for or not, nothing can be tried without.
AROUND = ("load", "mount", "unmount", "unload")


def validate(pool: Pool, request: Request | None = None, *, repeat: int = 1) -> list[SuiteResult]:
    """The stage validate: every chosen suite on every subject, `repeat` times; a damaged guest is replaced in between."""
    request = request or Request()
    session = pool.session
    manifest = session.manifest
    chosen = choice.items(session, request, pool.spec.kernel) * repeat
    if pool.slots > 1:  # what takes longest comes first, so that all slots end at about the same time
        chosen.sort(key=lambda item: item.suite.deadline, reverse=True)
    todo = [replace(item, number=number) for number, item in enumerate(chosen)]
    ledger = Ledger(known.read(manifest), whole=not request.cases)
    for name, why in choice.left_out(manifest, request).items():
        console.verdict_line(Verdict.SKIP, f"suite {name}: {why}")
        session.record.skip(f"validate {name}", why, required=False)
    pool.ready_for(list(dict.fromkeys(item.kernel for item in todo)))
    with Slots(pool, todo, kernel=lambda item: item.kernel) as slots:
        slots.start()  # a machine that does not start is no failure of this stage
        return _in_stage(session, slots, todo, ledger, request.cases, repeat)


def _in_stage(
    session: Session, slots: Slots[Item], todo: Sequence[Item], ledger: Ledger, cases: tuple[str, ...], repeat: int
) -> list[SuiteResult]:
    manifest = session.manifest
    with session.record.stage("validate") as stage, console.group("validate"):
        work = _Work(stage, ledger, cases, Board([item.label for item in todo]))
        stage.results["slots"] = slots.count
        begin = time.monotonic()
        try:
            with work.board:
                slots.run(work.one)
        finally:
            _say_overhead(stage, work.results, (time.monotonic() - begin) * slots.count)
            stage.evidence += for_other_programs(session.record.run, work.results)
        stage.checks += ledger.checks(manifest.root / known.FILE)
        if repeat > 1:
            _show_rates(stage, work.results)
        _judge(stage, work.results)
    return work.results


class _Work:
    """What the slots do, and what came of it so far."""

    def __init__(self, stage: Stage, ledger: Ledger, cases: tuple[str, ...], board: Board) -> None:
        self.board = board
        self.results: list[SuiteResult] = []
        self._again: list[SuiteResult | str] = []
        self._ended: dict[int, list[Case]] = {}  # of each item that runs, the cases that have ended
        self._ledger = ledger
        self._cases = cases
        self._only = (*cases, *AROUND) if cases else ()
        self._lock = threading.Lock()
        stage.results["suites"] = self.results
        stage.results["retried"] = self._again

    def one(self, pool: Pool, item: Item) -> None:
        """Run one item, a second time where the machine failed; a failure of the product is never tried again."""
        begin = time.monotonic()
        try:
            result = self._try(pool, item)
            if result is None:
                result = self._run(pool, item)
        except KeyboardInterrupt as error:
            self._interrupted(pool, item, time.monotonic() - begin, error)
            raise
        result = with_all(result, self._cases)
        with self._lock:
            result = self._ledger.judge(result, item.kernel)
            self.results.append(result)
        self.board.end(item.number, result.verdict)
        _show_suite(pool.session.record.run, result)
        if result.verdict in (Verdict.PANIC, Verdict.HANG, Verdict.INFRA):
            pool.discard()

    def _interrupted(self, pool: Pool, item: Item, seconds: float, error: KeyboardInterrupt) -> None:
        """Ctrl-C is no reason to forget what was seen before it: the cases that had ended, in a suite that is no result of the product."""
        cases = tuple(self._ended.get(item.number, ()))
        words = f"interrupted by {error.args[0] if error.args else 'SIGINT'} after {len(cases)} cases"
        where = pool.session.kernels[item.kernel].release if item.kernel in pool.session.kernels else item.kernel
        how = Verdict.INTERRUPTED
        result = SuiteResult(item.suite.name, item.subject, where, how, words, item.suite.minimum, cases, seconds, beside=how)
        with self._lock:
            self.results.append(result)
        self.board.end(item.number, how)
        _show_suite(pool.session.record.run, result)

    def _try(self, pool: Pool, item: Item) -> SuiteResult | None:
        """The result of the first try, None where it says nothing of the product and a fresh guest may do better."""
        try:
            result = self._run(pool, item)
            if pool.ended and result.verdict is Verdict.INFRA:  # its guest was ended with the tool
                raise Interrupted(pool.ended)
        except InfrastructureError as error:
            if pool.ended:
                raise Interrupted(pool.ended) from error
            if pool.kept or error.verdict is not Verdict.INFRA:
                raise
            failed: SuiteResult | str = f"{item.label}: {error}"
        else:
            if result.verdict is not Verdict.INFRA or pool.kept:
                return result
            failed = result
        self._again.append(failed)
        why = failed if isinstance(failed, str) else f"{item.label}: {failed.detail}"
        console.note(f"infra, tried once more in a fresh guest: {why}")
        pool.discard()
        return None

    def _run(self, pool: Pool, item: Item) -> SuiteResult:
        self.board.begin(item.number)
        seen = self._ended[item.number] = []
        if not console.interactive():
            console.line(f"{'start':<12}{item.label}")
        root = pool.session.manifest.root
        if missing := adapters.missing(item.suite, root):
            return adapters.skipped(item.suite, item.subject, item.kernel, missing)
        say = partial(self.board.say, item.number)

        def ended(case: Case) -> None:
            seen.append(case)
            self.board.case(item.number, case)

        suite = in_time(item.suite, pool.session.manifest.kernel(pool.spec.kernel), pool.guest().accelerator)
        if suite.name == POWER and item.artifact:
            return _run_power(pool, suite, *item.artifact, self._cases, say, ended)
        fresh = pool.guest()
        deploy_tools(pool)
        run = pool.session.record.run
        both = suite.name in (*suites.TOGETHER, *suites.BOTH_WAYS)
        subjects = [each for each in for_guest(pool.session, pool.spec.kernel) if each[0].name in suite.artifacts] if both else []
        for spec, artifact in subjects or ([item.artifact] if item.artifact else []):
            once(pool, spec, artifact)
        if suite.name in adapters.ADAPTERS:
            suite = checkouts.deploy(pool, suite)
        if suite.name in suites.TOGETHER:
            return suites.run_together(fresh, suite, subjects, run=run, progress=say, ended=ended)
        if item.artifact is None:
            return suites.run_reference(fresh, suite, item.subject, run=run, progress=say, only=self._only, ended=ended)
        others = [each for each in subjects if each != item.artifact]
        return suites.run_suite(fresh, suite, *item.artifact, run=run, progress=say, only=self._only, others=others, ended=ended)


def with_all(result: SuiteResult, cases: Sequence[str]) -> SuiteResult:
    """The result; a failure where one of the cases that were asked for, each a case's name or a group's, is not among what there is."""
    known = [case.id for case in result.cases]
    absent = [name for name in cases if not any(id == name or id.startswith(f"{name}.") for id in known)]
    if not absent or not known:
        return result
    words = f"{result.suite} on {result.artifact} has no case {', '.join(absent)}"
    beside = worst([result.beside, Verdict.FAIL])
    return replace(result, beside=beside, verdict=worst([result.verdict, beside]), detail=f"{words}; {result.detail}")


def in_time(suite: SuiteSpec, kernel: KernelSpec, accelerator: Accelerator) -> SuiteSpec:
    """The suite with the deadlines that it has in such a guest: a kernel with checkers in it is slower, hardware is faster."""
    times = kernel.patience * accelerator.patience
    return replace(suite, deadline=suite.deadline * times, operation_deadline=suite.operation_deadline * times)


def _run_power(
    pool: Pool,
    suite: SuiteSpec,
    spec: ArtifactSpec,
    artifact: Artifact,
    cases: tuple[str, ...],
    say: Callable[[str], None],
    ended: Callable[[Case], None],
) -> SuiteResult:
    lies = bool(dict(suite.options).get("lying_disk"))
    what = [*tools(pool), (spec, artifact)]
    kernel = pool.guest().kernel
    pool.discard()  # the guests with the disk need its memory
    return run_power(
        suite,
        spec,
        artifact,
        lives=lambda: PoolLives(pool, what, lies=lies),
        kernel=kernel,
        run=pool.session.record.run,
        progress=say,
        only=cases,
        ended=ended,
    )


def _judge(stage: Stage, results: Sequence[SuiteResult]) -> None:
    verdict = worst([result.verdict for result in results])
    bad = [result for result in results if not result.verdict.ok]
    stage.detail = f"{len(results) - len(bad)} of {len(results)} suites passed"
    wrong = [check for check in stage.checks if not check.verdict.ok]
    for check in wrong:
        console.error(f"{check.name} {check.detail}", where=check.subject, verdict=check.verdict)
    if bad:
        raise errors.of(verdict, f"{bad[0].suite} on {bad[0].artifact}: {bad[0].detail}")
    if wrong:
        raise ProductFailure(f"{wrong[0].subject}: {wrong[0].name} {wrong[0].detail}")


def _say_overhead(stage: Stage, results: Sequence[SuiteResult], available: float) -> None:
    """What part of the slots' time (seconds, all slots together) was spent in cases; the rest is guests that start, and the tool."""
    inside = sum(case.seconds for result in results for case in result.cases)
    around = sum(result.seconds for result in results) - inside
    stage.results["seconds"] = {"slots": round(available, 3), "cases": round(inside, 3), "suites": round(around, 3)}
    if available > 0 and results:
        rest = max(0.0, available - inside - around)
        parts = f"{inside / available:.0%} in cases, {around / available:.0%} around them, {rest / available:.0%} in starts and deployment"
        console.note(f"{available:.0f} s of slots: {parts}")


def for_other_programs(run: RunFolder, results: list[SuiteResult]) -> list[Evidence]:
    """The cases that ran so far, as JUnit XML and KTAP."""
    written = []
    for kind, name, text in (("junit", "junit.xml", cases_of.junit(results)), ("ktap", "results.ktap", cases_of.ktap(results))):
        path = run.file("validate", name)
        atomic_write(path, text)
        written.append(run.evidence(kind, path))
    return written


def _show_rates(stage: Stage, results: Sequence[SuiteResult]) -> None:
    """How often each case failed, with what can be said of the true rate."""
    found = rates.of(results)
    stage.results["rates"] = plain(found)
    rows: list[Sequence[str | Verdict]] = [[rate.case, rate.where, f"{rate.failures} of {rate.runs}", rate.interval] for rate in found]
    console.table(console.Table("failures", ("case", "where", "failed", "95 % interval of the rate"), rows))


def _show_suite(run: RunFolder, result: SuiteResult) -> None:
    for item in result.evidence:
        if item.kind == "diagnosis" and item.path.endswith("/index.txt"):  # of a hang: what was gathered comes first
            console.line((run.path / item.path).read_text())
    passed = sum(1 for case in result.cases if case.verdict.ok)
    absent = sum(1 for case in result.cases if case.ok and not case.verdict.ok)
    listed = sum(1 for case in result.cases if case.verdict is Verdict.KNOWN)
    more = [f"{count} {what}" for count, what in ((listed, "known to fail"), (absent, "not offered")) if count]
    text = f"{result.suite} on {result.artifact} [{result.kernel}]: {passed} of {len(result.cases)} cases passed"
    console.verdict_line(result.verdict, ", ".join([text, *more]), result.seconds)
    for case in result.cases:
        if not case.ok or case.verdict is Verdict.KNOWN:
            console.verdict_line(case.verdict, f"  {case.id}: {case.detail}", case.seconds)
    if not result.verdict.ok:
        console.error(result.detail, verdict=result.verdict)
        for item in result.evidence:
            console.note(f"  see {item.kind}: {item.path}")
