# SPDX-License-Identifier: Apache-2.0
"""What static checkers found, against the committed budget of each (V11)."""

from __future__ import annotations

from collections.abc import Sequence

from ci.model import Check, Evidence, Verdict
from ci.verify.subject import Subject


def checks(subject: Subject, checker: str, budget: int, found: Sequence[tuple[str, str]]) -> list[Check]:
    """One check of the number, and one for each finding `(file:line, text)`.

    Over the budget nobody can tell which of them are the new ones: all fail. Within it they are known, and do not decide.
    """
    evidence = subject.keep(checker, "".join(f"{place}: {text}\n" for place, text in found) or "no finding\n")
    over = len(found) > budget
    detail = f"{len(found)} of {budget}"
    if over:
        detail = f"{_plural(len(found))}, the budget is {budget}; mend the new ones"
    elif len(found) < budget:
        detail += f"; lower 'findings: {{{checker}: {budget}}}' in the manifest to {len(found)}, it may only shrink"
    summary = subject.check("V11", f"{checker}: within the budget", not over, detail, evidence)
    return [summary, *(_one(subject, checker, place, text, over, evidence) for place, text in found)]


def _one(subject: Subject, checker: str, place: str, text: str, over: bool, evidence: Evidence) -> Check:
    verdict = Verdict.FAIL if over else Verdict.KNOWN
    return Check("V11", checker, subject.artifact.label, verdict, f"{place}: {text}", (evidence,), required=over)


def _plural(count: int) -> str:
    return f"{count} finding{'s' if count != 1 else ''}"
