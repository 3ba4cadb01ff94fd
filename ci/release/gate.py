# SPDX-License-Identifier: Apache-2.0
"""Why a tree may not be released. Each reason is a sentence with the way out; without a reason it may."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ci import process
from ci.manifest import Manifest
from ci.model import DEFAULT_SET, Verdict, variant
from ci.process import Limits
from ci.revision import Revision

VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")


def tree(manifest: Manifest, version: str, revision: Revision) -> list[str]:
    """What is wrong with the tree itself: its version, its state, its tag."""
    found = []
    if not VERSION.fullmatch(version):
        return [f"'{version}' is no version: expected one such as 1.2.3"]
    if manifest.release != version:
        found.append(
            f"'release:' in {manifest.path.name} says {manifest.release or 'nothing'}, not {version}: set it, and build again (V6)"
        )
    if revision.commit == "unknown":
        found.append("the tree is not a git repository with a commit: nobody could build it again")
    elif revision.dirty:
        found.append("the tree differs from its commit: commit or remove the changes ('git status' lists them)")
    tags = _tags(manifest.root)
    if not {version, f"v{version}"} & set(tags):
        found.append(f"the commit has no tag v{version}: git tag -a v{version}")
    return found


def _tags(root: Path) -> list[str]:
    done = process.run(["git", "tag", "--points-at", "HEAD"], limits=Limits(30), cwd=root, stderr=process.scratch_file("git.err"))
    return done.text().split() if done.ok else []


def records(manifest: Manifest, given: Sequence[Mapping[str, Any]], commit: str, *, chosen: bool) -> list[str]:
    """What is wrong with the evidence. `chosen`: the records were named for this release, so that one of another commit is a mistake;
    of all that lie about, those of other commits are none of its business."""
    others = [record for record in given if record["commit"] != commit]
    if chosen and others:
        return [f"the record {others[0]['id']} is of commit {others[0]['commit'][:12]}, the tree is at {commit[:12]}: test this commit"]
    mine = [record for record in given if record["commit"] == commit and suites_of(record)]
    found = [f"the record {r['id']} is of a tree that differed from the commit: test the clean tree" for r in mine if r["dirty"]]
    found += [reason for record in mine for reason in _seen_to_fail(record)]
    passed = {(suite["suite"], artifact) for record in mine for suite in suites_of(record) if ok(suite) for artifact in of(suite)}
    missing = [pair for pair in _required(manifest) if pair not in passed]
    if missing:
        names = ", ".join(f"{suite} on {artifact}" for suite, artifact in missing)
        found.append(f"no record of commit {commit[:12]} shows that these passed: {names}: run './inv validate'")
    return found


def _seen_to_fail(record: Mapping[str, Any]) -> list[str]:
    """What the record says against the product: a run that was broken off after a failure has seen it all the same."""
    if Verdict(record["verdict"]).blames:
        return [f"the record {record['id']} says {record['verdict']}: {record['detail'] or 'no detail'}"]
    bad = [suite for suite in suites_of(record) if Verdict(suite["verdict"]).blames]
    return [
        f"the record {record['id']} ended as {record['verdict']}, after {suite['suite']} on {suite['artifact']} ended as "
        f"{suite['verdict']}: {suite['detail'] or 'no detail'}"
        for suite in bad
    ]


def _required(manifest: Manifest) -> Iterable[tuple[str, str]]:
    """What is run without being asked for must have passed."""
    return [(suite.name, artifact) for suite in manifest.suites if not suite.on_request for artifact in suite.artifacts]


def suites_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All suites that ran on what was built of the record's commit: those of release.prove ran on packages, of whatever commit."""
    return [suite for stage in record["stages"] if stage["name"] == "validate" for suite in stage["results"].get("suites", [])]


def ok(suite: Mapping[str, Any]) -> bool:
    """Whether a suite passed, known failures apart."""
    return Verdict(suite["verdict"]).ok


def of(suite: Mapping[str, Any]) -> list[str]:
    """The artifacts that a suite's result is about."""
    return str(suite["artifact"]).split("+")


def foreign(given: Sequence[Mapping[str, Any]], commit: str, built: Mapping[tuple[str, str], str]) -> list[str]:
    """What was tested must be what is released: the same bytes. `built` is sha256 by (artifact, target)."""
    found = []
    for record in given:
        if record["commit"] != commit or not suites_of(record):
            continue
        for row in record["artifacts"]:
            mine = built.get((row["name"], row["target"]))
            usual = not variant(row.get("feature_set", DEFAULT_SET), row.get("toolchain", ""), row.get("profile", ""))
            if usual and mine is not None and mine != row["sha256"]:
                found.append(
                    f"the record {record['id']} tested another build of {row['name']} [{row['target']}] "
                    f"({row['sha256'][:12]}, this one is {mine[:12]}): run './inv validate' on this machine, or release where it was tested"
                )
    return found
