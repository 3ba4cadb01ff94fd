# SPDX-License-Identifier: Apache-2.0
"""What differs between two records: conditions, artifacts, stages, checks and cases. Speed is judged by `report --compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ci.report import words

Record = Mapping[str, Any]
ABSENT = "absent"


@dataclass(frozen=True)
class Change:
    """One thing that is not the same in both; `absent` where one of them does not have it."""

    what: str
    before: str
    after: str
    detail: str = ""


@dataclass
class Between:
    """Everything that differs, and how much does not. `worse` and `better` are about outcomes alone."""

    conditions: list[Change] = field(default_factory=list)
    artifacts: list[Change] = field(default_factory=list)
    worse: list[Change] = field(default_factory=list)
    better: list[Change] = field(default_factory=list)
    other: list[Change] = field(default_factory=list)
    alike: int = 0
    measured: bool = False

    @property
    def said(self) -> str:
        """`2 outcomes are worse, 1 is better, 3 otherwise different, 120 alike`."""
        if not (self.alike or self.worse or self.better or self.other):
            return "neither run has an outcome to compare"
        parts = [f"{words.count(len(self.worse), 'outcome')} worse", f"{len(self.better)} better"]
        return ", ".join([*parts, f"{len(self.other)} otherwise different", f"{self.alike} alike"])


def between(old: Record, new: Record) -> Between:
    """The newer record against the older one."""
    found = Between(conditions=_changes(_conditions(old), _conditions(new)), artifacts=_changes(_artifacts(old), _artifacts(new)))
    before, after = _outcomes(old), _outcomes(new)
    for name in sorted(before.keys() | after.keys()):
        one, other = (side.get(name, (ABSENT, "")) for side in (before, after))
        if one[0] == other[0]:
            found.alike += 1
            continue
        change = Change(name, one[0], other[0], other[1] or one[1])
        _list(found, change).append(change)
    found.measured = all(any(stage["results"].get("series") for stage in record["stages"]) for record in (old, new))
    return found


def _list(found: Between, change: Change) -> list[Change]:
    """Worse where it was good and is not; what did not run, or had not been there, is neither."""
    good = ("pass", "known")
    bad = ("fail", "panic", "hang")
    if change.after in bad and change.before not in bad:
        return found.worse
    if change.after in good and change.before in bad:
        return found.better
    return found.other


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    names = sorted(before.keys() | after.keys())
    pairs = ((name, before.get(name, ABSENT), after.get(name, ABSENT)) for name in names)
    return [Change(*pair) for pair in pairs if pair[1] != pair[2]]


def _conditions(record: Record) -> dict[str, str]:
    """What was asked for, of which commit, and on which machine."""
    rows = {"command": str(record["command"]), "commit": str(record["commit"])[:12] + (" with changes" if record["dirty"] else "")}
    rows |= {f"host {name}": value for name, value in words.flat(record.get("host") or {})}
    rows |= {f"tool {name}": value for name, value in words.flat(record.get("tools") or {})}
    if record.get("accelerator"):
        rows["accelerator"] = str(record["accelerator"]["name"])
    return rows


def _artifacts(record: Record) -> dict[str, str]:
    rows = {}
    for row in record["artifacts"]:
        way = " ".join(str(row.get(name, "")) for name in ("feature_set", "toolchain", "profile")).replace("default", "").strip()
        rows[f"{row['name']} [{row['target']}]{' ' + way if way else ''}"] = str(row["sha256"])[:12]
    return rows


def _outcomes(record: Record) -> dict[str, tuple[str, str]]:
    """Verdict and detail of each stage, check, suite and case. A name that a run has twice stands for the worse of them."""
    found: dict[str, tuple[str, str]] = {}

    def put(name: str, item: Mapping[str, Any]) -> None:
        now = (str(item["verdict"]), str(item["detail"]))
        if name not in found or found[name][0] in ("pass", "known", "skip"):
            found[name] = now

    for stage in record["stages"]:
        put(f"stage {stage['name']}", stage)
        for check in stage["checks"]:
            put(f"check {check['id']} {check['name']} of {check['subject']}", check)
        for suite in stage["results"].get("suites", []):
            where = f"{suite['suite']} on {suite['artifact']} [{suite['kernel']}]"
            put(where, suite)
            for case in suite["cases"]:
                put(f"{where}, {case['id']}", case)
    return found
