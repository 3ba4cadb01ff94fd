# SPDX-License-Identifier: Apache-2.0
"""What many records say together: where each suite stands, when a failure first appeared, which tests fail now and then.

Only what was seen of the product counts. What did not run, and what the machine spoilt, is neither a success nor a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ci.model import Verdict
from ci.samples import wilson

WHOLE = "(suite)"
_SAYS_NOTHING = frozenset({"skip", "infra", "interrupted", "running", "usage"})
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """One thing that a run saw: `where` and `name` say of what. `build` names the code, empty where a changed tree makes that unknown."""

    run: str
    commit: str
    where: str
    name: str
    ok: bool
    verdict: str
    detail: str
    build: str = ""


@dataclass(frozen=True)
class State:
    """The newest that is known of a suite on an artifact in a kernel."""

    run: str
    commit: str
    dirty: bool
    suite: str
    artifact: str
    kernel: str
    release: str
    verdict: str
    passed: int
    cases: int
    detail: str


@dataclass(frozen=True)
class Failure:
    """Something that failed at least once. `before` is the last run that saw it good before `first`; `since` is where it began to fail
    without a good run in between; `gone` is the first good run after the last failure, empty where it fails still."""

    where: str
    name: str
    first: Event
    since: Event
    last: Event
    before: str
    gone: str
    failures: int
    runs: int


@dataclass(frozen=True)
class Flaky:
    """A test that both passed and failed on the same code; `low` and `high` enclose the true rate of failures with 95 %."""

    where: str
    name: str
    failures: int
    runs: int
    low: float
    high: float
    last: Event


def without_copies(records: Iterable[Record]) -> list[Record]:
    """The records, oldest first, each result in one of them: a merged record holds the suites of its parts once more.

    Where all parts are there the merged one is left out, else the parts are.
    """
    by_id = {str(record["id"]): record for record in records}
    left_out: set[str] = set()
    for name, record in by_id.items():
        parts = {str(part) for stage in record["stages"] for part in stage["results"].get("records", [])} - {name}
        if parts:
            left_out |= {name} if parts <= by_id.keys() else parts
    return [by_id[name] for name in sorted(by_id) if name not in left_out]


def states(records: Iterable[Record]) -> list[State]:
    """The newest state of each suite on each artifact in each kernel. What says nothing of the product never hides an older answer."""
    found: dict[tuple[str, str, str], State] = {}
    for record in records:
        names = _kernels(record)
        for suite in _suites(record):
            state = _state(record, suite, names.get(str(suite["kernel"]), str(suite["kernel"])))
            key = (state.kernel, state.artifact, state.suite)
            if state.verdict not in _SAYS_NOTHING or key not in found:
                found[key] = state
    return [found[key] for key in sorted(found)]


def _state(record: Record, suite: Mapping[str, Any], kernel: str) -> State:
    passed = sum(case["verdict"] in ("pass", "known") for case in suite["cases"])
    whose = (str(record["id"]), str(record["commit"]), bool(record["dirty"]))
    what = (str(suite["suite"]), str(suite["artifact"]), kernel, str(suite["kernel"]))
    return State(*whose, *what, str(suite["verdict"]), passed, len(suite["cases"]), str(suite["detail"]))


def _kernels(record: Record) -> dict[str, str]:
    """The manifest's name of each release that a module of the record was built for."""
    return {str(row["target"]): str(row["kernel"]) for row in record["artifacts"] if row.get("kernel")}


def _suites(record: Record) -> list[Mapping[str, Any]]:
    return [suite for stage in record["stages"] for suite in stage["results"].get("suites", [])]


def events(record: Record) -> list[Event]:
    """Everything that a run saw of the product: cases, suites, required checks, and stages that failed before they had any."""
    whose = (str(record["id"]), str(record["commit"]))
    found = []
    names = _kernels(record)
    for stage in record["stages"]:
        suites = stage["results"].get("suites", [])
        for check in stage["checks"]:
            if check.get("required", True) and check["verdict"] not in _SAYS_NOTHING:
                where = f"{stage['name']}: {check['subject']}"
                found.append(_event(whose, where, f"{check['id']} {check['name']}", check, ""))
        for suite in suites:
            kernel = names.get(str(suite["kernel"]), str(suite["kernel"]))
            where = f"{suite['suite']} on {suite['artifact']} in {kernel}"
            found += _of_suite(whose, where, suite, _build(record, suite))
        if not suites and not stage["checks"] and stage["verdict"] not in _SAYS_NOTHING:
            found.append(_event(whose, f"stage {stage['name']}", "(stage)", stage, ""))
    return found


def _of_suite(whose: tuple[str, str], where: str, suite: Mapping[str, Any], build: str) -> list[Event]:
    """The cases; the suite as a whole failed by itself only where none of them did."""
    found = [_event(whose, where, str(case["id"]), case, build) for case in suite["cases"] if case["verdict"] not in _SAYS_NOTHING]
    if suite["verdict"] not in _SAYS_NOTHING and all(event.ok for event in found):
        found.append(_event(whose, where, WHOLE, suite, build))
    return found


def _event(whose: tuple[str, str], where: str, name: str, item: Mapping[str, Any], build: str) -> Event:
    verdict = str(item["verdict"])
    return Event(*whose, where, name, Verdict(verdict).ok, verdict, str(item["detail"]), build)


def _build(record: Record, suite: Mapping[str, Any]) -> str:
    """The commit and the bytes that were tested; empty where the tree was changed, or where the record does not say which bytes."""
    if record["dirty"] or record["commit"] == "unknown":
        return ""
    sums = []
    for name in str(suite["artifact"]).split("+"):
        rows = [row for row in record["artifacts"] if row["name"] == name]
        fitting = [row for row in rows if row["target"] == suite["kernel"]] or [row for row in rows if not row.get("kernel")]
        if len(fitting) != 1:
            return ""
        sums.append(str(fitting[0]["sha256"]))
    return " ".join([str(record["commit"]), *sums])


def failures(seen: Sequence[Event]) -> list[Failure]:
    """Everything that failed at least once in these events, oldest first: what fails still before what is gone, the latest first."""
    found = [row for group in _groups(seen).values() if (row := _failure(group)) is not None]
    return sorted(sorted(found, key=lambda row: row.last.run, reverse=True), key=lambda row: bool(row.gone))


def _failure(group: Sequence[Event]) -> Failure | None:
    bad = [at for at, event in enumerate(group) if not event.ok]
    if not bad:
        return None
    last = bad[-1]
    since = last
    while since and not group[since - 1].ok:
        since -= 1
    before = group[bad[0] - 1].run if bad[0] else ""
    gone = group[last + 1].run if last + 1 < len(group) else ""
    event = group[last]
    return Failure(event.where, event.name, group[bad[0]], group[since], event, before, gone, len(bad), len(group))


def flaky(seen: Sequence[Event]) -> list[Flaky]:
    """The tests that did not always end alike on the same commit and bytes, the most frequent failure first.

    The rate is over the runs of such code alone: where a test always passed or always failed it says nothing about chance.
    """
    found = []
    for (where, name), group in _groups([event for event in seen if event.build]).items():
        by_build: dict[str, list[Event]] = {}
        for event in group:
            by_build.setdefault(event.build, []).append(event)
        mixed = [event for alike in by_build.values() if len({event.ok for event in alike}) > 1 for event in alike]
        if mixed:
            failed = [event for event in mixed if not event.ok]
            found.append(Flaky(where, name, len(failed), len(mixed), *wilson(len(failed), len(mixed)), failed[-1]))
    return sorted(found, key=lambda row: (-row.failures / row.runs, row.where, row.name))


def _groups(seen: Iterable[Event]) -> dict[tuple[str, str], list[Event]]:
    found: dict[tuple[str, str], list[Event]] = {}
    for event in seen:
        found.setdefault((event.where, event.name), []).append(event)
    return found
