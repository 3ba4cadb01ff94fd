# SPDX-License-Identifier: Apache-2.0
"""Why no summary may be made of a run: what is missing, stale or unequal in it (failure modes P4, P5 and P6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.fingerprint import OF_THE_SYSTEM, OF_THE_TOOL, differences, key
from ci.model import Series
from ci.report.evidence import Files
from ci.report.recorded import measured
from ci.samples import LEAST_SAMPLES

_MOST_FILES = 3


@dataclass(frozen=True)
class Now:
    """The tree as it is: its commit, and the sha256 of what is built there, by the artifact's name and target."""

    commit: str
    artifacts: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Refusal:
    """One reason; `kind` is missing, stale or unequal."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def refusals(record: Mapping[str, Any], folder: Path, now: Now | None = None) -> list[Refusal]:
    """Every reason; none where a summary may be made. `now` is None while the run itself writes its report."""
    series = measured(record)
    if not series:
        return [Refusal("missing", f"the run {record['id']} has measured nothing")]
    found = [*_missing(record, series), *_unproved(series, folder), *_stale(record, series, now), *_unequal(record, series)]
    return list(dict.fromkeys(found))


def _missing(record: Mapping[str, Any], series: list[Series]) -> list[Refusal]:
    found = []
    for item in series:
        if item.verdict.value == "skip":
            continue
        name = f"{item.system} in {item.workload}"
        if item.failure or not item.verdict.ok:
            found.append(Refusal("missing", f"{name} ({item.verdict}): {item.failure or 'no reason was recorded'}"))
        elif len(item.samples) < LEAST_SAMPLES:
            said = f"{len(item.samples)} rounds of {item.metric}, fewer than {LEAST_SAMPLES} support no finding"
            found.append(Refusal("missing", f"{name}: {said}"))
    if not any(item.artifact_sha256 for item in series):
        found.append(Refusal("missing", "no artifact of this project is among what was measured"))
    stages = [stage for stage in record.get("stages", []) if stage["name"] == "bench" and stage["verdict"] not in ("pass", "known")]
    found += [Refusal("missing", f"the stage bench ended with {stage['verdict']}: {stage['detail']}") for stage in stages]
    return found


def _unproved(series: list[Series], folder: Path) -> list[Refusal]:
    """Raw files that are not as recorded: the numbers stand on nothing."""
    files = Files(folder)
    for item in series:
        files.links([{"kind": e.kind, "path": e.path, "sha256": e.sha256} for e in item.evidence if e.kind == "samples"])
    bad = [Refusal("missing", f"the raw file {link.path}: {link.state}") for link in files.wrong]
    rest = len(bad) - _MOST_FILES
    return bad if rest <= 0 else [*bad[:_MOST_FILES], Refusal("missing", f"{rest} more raw files are missing or changed")]


def _stale(record: Mapping[str, Any], series: list[Series], now: Now | None) -> list[Refusal]:
    found = []
    if record.get("dirty"):
        found.append(Refusal("stale", f"the tree differed from the commit {str(record['commit'])[:12]} when the run was made"))
    built = {(str(a["name"]), str(a["target"])): str(a["sha256"]) for a in record.get("artifacts", [])}
    for item in series:
        if item.artifact_sha256 and item.artifact_sha256 not in built.values():
            found.append(Refusal("stale", f"{item.system} was measured as {item.artifact_sha256[:12]}, which this run has not built"))
    if now is None:
        return found
    if record["commit"] != now.commit:
        found.append(Refusal("stale", f"the run is of commit {str(record['commit'])[:12]}, the tree is at {now.commit[:12]}"))
    for name, sha256 in built.items():
        today = now.artifacts.get(name)
        if today is not None and today != sha256:
            found.append(Refusal("stale", f"{name[0]} [{name[1]}] was measured as {sha256[:12]} and is {today[:12]} now"))
    return found


def _unequal(record: Mapping[str, Any], series: list[Series]) -> list[Refusal]:
    """Series of one measure that differ in what is no property of the system, and findings between series that differ at all."""
    found = []
    first: dict[tuple[str, str, str], Series] = {}
    by_name: dict[tuple[str, str, str], list[Series]] = {}
    for item in series:
        by_name.setdefault((item.system, item.workload, item.metric), []).append(item)
        base = first.setdefault(key(item), item)
        for difference in differences(item, base, ignored=OF_THE_SYSTEM | OF_THE_TOOL):
            found.append(Refusal("unequal", f"{item.system} and {base.system} in {item.workload}: {difference}"))
    for stage in record.get("stages", []):
        for item in stage.get("results", {}).get("comparisons", []):
            if item["finding"] in ("faster", "slower"):
                found += _false_finding(item, by_name)
    return found


def _false_finding(item: Mapping[str, Any], by_name: Mapping[tuple[str, str, str], list[Series]]) -> list[Refusal]:
    names = [(str(item[side]), str(item["workload"]), str(item["metric"])) for side in ("system", "baseline")]
    sides = [by_name.get(name, []) for name in names]
    claim = f"'{item['system']} is {item['finding']} than {item['baseline']}' in {item['workload']} {item['metric']}"
    if not all(sides):
        return [Refusal("missing", f"{claim} is of a series that the record does not have")]
    best = min((differences(one, other, ignored=OF_THE_TOOL) for one in sides[0] for other in sides[1]), key=len)
    return [Refusal("unequal", f"{claim}: {difference}") for difference in best[:1]]
