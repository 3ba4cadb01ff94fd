# SPDX-License-Identifier: Apache-2.0
"""Puts a provenance statement and a bill of materials beside each artifact, in the folder of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ci import build as builders
from ci import store, tools
from ci.build.job import Job
from ci.model import Artifact
from ci.pipeline.session import Session
from ci.provenance.facts import Facts
from ci.record import Stage

NAMES = ("provenance.intoto.json", "sbom.cdx.json")
_TOOLS = {
    "kbuild": ("gcc", "ld", "make", "pahole"),
    "clang": ("clang", "lld", "make", "pahole"),
    "cargo": ("rustc", "cargo", "gcc", "ld"),
    "make": ("gcc", "ld", "make"),
}


def write(session: Session, stage: Stage, job: Job, artifact: Artifact) -> None:
    """Write both. Those of an artifact that was not built anew are the ones that its build left."""
    facts = _facts(session, job, artifact)
    kept = job.folder / "papers"
    mark = kept / "key"
    if not (mark.is_file() and mark.read_text() == facts.key()):
        _make(facts, job, kept)
        store.atomic_write(mark, facts.key())
    paths = [session.record.run.file("provenance", f"{job.slug}.{name}") for name in NAMES]
    for name, path in zip(NAMES, paths, strict=True):
        shutil.copyfile(kept / name, path)
        stage.evidence.append(session.record.run.evidence(name.partition(".")[0], path))


def _facts(session: Session, job: Job, artifact: Artifact) -> Facts:
    command, environment = builders.plain_command(job)
    return Facts(
        project=session.manifest.project,
        release=session.manifest.release,
        artifact=artifact,
        spec=job.spec,
        kernel=job.kernel,
        root=job.root,
        inputs=tuple(sorted(builders.inputs(job, artifact))),
        command=command,
        environment=environment,
        tools=tools.versions(_TOOLS[job.toolchain or job.spec.builder]),
        run=session.record.run.id,
        log=session.record.run.path / artifact.log,
        time=session.revision.time,
    )


def _make(facts: Facts, job: Job, folder: Path) -> None:
    from ci.build import cargo
    from ci.provenance import crates, sbom, statement

    own: crates.Crate | None = None
    needed: list[crates.Crate] = []
    if job.spec.builder == "cargo":
        own, needed = crates.of_binary(job.source, job.spec.output, job.spec.features, facts.artifact.target, cargo.cargo(job))
    store.atomic_write(folder / NAMES[0], json.dumps(statement.make(facts, needed), indent=2) + "\n")
    store.atomic_write(folder / NAMES[1], sbom.make(facts, own, needed))
