# SPDX-License-Identifier: Apache-2.0
"""Runs a suite on one artifact in a guest and judges it: the cases, the kernel's log, and what never answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci import splat
from ci.errors import VexciError
from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Case, Evidence, SuiteResult, Verdict, worst
from ci.store import RunFolder, atomic_write
from ci.validate import plan
from ci.validate.transcript import Transcript

# The agent keeps its own deadlines; the host's strike only where the agent itself does not answer any more.
GRACE_SECONDS = 45.0
# The agent says something every second. Under TCG on a busy host that second can be long.
SILENCE_SECONDS = 30.0
LOG_SECONDS = 30.0
_REASONS = 3  # how many reasons the one-line detail names
_COMM_LENGTH = 15  # the kernel cuts a process's name (TASK_COMM_LEN - 1)

Say = Callable[[str], None]


def run_suite(
    machine: Guest,
    suite: SuiteSpec,
    spec: ArtifactSpec,
    artifact: Artifact,
    *,
    run: RunFolder,
    progress: Say | None = None,
    only: tuple[str, ...] = (),
    others: Sequence[tuple[ArtifactSpec, Artifact]] = (),
    ended: Callable[[Case], None] = lambda case: None,
    path: str = "",
) -> SuiteResult:
    """Run the suite on a deployed artifact. A guest that panics, hangs or is lost is a result too, and raises nothing.

    `only` names cases to run; the suite's minimum stands nevertheless. A guest whose kernel had complained before
    gives `infra`: what it says of this artifact would prove nothing. `others` are deployed artifacts that read the same volumes.
    `path` is where one lies that came into the guest in another way.
    `progress` hears what is being done, `ended` each case at its end.
    """
    facts = plan.make(suite, spec, artifact, only, others, path)
    return _Session(machine, suite, _Subject(artifact.name, artifact.target, artifact), run, progress or (lambda _: None), ended).result(
        facts
    )


def run_reference(
    machine: Guest,
    suite: SuiteSpec,
    filesystem: str,
    *,
    run: RunFolder,
    progress: Say | None = None,
    only: tuple[str, ...] = (),
    ended: Callable[[Case], None] = lambda case: None,
) -> SuiteResult:
    """Run the suite on a file system of the guest's own kernel. What fails there is the suite's mistake, or that kernel's."""
    facts = plan.reference(suite, filesystem, only)
    return _Session(machine, suite, _Subject(filesystem, machine.kernel, None), run, progress or (lambda _: None), ended).result(facts)


@dataclass(frozen=True)
class _Subject:
    """What a suite runs on; `artifact` is None for a file system of the guest's own kernel."""

    name: str
    target: str
    artifact: Artifact | None


@dataclass(frozen=True)
class _Finding:
    """A reason for the verdict that is not a case's own."""

    verdict: Verdict
    sentence: str


class _Session:
    """One suite on one artifact, from the first look at the console to the result."""

    def __init__(
        self, machine: Guest, suite: SuiteSpec, subject: _Subject, run: RunFolder, say: Say, ended: Callable[[Case], None]
    ) -> None:
        self._machine = machine
        self._suite = suite
        self._subject = subject
        self._run = run
        self._folder = run.file("validate", f"{suite.name}-{subject.name}-{subject.target}", "agent.jsonl").parent
        self._transcript = Transcript(say, ended)
        self._lines: list[str] = []
        self._findings: list[_Finding] = []
        self._evidence: list[Evidence] = []
        self._before = machine.console_text()

    def result(self, facts: dict[str, object]) -> SuiteResult:
        """Run the plan, judge, keep the evidence."""
        begin = time.monotonic()
        if earlier := splat.scan(self._before):
            sentence = f"the guest's kernel had complained before this suite began ({earlier[0].sentence}): use a fresh guest"
            self._findings.append(_Finding(Verdict.INFRA, sentence))
        else:
            self._execute(facts)
        self._keep("transcript", "agent.jsonl", "".join(f"{line}\n" for line in self._lines))
        for name, content in self._transcript.files.items():
            self._keep("guest-file", name, content)
        cases = self._transcript.cases
        beside = worst([Verdict.PASS, *(finding.verdict for finding in self._findings)])
        verdict = worst([*([beside] if self._findings else []), *(case.verdict for case in cases if case.required)])
        return SuiteResult(
            suite=self._suite.name,
            artifact=self._subject.name,
            kernel=self._machine.kernel,
            verdict=verdict,
            detail=self._detail(),
            minimum=self._suite.minimum,
            cases=tuple(cases),
            seconds=time.monotonic() - begin,
            evidence=tuple(self._evidence),
            beside=beside,
        )

    def _execute(self, facts: dict[str, object]) -> None:
        stopped: VexciError | None = None
        log = ""
        try:
            self._run_agent(facts)
            log = self._machine.run(["dmesg", "--decode"], deadline=LOG_SECONDS).stdout
        except VexciError as error:
            stopped = error
        self._look_at_kernel(log)
        if stopped is not None:
            self._stopped(stopped)
        self._look_at_cases(stopped)

    def _run_agent(self, facts: dict[str, object]) -> None:
        def on_line(line: str) -> None:
            self._lines.append(line)
            self._transcript.take(line)

        argv = plan.install(self._machine, facts)
        deadline = self._suite.deadline + GRACE_SECONDS
        result = self._machine.run(argv, deadline=deadline, silence=SILENCE_SECONDS, on_line=on_line)
        if result.returncode != 0 or not self._transcript.done:
            self._keep("agent-errors", "agent.stderr", result.stderr)
            last = result.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            message = f"the agent in the guest ended early (exit {result.returncode}): {last[0]}"
            self._findings.append(_Finding(Verdict.INFRA, message))
            self._transcript.close(Verdict.INFRA, message)

    def _look_at_kernel(self, log: str) -> None:
        """What the console and the guest's log say since the suite began (K1-K7)."""
        console = self._machine.console_text()[len(self._before) :]
        self._keep("console", "console.log", console)
        splats = splat.scan(console, guest_log=log)
        if log:
            self._keep("kernel-log", "dmesg.txt", log)
            begins = log.rfind(f"vexci: suite {self._suite.name} on {self._subject.name} begins")
            seen = {found.title for found in splats}
            splats += [found for found in splat.scan(log[max(begins, 0) :]) if found.title not in seen]
        known = splat.decoders([self._subject.artifact]) if splats and self._subject.artifact is not None else ()
        splats = [splat.decode(found, known) for found in splats]
        if splats:
            self._keep("splats", "splats.txt", "\n\n".join(f"{found.sentence}\n{found.explain}\n{found.excerpt}" for found in splats))
        blamed: set[str] = set()
        for found in splats:
            verdict, sentence = self._meaning(found)
            self._findings.append(_Finding(verdict, sentence))
            if found.during not in blamed:  # the first complaint names the case; the others follow from it
                self._blame(found, verdict, sentence)
            blamed.add(found.during)

    def _meaning(self, found: splat.Splat) -> tuple[Verdict, str]:
        """Memory that ran out is the product's fault where the kernel had to kill the product (K7)."""
        if found.verdict is Verdict.INFRA and found.what:
            artifact = self._subject.artifact
            if artifact is not None and found.what == artifact.path.name[:_COMM_LENGTH]:
                return Verdict.FAIL, f"{found.sentence}: the killed process is the artifact's own"
            return Verdict.INFRA, f"{found.sentence}: the killed process is not the artifact's"
        return found.verdict, found.sentence

    def _blame(self, found: splat.Splat, verdict: Verdict, sentence: str) -> None:
        """The case that ran when the kernel complained did not pass, whatever it says itself."""
        cases = self._transcript.cases
        for index, case in enumerate(cases):
            if found.during == f"case {case.id}":
                detail = f"{sentence}; the case itself: {case.verdict}" + (f", {case.detail}" if case.detail else "")
                cases[index] = replace(case, verdict=worst([verdict, case.verdict]), detail=detail)

    def _stopped(self, error: VexciError) -> None:
        """The guest ended or froze in the middle: what the console showed outranks that it was lost (M3)."""
        self._transcript.mark(*splat.last_step(self._machine.console_text()[len(self._before) :]))
        shown = [finding for finding in self._findings if finding.verdict in (Verdict.PANIC, Verdict.HANG)]
        verdict = worst([error.verdict, *(finding.verdict for finding in shown)])
        during = f" (during: {self._transcript.in_progress})" if self._transcript.in_progress else ""
        self._findings.append(_Finding(error.verdict, f"{error}{during}"))
        self._transcript.close(verdict, shown[0].sentence if shown else str(error))
        self._name("diagnosis", error.evidence)

    def _look_at_cases(self, stopped: VexciError | None) -> None:
        transcript = self._transcript
        if stopped is None and any(case.verdict is Verdict.HANG for case in transcript.cases):
            self._name("diagnosis", self._machine.diagnose(self._folder / "diagnosis"))
        if transcript.left:
            self._findings.append(_Finding(Verdict.FAIL, f"could not be removed from the guest at the end: {', '.join(transcript.left)}"))
        explained = stopped is not None or any(case.verdict not in (Verdict.PASS, Verdict.SKIP) for case in transcript.cases)
        if transcript.ran < self._suite.minimum and not explained:
            message = f"{transcript.ran} cases ran, the suite '{self._suite.name}' asks for at least {self._suite.minimum}"
            self._findings.append(_Finding(Verdict.FAIL, message))

    def _detail(self) -> str:
        """The reasons first, then how many cases did what."""
        findings = list(self._findings)
        bad = [case for case in self._transcript.cases if case.verdict not in (Verdict.PASS, Verdict.SKIP)]
        findings += [
            _Finding(case.verdict, f"{case.id}: {case.detail}") for case in bad if not any(f.sentence in case.detail for f in findings)
        ]
        reasons = list(dict.fromkeys(finding.sentence for finding in sorted(findings, key=_badness)))
        if len(reasons) > _REASONS:
            reasons[_REASONS:] = [f"and {len(reasons) - _REASONS} more"]
        counts: dict[str, int] = {}
        for case in self._transcript.cases:
            name = case.verdict.value if case.required else "not offered"
            counts[name] = counts.get(name, 0) + 1
        total = ", ".join(f"{number} {name}" for name, number in counts.items()) or "no cases"
        return "; ".join([*reasons, total])

    def _keep(self, kind: str, name: str, content: str) -> None:
        path = self._folder / name
        atomic_write(path, content)
        self._evidence.append(self._run.evidence(kind, path))

    def _name(self, kind: str, paths: tuple[Path, ...]) -> None:
        self._evidence += [self._run.evidence(kind, path) for path in paths if path.is_file()]


def _badness(finding: _Finding) -> int:
    """Panics first, then what is wrong otherwise, then what says nothing about the product; else in order."""
    return {Verdict.PANIC: 0, Verdict.HANG: 1, Verdict.FAIL: 2}.get(finding.verdict, 3)
