# SPDX-License-Identifier: Apache-2.0
"""The compiler's warnings against the committed budget (V9)."""

from __future__ import annotations

from ci.model import Check
from ci.verify.subject import Subject


def checks(subject: Subject) -> list[Check]:
    """One check where the manifest has a budget; that the budget itself does not grow is the pipeline's to see."""
    budget, seen = subject.spec.warnings, subject.artifact.warnings
    if budget is None:
        return []
    log = subject.run.path / subject.artifact.log
    evidence = (subject.run.evidence("build log", log),) if log.is_file() else ()
    detail = f"{seen} of {budget}"
    if seen > budget:
        many = "1 warning" if seen == 1 else f"{seen} warnings"
        detail = f"{many}, the budget is {budget}; mend the new ones, they stand in {subject.artifact.log}"
    elif seen < budget:
        detail += f"; lower 'warnings: {budget}' in the manifest to what is needed, it may only shrink"
    return [subject.check("V9", "compiler warnings are within the budget", seen <= budget, detail, *evidence)]
