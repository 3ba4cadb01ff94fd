# SPDX-License-Identifier: Apache-2.0
"""Known failures: which cases may fail where, why, who looks after them, and until when.

`known-failures.yaml` beside the manifest lists them. A listed case that fails is `known`; one that passes, an entry that has expired, and
one that matches no case of a suite that ran are failures of the run: the list says what is so, or it is wrong.
"""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ci import reader
from ci.manifest import Manifest
from ci.model import Case, Check, SuiteResult, Verdict, worst
from ci.reader import ConfigError, Section, nearest

FILE = "known-failures.yaml"
_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One entry. `tests` are ids of cases, with the wildcards of fnmatch; no artifacts or kernels means all of them."""

    name: str
    suite: str
    tests: tuple[str, ...]
    reason: str
    owner: str
    expires: datetime.date
    artifacts: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    line: int = 0

    def concerns(self, suite: str, artifact: str, kernel: str) -> bool:
        """True where the entry is about this suite on this artifact (or one of `a+b`) with this kernel of the manifest."""
        artifacts = artifact.split("+")
        fits = not self.artifacts or any(name in artifacts for name in self.artifacts)
        return self.suite == suite and fits and (not self.kernels or kernel in self.kernels)

    def expired(self, today: datetime.date) -> str:
        """What is to be done where its last day has passed; empty until then."""
        if self.expires >= today:
            return ""
        return f"has expired on {self.expires} ({self.owner}): mend what fails, or look again and set another date"

    def matches(self, case: str) -> bool:
        """True where a pattern fits the case's id."""
        return any(fnmatch.fnmatchcase(case, pattern) for pattern in self.tests)


def read(manifest: Manifest) -> tuple[Entry, ...]:
    """The entries of the file beside the manifest, none where there is none; ConfigError lists every mistake."""
    path = manifest.root / FILE
    if not path.exists():
        return ()
    top = reader.load(path)
    if top.whole("version", least=0) != _VERSION and top.has("version"):
        top.problem("version", f"expected {_VERSION}, the only format that this tool knows")
    entries = tuple(_entry(name, section, manifest) for name, section in top.sections("failures", required=False))
    top.finish()
    if top.problems:
        raise ConfigError(path, top.problems)
    return entries


def expired(manifest: Manifest, today: datetime.date) -> list[str]:
    """A sentence for each entry of the file that nobody stands for any more on that day; a release has none."""
    found = [(entry, entry.expired(today)) for entry in read(manifest)]
    return [f"{FILE}:{entry.line}: '{entry.name}' {why}" for entry, why in found if why]


def _entry(name: str, section: Section, manifest: Manifest) -> Entry:
    suites = {suite.name: suite for suite in manifest.suites}
    suite = section.text("suite")
    if suite and suite not in suites:
        section.problem("suite", f"'{suite}' is not defined{nearest(suite, list(suites))}")
    entry = Entry(
        name=name,
        suite=suite,
        tests=section.texts("tests", None),
        reason=section.text("reason"),
        owner=section.text("owner"),
        expires=_date(section, "expires"),
        artifacts=_names(section, "artifacts", [artifact.name for artifact in manifest.artifacts]),
        kernels=_names(section, "kernels", [kernel.name for kernel in manifest.kernels]),
        line=section.line,
    )
    section.finish()
    return entry


def _names(section: Section, key: str, valid: list[str]) -> tuple[str, ...]:
    given = section.texts(key, ())
    for name in given:
        if name not in valid:
            section.problem(key, f"'{name}' is not defined{nearest(name, valid)}")
    return given


def _date(section: Section, key: str) -> datetime.date:
    text = section.text(key)
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        if text:
            section.problem(key, f"expected a date such as 2027-01-31, got '{text}'")
        return datetime.date.max


@dataclass
class Ledger:
    """The entries during one run, and what became of them. `whole` is False where only some cases of a suite were asked for."""

    entries: tuple[Entry, ...]
    whole: bool = True
    today: datetime.date = field(default_factory=datetime.date.today)
    _seen: set[str] = field(default_factory=set)
    _matched: set[str] = field(default_factory=set)
    _passed: dict[str, list[str]] = field(default_factory=dict)

    def judge(self, result: SuiteResult, kernel: str) -> SuiteResult:
        """The result with the listed failures as `known`. Only `fail` can be: a panic or a hang spoils what comes after it."""
        entries = [entry for entry in self.entries if entry.concerns(result.suite, result.artifact, kernel)]
        self._seen.update(entry.name for entry in entries)
        live = [entry for entry in entries if not entry.expired(self.today)]
        cases = tuple(self._judged(case, live, result) for case in result.cases)
        if cases == result.cases:
            return result
        needed = [case.verdict for case in cases if case.required]
        bad = [f"{case.id}: {case.detail}" for case in cases if not case.ok]
        count = sum(case.verdict is Verdict.KNOWN for case in cases)
        detail = "; ".join([*bad[:3], f"{count} of {len(cases)} cases failed as {FILE} lists them"])
        return replace(result, cases=cases, verdict=worst([result.beside, *needed]), detail=detail)

    def _judged(self, case: Case, live: Sequence[Entry], result: SuiteResult) -> Case:
        for entry in live:
            if not entry.matches(case.id):
                continue
            if case.verdict in (Verdict.PASS, Verdict.FAIL):
                self._matched.add(entry.name)
            if case.verdict is Verdict.PASS:
                self._passed.setdefault(entry.name, []).append(f"{case.id} on {result.artifact} [{result.kernel}]")
            if case.verdict is Verdict.FAIL:
                words = f"known until {entry.expires} ({entry.owner}): {entry.reason}; {case.detail}"
                return replace(case, verdict=Verdict.KNOWN, detail=words)
        return case

    def checks(self, path: Path) -> list[Check]:
        """What is wrong with the list itself, as far as this run can tell."""
        return [self._check(entry, path) for entry in self.entries if entry.name in self._seen or entry.expired(self.today)]

    def _check(self, entry: Entry, path: Path) -> Check:
        verdict, detail = Verdict.FAIL, ""
        if expired := entry.expired(self.today):
            detail = expired
        elif passed := self._passed.get(entry.name):
            detail = f"is listed as failing, and passes: {', '.join(passed[:3])}; take it off the list"
        elif entry.name not in self._matched and self.whole:
            detail = f"matches no case of {entry.suite} that ran; correct the name, or take it off the list"
        else:
            verdict, detail = Verdict.PASS, f"fails as listed, until {entry.expires} ({entry.owner})"
        return Check("known", entry.name, f"{path.name}:{entry.line}", verdict, detail)
