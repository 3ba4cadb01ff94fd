# SPDX-License-Identifier: Apache-2.0
"""From which commit an artifact was built, and whether that is all that there is to it (V8)."""

from __future__ import annotations

from ci.model import Check
from ci.verify.subject import Subject


def check(subject: Subject, head: str, *, release: bool) -> Check:
    """`head` is the commit that the tree is at now. What a release must not be is only recorded otherwise."""
    artifact = subject.artifact
    problems = []
    if artifact.commit == "unknown":
        problems.append("it was built outside git: commit the tree, so that it can be built again")
    elif artifact.dirty:
        problems.append(f"the tree differed from commit {artifact.commit[:12]}: commit or remove the changes ('git status' lists them)")
    if artifact.commit != head:
        problems.append(f"it was built from commit {artifact.commit[:12]}, the tree is at {head[:12]}: run './inv build' again")
    if not problems:
        return subject.check("V8", "built from a commit as it is", True, f"commit {artifact.commit[:12]}, clean")
    if release:
        return subject.check("V8", "built from a commit as it is", False, "; ".join(problems))
    return subject.check("V8", "its commit is recorded", True, f"{'; '.join(problems)} (a release would fail)")
