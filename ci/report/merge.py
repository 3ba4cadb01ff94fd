# SPDX-License-Identifier: Apache-2.0
"""Joins the records of a farm: which cells were asked for, what became of each, and the suites of all of them.

One of the records is that of `ci.matrix`; it says which cells there must be. Nothing is taken from a record of another commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import store
from ci.errors import UsageError
from ci.model import Verdict, worst

MATRIX, CELL = "matrix", "cell"
# What says nothing about the product, and may therefore be tried again.
_AGAIN = (Verdict.INFRA, Verdict.INTERRUPTED)


@dataclass(frozen=True)
class Found:
    """A record and the folder of its run."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def verdict(self) -> Verdict:
        """A run that had not ended when its files were taken away did not end. One that was broken off, or that the machine ended, after
        a suite had failed has seen that failure."""
        verdict = Verdict(self.record["verdict"])
        verdict = Verdict.INTERRUPTED if verdict is Verdict.RUNNING else verdict
        seen = [Verdict(suite["verdict"]) for suite in self.failures]
        return worst(seen) if verdict in _AGAIN and seen else verdict

    @property
    def failures(self) -> list[Mapping[str, Any]]:
        """The suites in which the product failed."""
        return [suite for suite in self.suites if Verdict(suite["verdict"]).blames]

    def stage(self, name: str) -> Mapping[str, Any] | None:
        """Its last stage of that name."""
        return next((stage for stage in reversed(self.record["stages"]) if stage["name"] == name), None)

    @property
    def suites(self) -> list[Mapping[str, Any]]:
        """The results of all its suites."""
        return [suite for stage in self.record["stages"] for suite in stage["results"].get("suites", [])]


@dataclass(frozen=True)
class Outcome:
    """What became of one cell; `used` is the record that decided, None where there is none."""

    cell: str
    verdict: Verdict
    detail: str
    used: Found | None = None


def collect(places: Iterable[Path], flag: str = "--merge") -> list[Found]:
    """Every record at or below these places, each run once, oldest first. `flag` names them where one is not there."""
    found: dict[str, Found] = {}
    for place in places:
        if not place.exists():
            raise UsageError(f"{flag} {place}: there is no such file or folder", hint="name folders that hold records")
        for file in [place] if place.is_file() else sorted(place.rglob("record.json")):
            record = _read(file)
            found.setdefault(record["id"], Found(file.parent, record))
    if not found:
        raise UsageError(f"no record lies below {', '.join(map(str, places))}", hint="name folders that hold record.json files")
    return [found[id] for id in sorted(found)]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        record: Mapping[str, Any] = json.loads(file.read_text())
        if record["schema"] != 1:
            raise UsageError(f"{file}: its schema is {record['schema']}, this tool knows 1")
        return record
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no run record: {error}", hint="leave it out, or take the artifact again") from error


def matrix_of(found: Sequence[Found]) -> Found:
    """The one record that says which cells there must be."""
    matrices = [each for each in found if each.stage(MATRIX) is not None]
    if len(matrices) != 1:
        raise UsageError(
            f"{len(matrices)} of the {len(found)} records are of './inv ci.matrix', expected exactly one",
            hint="nothing else says which cells there must be: put the folder of its run among those that are merged",
        )
    return matrices[0]


def outcomes(found: Sequence[Found]) -> list[Outcome]:
    """One outcome for each cell of the matrix, in its order. A cell without a record failed."""
    head = matrix_of(found)
    stage = head.stage(MATRIX)
    assert stage is not None
    commit = head.record["commit"]
    others = [each for each in found if each.record["commit"] != commit]
    if others:
        raise UsageError(
            f"the records are of different commits: the matrix is of {commit[:12]}, {others[0].record['id']} of "
            f"{others[0].record['commit'][:12]}",
            hint="merge the records of one commit",
        )
    by_cell: dict[str, list[Found]] = {}
    for each in found:
        cell = each.stage(CELL)
        if cell is not None:
            by_cell.setdefault(cell["results"]["cell"], []).append(each)
    return [_outcome(row, by_cell.get(row["cell"], [])) for row in stage["results"]["cells"]]


def _outcome(cell: Mapping[str, Any], tries: list[Found]) -> Outcome:
    """A cell may have been tried again where the machine failed; what was seen of the product stays."""
    name = str(cell["cell"])
    if not tries:
        return Outcome(name, Verdict.FAIL, "it has no record: it did not run, or its record was lost")
    telling = [each for each in tries if each.verdict not in _AGAIN] or tries
    verdict = worst([each.verdict for each in telling])
    used = next((each for each in reversed(telling) if each.verdict is verdict), telling[-1])
    again = f" ({len(tries)} tries)" if len(tries) > 1 else ""
    if not verdict.ok:
        return Outcome(name, verdict, f"{used.record['id']}: {_why(used)}{again}", used)
    problem = _unproved(cell, used)
    if problem:
        return Outcome(name, Verdict.FAIL, f"{used.record['id']}: it says '{verdict}', but {problem}", used)
    return Outcome(name, verdict, f"{used.record['id']}: {len(used.suites)} suites{again}", used)


def _why(used: Found) -> str:
    """What a record that did not pass says, with what it saw of the product before it was broken off."""
    said = str(used.record["detail"] or used.verdict.value)
    if used.verdict.value == used.record["verdict"] or not used.failures:
        return said
    suite = used.failures[0]
    return f"{suite['suite']} on {suite['artifact']}: {suite['detail'] or suite['verdict']}; then {said}"


def foreign_builds(found: Sequence[Found]) -> list[str]:
    """Sentences about artifacts that the machines did not build alike; empty where all tested the same bytes."""
    seen: dict[tuple[str, ...], set[str]] = {}
    for each in found:
        for row in each.record["artifacts"]:
            key = (row["name"], row["target"], row.get("feature_set", ""), row.get("toolchain", ""), row.get("profile", ""))
            seen.setdefault(key, set()).add(row["sha256"][:12])
    return [f"{name} [{target}]: {', '.join(sorted(sums))}" for (name, target, *_), sums in sorted(seen.items()) if len(sums) > 1]


def _unproved(cell: Mapping[str, Any], used: Found) -> str:
    """Why a record does not show what it claims; empty where it does."""
    mine = [suite for suite in used.suites if suite["suite"] == cell["suite"]]
    seen = {name for suite in mine for name in suite["artifact"].split("+")}  # a suite that compares names all that it compares
    missing = [name for name in str(cell["artifacts"]).split(",") if name not in seen]
    if missing:
        return f"holds no result of {cell['suite']} on {', '.join(missing)}"
    for suite in mine:
        if len(suite["cases"]) < suite["minimum"]:
            return f"{suite['suite']} on {suite['artifact']} has {len(suite['cases'])} cases of at least {suite['minimum']}"
        for item in suite["evidence"]:
            path = used.folder / item["path"]
            if not path.is_file():
                return f"its evidence {item['path']} is missing"
            if store.sha256_file(path) != item["sha256"]:
                return f"its evidence {item['path']} was changed since"
    return ""
