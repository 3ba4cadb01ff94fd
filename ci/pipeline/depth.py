# SPDX-License-Identifier: Apache-2.0
"""The checks of an artifact that need more than its file: the commit it is from, and static checkers over its sources."""

from __future__ import annotations

from dataclasses import replace

from ci import console
from ci.build import analysis
from ci.build.job import Job
from ci.kernels import checkpatch
from ci.manifest import ArtifactSpec
from ci.model import Check
from ci.pipeline.session import Session
from ci.verify import findings, origin
from ci.verify.subject import Subject


def checks(session: Session, subject: Subject, made: Job) -> list[Check]:
    """V8 and V11 of one artifact."""
    found = [origin.check(subject, session.revision.commit, release=session.release)]
    return found + static(session, subject, made)


def static(session: Session, subject: Subject, made: Job) -> list[Check]:
    """The findings of the checkers that the manifest asks for. They are remembered, so that only what changed is looked at again."""
    budgets = dict(subject.spec.findings)
    if not budgets:
        return (
            [] if _covered(session, subject.spec) else [subject.skip("V11", "static checkers", "the manifest asks for none ('findings:')")]
        )
    rows = zip(budgets.items(), look(made), strict=True)
    return [c for (name, budget), each in rows for c in findings.checks(subject, name, budget, [(m.place, m.text) for m in each.findings])]


def look(made: Job) -> list[analysis.Analysis]:
    """What each of the checkers that the manifest asks for finds in the sources of a build."""
    said = replace(made, say=lambda text: console.note(f"{made.label}: {text}"))
    return analysis.analyse(said, [name for name, _ in made.spec.findings], lambda: checkpatch.script(console.note))


def _covered(session: Session, spec: ArtifactSpec) -> bool:
    """Whether the same sources are looked at for another artifact."""
    return any(other.findings and other.folder == spec.folder and other.builder == spec.builder for other in session.manifest.artifacts)
