# SPDX-License-Identifier: Apache-2.0
"""A record as the reports show it: everything is decided here, the templates only lay it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.model import Verdict, worst
from ci.report import words
from ci.report.benchmarks import Benchmarks, Failure, Finding, benchmarks
from ci.report.evidence import Files, Link
from ci.report.history import History, history
from ci.report.systems import Page, pages

# What a reader looks for in every report; one that is not in the record is said to be absent.
EXPECTED = ("build", "verify", "validate", "bench")


@dataclass(frozen=True)
class Problem:
    """One thing that went wrong, or that did not run."""

    where: str
    verdict: str
    detail: str
    evidence: tuple[Link, ...] = ()


@dataclass(frozen=True)
class CheckRow:
    """One check."""

    id: str
    name: str
    subject: str
    verdict: str
    detail: str
    required: bool
    evidence: tuple[Link, ...]


@dataclass(frozen=True)
class CaseRow:
    """One case of a suite."""

    id: str
    verdict: str
    detail: str
    seconds: float


@dataclass(frozen=True)
class Suite:
    """One suite on one artifact."""

    name: str
    artifact: str
    kernel: str
    verdict: str
    detail: str
    minimum: int
    seconds: float
    cases: tuple[CaseRow, ...]
    evidence: tuple[Link, ...]

    @property
    def passed(self) -> int:
        return sum(case.verdict in ("pass", "known") for case in self.cases)


@dataclass(frozen=True)
class StageRow:
    """One stage, or one that is absent."""

    name: str
    verdict: str
    detail: str
    seconds: float
    required: bool


@dataclass
class View:
    """All that a report says."""

    record: Mapping[str, Any]
    verdict: str
    headline: str
    remarks: list[str]
    facts: list[tuple[str, str]]
    stages: list[StageRow]
    artifacts: list[Mapping[str, Any]]
    checks: list[CheckRow]
    suites: list[Suite]
    benchmarks: Benchmarks
    absent: dict[str, str]
    wrong: list[Problem] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    environment: list[tuple[str, str]] = field(default_factory=list)
    history: History = field(default_factory=History)
    systems: list[Page] = field(default_factory=list)
    forms: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    reproduce: str = ""
    reproduce_href: str = ""

    @property
    def forms_said(self) -> str:
        """How often which form was better, in one sentence for each pair."""
        said = []
        for (one, other), findings in self.forms.items():
            count = Counter(item.finding for item in findings)
            undecided = len(findings) - count["faster"] - count["slower"]
            parts = f"{one} is better in {count['faster']} of {len(findings)} measures, {other} in {count['slower']}"
            said.append(f"{parts}; in {undecided} no difference is shown or there is nothing to compare.")
        return " ".join(said)


def view(record: Mapping[str, Any], folder: Path, earlier: Iterable[Mapping[str, Any]] = (), *, elsewhere: bool = False) -> View:
    """Read a record; `folder` is its run folder, where evidence is looked for, `earlier` are the records of other runs.

    `elsewhere`: the page will not lie in that folder, so evidence is named and not linked.
    """
    files = Files(folder, elsewhere=elsewhere)
    stages = list(record.get("stages", []))
    checks = [_check(check, files) for stage in stages for check in stage.get("checks", [])]
    suites = [_suite(suite, files) for stage in stages for suite in stage.get("results", {}).get("suites", [])]
    measured = benchmarks(stages, files, list(record.get("artifacts", [])))
    verdict, remarks = _verdict(record)
    content = View(
        record=record,
        verdict=verdict,
        headline="",
        remarks=remarks,
        facts=_facts(record),
        stages=[StageRow(s["name"], s["verdict"], s["detail"], s["seconds"], s.get("required", True)) for s in stages],
        artifacts=list(record.get("artifacts", [])),
        checks=checks,
        suites=suites,
        benchmarks=measured,
        absent=_absent(record),
        environment=_environment(record),
        history=history(record, earlier, measured.colours),
        forms=measured.forms(list(record.get("artifacts", []))),
        systems=pages(measured, stages, list(record.get("artifacts", []))),
    )
    content.wrong = _wrong(content, stages, files)
    content.skipped = _skipped(content, stages)
    if elsewhere:
        content.remarks.append("Evidence is named here with its sha256; the files themselves are in the folder of the run.")
    if files.wrong:
        said = words.count(len(files.wrong), "file")
        content.remarks.append(f"Missing or changed since the run: {said} of evidence. What rests on it can no longer be checked.")
    content.headline = _headline(content)
    reproduce = folder / str(record.get("reproduce") or "reproduce.sh")
    if reproduce.is_file() and reproduce.resolve().is_relative_to(folder.resolve()):
        content.reproduce = reproduce.read_text(errors="backslashreplace")
        content.reproduce_href = reproduce.name
    return content


def _verdict(record: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The verdict to show, and what must be said about it."""
    remarks = []
    verdict = str(record["verdict"])
    required = [Verdict(stage["verdict"]) for stage in record.get("stages", []) if stage.get("required", True)]
    if verdict == "running" and record.get("running") == "report":
        verdict = str(worst(required))
        remarks.append("This report was written as the last stage of its run; the verdict is that of the stages before it.")
    elif verdict == "running":
        remarks.append("The run had not ended when this report was written. What follows is what was known then.")
    elif verdict == "interrupted":
        remarks.append("The run was interrupted. What follows is what was known by then; nothing later was observed.")
    if record.get("dirty"):
        remarks.append("The working tree differed from the commit that is named here, so the commit alone does not give these results.")
    return verdict, remarks


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    accelerator = record.get("accelerator")
    commit = str(record.get("commit") or "unknown")
    rows = [
        ("Command", str(record.get("command", "unknown"))),
        ("Commit", commit + (" with changes" if record.get("dirty") else "")),
        ("Started", words.time(record.get("started"))),
        ("Took", words.seconds(record.get("seconds"))),
        ("Run", str(record.get("id", "unknown"))),
    ]
    if accelerator:
        rows.append(("Guests ran under", f"{accelerator['name']}: {accelerator['reason']}"))
    return rows


def _check(check: Mapping[str, Any], files: Files) -> CheckRow:
    return CheckRow(
        check["id"],
        check["name"],
        check["subject"],
        check["verdict"],
        check["detail"],
        check.get("required", True),
        files.links(check.get("evidence", [])),
    )


def _suite(suite: Mapping[str, Any], files: Files) -> Suite:
    cases = tuple(CaseRow(case["id"], case["verdict"], case["detail"], case["seconds"]) for case in suite["cases"])
    return Suite(
        suite["suite"],
        suite["artifact"],
        suite["kernel"],
        suite["verdict"],
        suite["detail"],
        suite["minimum"],
        suite["seconds"],
        cases,
        files.links(suite.get("evidence", [])),
    )


def _absent(record: Mapping[str, Any]) -> dict[str, str]:
    """The reason why each expected stage left nothing."""
    stages = {stage["name"]: stage for stage in record.get("stages", [])}
    reasons = {}
    for name in EXPECTED:
        stage = stages.get(name)
        if stage is None and record.get("running") == name:
            reasons[name] = "it was running when the record was last written, and did not end"
        elif stage is None:
            asked = ", ".join(record.get("requested", [])) or "nothing"
            reasons[name] = f"it is not in this run (asked for: {asked})"
        elif stage["verdict"] == "skip":
            reasons[name] = stage["detail"] or "no reason was recorded"
        elif stage["verdict"] not in ("pass", "known"):
            reasons[name] = f"it ended with {stage['verdict']}: {stage['detail']}"
        else:
            reasons[name] = "it passed and recorded nothing here"
    return reasons


def _wrong(content: View, stages: list[Mapping[str, Any]], files: Files) -> list[Problem]:
    found = [
        Problem(f"stage {stage['name']}", stage["verdict"], stage["detail"], files.links(stage.get("evidence", [])))
        for stage in stages
        if stage["verdict"] not in ("pass", "known", "skip")
    ]
    for check in content.checks:
        if check.verdict not in ("pass", "known", "skip"):
            optional = "" if check.required else " (optional)"
            found.append(
                Problem(f"check {check.id} {check.name} of {check.subject}{optional}", check.verdict, check.detail, check.evidence)
            )
    for suite in content.suites:
        bad = [case for case in suite.cases if case.verdict not in ("pass", "known", "skip")]
        where = f"suite {suite.name} on {suite.artifact}"
        found += [Problem(f"{where}, case {case.id}", case.verdict, case.detail, suite.evidence) for case in bad]
        if not bad and suite.verdict not in ("pass", "known", "skip"):
            found.append(Problem(where, suite.verdict, suite.detail, suite.evidence))
        if len(suite.cases) < suite.minimum:
            found.append(Problem(where, "fail", f"{len(suite.cases)} cases ran, at least {suite.minimum} must", suite.evidence))
    found += [Problem(_benchmark(f), f.verdict, f.reason, f.evidence) for f in content.benchmarks.failures]
    found += [Problem("evidence", "fail", f"{link.path}: {link.state}") for link in files.wrong]
    # A stage that says nothing of its own only repeats what stands below it.
    return [item for item in found if item.detail or len(found) == 1] if any(item.detail for item in found) else found


def _benchmark(item: Failure) -> str:
    """Which series of a system have no numbers: all of a workload, or the metrics that it does not have."""
    metrics = f": {', '.join(item.metrics)}" if item.verdict == "skip" else ""
    return f"benchmark {item.workload} on {item.system}{metrics}"


def _skipped(content: View, stages: list[Mapping[str, Any]]) -> list[Problem]:
    rows = [Problem(f"stage {stage['name']}", "skip", stage["detail"]) for stage in stages if stage["verdict"] == "skip"]
    named = {stage["name"] for stage in stages}
    rows += [Problem(f"stage {name}", "skip", reason) for name, reason in content.absent.items() if name not in named]
    for stage in stages:
        for item in stage.get("results", {}).get("skipped", []):
            name = next((str(value) for key, value in item.items() if key != "reason"), stage["name"])
            rows.append(Problem(f"{stage['name']}: {name}", "skip", str(item.get("reason", "no reason was recorded"))))
    rows += [Problem(f"check {c.id} {c.name} of {c.subject}", "skip", c.detail) for c in content.checks if c.verdict == "skip"]
    for suite in content.suites:
        rows += [
            Problem(f"suite {suite.name} on {suite.artifact}, case {c.id}", "skip", c.detail) for c in suite.cases if c.verdict == "skip"
        ]
    return rows + [Problem(_benchmark(f), f.verdict, f.reason) for f in content.benchmarks.absent]


def _environment(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(f"host {key}", value) for key, value in words.flat(record.get("host") or {})]
    return rows + [(f"tool {key}", value) for key, value in words.flat(record.get("tools") or {})]


def _headline(content: View) -> str:
    """One sentence of what was observed, in counts."""
    parts = []
    if content.artifacts:
        parts.append(f"{words.count(len(content.artifacts), 'artifact')} built")
    if content.checks:
        parts.append(words.tally([check.verdict for check in content.checks], "check"))
    if content.suites:
        parts.append(words.tally([case.verdict for suite in content.suites for case in suite.cases], "case"))
    if content.benchmarks.charts:
        rows = [row for chart in content.benchmarks.charts for row in chart.rows]
        said = f"{sum(row.summary is not None for row in rows)} of {words.count(len(rows), 'series', 'series')} measured"
        absent = sum(row.verdict == "skip" for row in rows)
        parts.append(said + (f", {absent} skipped, each with its reason" if absent else ""))
    return "; ".join(parts) or "Nothing was observed in this run"
