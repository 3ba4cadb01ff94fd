# SPDX-License-Identifier: Apache-2.0
"""An in-toto Statement v1 with the predicate SLSA provenance v1.

Forms: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance.
tests/schemas/ holds a JSON schema of them.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ci import store
from ci.provenance.crates import Crate
from ci.provenance.facts import Facts, header_files, neutral

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:vexci:build:{builder}:v1"
BUILDER = "urn:vexci:builder:local"


def make(facts: Facts, crates: list[Crate]) -> dict[str, Any]:
    """The statement about one artifact, ready for JSON."""
    artifact = facts.artifact
    return {
        "_type": STATEMENT,
        "subject": [{"name": artifact.path.name, "digest": {"sha256": artifact.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE.format(builder=facts.spec.builder),
                "externalParameters": _parameters(facts),
                "internalParameters": {
                    "command": [neutral(facts, word) for word in facts.command],
                    "environment": {name: neutral(facts, value) for name, value in sorted(facts.environment.items())},
                },
                "resolvedDependencies": _dependencies(facts, crates),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": dict(sorted(facts.tools.items()))},
                "metadata": {
                    "invocationId": facts.run,
                    "startedOn": _time(artifact.started),
                    "finishedOn": _time(artifact.modified),
                },
                "byproducts": [{"name": facts.log.name, "digest": {"sha256": store.sha256_file(facts.log)}}] if facts.log.is_file() else [],
            },
        },
    }


def _parameters(facts: Facts) -> dict[str, Any]:
    spec, recipe, artifact = facts.spec, facts.spec.recipe, facts.artifact
    given: dict[str, Any] = {
        "artifact": spec.name,
        "builder": spec.builder,
        "folder": facts.relative(spec.folder),
        "output": spec.output,
        "kernel": facts.kernel.release if facts.kernel else "",
        "target": artifact.target,
        "features": list(artifact.features),
        "profile": spec.profile,
        "variables": dict(spec.variables),
        "work": recipe.work,
        "before": [list(command) for command in recipe.before],
        "goals": list(recipe.goals),
        "toolchain": artifact.toolchain or recipe.toolchain,
    }
    return {name: value for name, value in given.items() if value}


def _dependencies(facts: Facts, crates: list[Crate]) -> list[dict[str, Any]]:
    artifact = facts.artifact
    rows: list[dict[str, Any]] = []
    if artifact.commit != "unknown":
        rows.append({"name": "source", "digest": {"gitCommit": artifact.commit}, "annotations": {"dirty": artifact.dirty}})
    rows += [{"uri": f"file:{facts.relative(path)}", "digest": {"sha256": store.sha256_file(path)}} for path in facts.inputs]
    if facts.kernel is not None:
        package = f"linux-headers-{facts.kernel.release}"
        for path in header_files(facts.kernel):
            name = f"{package}/{path.relative_to(facts.kernel.headers)}"
            rows.append({"name": name, "digest": {"sha256": store.sha256_file(path)}})
    rows += [{"uri": crate.purl, "digest": {"sha256": crate.sha256}} for crate in crates if crate.sha256]
    return rows


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
