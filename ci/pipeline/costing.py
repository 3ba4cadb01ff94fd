# SPDX-License-Identifier: Apache-2.0
"""`./inv ci.cost`: what cells cost here, and what a matrix takes on 1, 4, 32 machines, as tables in Markdown."""

from __future__ import annotations

from pathlib import Path

from ci import console, store
from ci.errors import UsageError
from ci.pipeline.session import Session
from ci.report import cost, merge, words


def show(session: Session, *, kernels: int, machines: str, places: str, since: str) -> None:
    """Print the tables, from this project's records or those below `places` (a,b), begun at or after `since` (a record's time)."""
    if kernels < 1:
        raise UsageError(f"--kernels {kernels}: expected at least 1")
    counts = [_count(word) for word in machines.split(",") if word]
    found = merge.collect([Path(place) for place in places.split(",") if place], "--records") if places else []
    records = [each.record for each in found] if places else store.read_records(session.manifest.root)
    costs = cost.measured(record for record in records if str(record["started"]) >= since)
    if not costs.suites:
        raise UsageError("no record has a suite that ran to its end", hint="./inv validate makes one")
    for line in [*_measured(costs), "", *_plans(costs, kernels, counts), "", *_missing(session, costs)]:
        console.line(line)


def _count(word: str) -> int:
    if not word.isdigit() or not 1 <= int(word) <= 100_000:
        raise UsageError(f"--machines {word}: expected numbers of machines", hint="--machines 1,4,32")
    return int(word)


def _measured(costs: cost.Costs) -> list[str]:
    head = f"Measured in {words.count(costs.records, 'record')}, guests under {', '.join(costs.accelerators) or 'an unknown accelerator'}."
    rows = [head, "", "| suite | artifact | runs | median | least | most |", "| --- | --- | --- | --- | --- | --- |"]
    rows += [
        f"| {c.suite} | {c.artifact} | {c.runs} | {words.seconds(c.median)} | {words.seconds(c.least)} | {words.seconds(c.most)} |"
        for c in costs.suites
    ]
    rows += ["", "| before a suite | records | median |", "| --- | --- | --- |"]
    rows += [f"| {name} | {count} | {words.seconds(seconds)} |" for name, (seconds, count) in costs.before.items()]
    return [*rows, f"| together | | {words.seconds(costs.overhead)} |"]


def _plans(costs: cost.Costs, kernels: int, counts: list[int]) -> list[str]:
    seconds = cost.cells(costs, kernels)
    head = f"{words.count(kernels, 'kernel')}, each of the {len(costs.suites)} rows above in each: {words.count(len(seconds), 'cell')}."
    rows = [f"Computed from these medians: {head}", "", "| machines | until the last cell ends | used |", "| --- | --- | --- |"]
    for count in counts:
        found = cost.plan(seconds, count)
        rows.append(f"| {count} | {words.seconds(found.seconds)} | {found.used:.0%} |")
    most = cost.limit(seconds)
    return [
        *rows,
        "",
        f"It stops scaling at {words.count(most, 'machine')}: then the longest cell, {words.seconds(max(seconds))}, is all of it.",
    ]


def _missing(session: Session, costs: cost.Costs) -> list[str]:
    """What was never measured is said, and not in the sum."""
    seen = {(c.suite, name) for c in costs.suites for name in c.artifact.split("+")}
    wanted = [(spec.name, name) for spec in session.manifest.suites for name in spec.artifacts]
    absent = [f"{suite} on {artifact}" for suite, artifact in wanted if (suite, artifact) not in seen]
    return [f"Not measured in these records, and not in the sum: {', '.join(absent)}." if absent else "Every suite is in the sum."]
