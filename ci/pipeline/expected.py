# SPDX-License-Identifier: Apache-2.0
"""Failures that the manifest expects (`expect: fail` with a reason): known while they last, a failure once they are gone (B11)."""

from __future__ import annotations

from dataclasses import replace

from ci.errors import GuestPanic, Hang, ProductFailure, VexciError
from ci.manifest import ArtifactSpec, Expectation
from ci.model import Artifact, Check, Verdict

_TITLE = "fails as the manifest expects"


def of(spec: ArtifactSpec, kernel: str | None) -> Expectation | None:
    """The expectation for this artifact on this kernel of the manifest (None for a daemon)."""
    wanted = spec.expect
    return wanted if wanted is not None and (not wanted.kernels or kernel in wanted.kernels) else None


def known(spec: ArtifactSpec, kernel: str | None, error: VexciError) -> dict[str, str] | None:
    """What the record says of a build that failed as expected; None where nothing excuses it.

    A hang, a usage error and a failure of the machine are never what was meant.
    """
    wanted = of(spec, kernel)
    if wanted is None or not isinstance(error, ProductFailure) or isinstance(error, (Hang, GuestPanic)):
        return None
    return {"artifact": spec.name, "kernel": kernel or "", "detail": str(error), "reason": wanted.reason}


def missing(rows: list[dict[str, str]]) -> list[Check]:
    """One check for each artifact that was not built, and was not expected to be."""
    return [Check("B11", _TITLE, _subject(row), Verdict.KNOWN, f"{row['reason']} ({row['detail']})") for row in rows]


def _subject(row: dict[str, str]) -> str:
    return f"{row['artifact']} [{row['kernel']}]" if row["kernel"] else row["artifact"]


def judged(spec: ArtifactSpec, artifact: Artifact, checks: list[Check]) -> list[Check]:
    """The checks of a built artifact: a required one that fails is known, and where none does the expectation itself is wrong."""
    wanted = of(spec, artifact.kernel)
    if wanted is None:
        return checks
    found = [replace(c, verdict=Verdict.KNOWN, detail=f"{c.detail} (expected: {wanted.reason})") if _fails(c) else c for c in checks]
    if found == checks:
        detail = f"it passes, although the manifest says 'expect: fail' ({wanted.reason}): take that out"
        found = [*checks, Check("B11", _TITLE, artifact.label, Verdict.FAIL, detail)]
    return found


def _fails(check: Check) -> bool:
    return check.required and check.verdict is Verdict.FAIL
