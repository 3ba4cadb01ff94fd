# SPDX-License-Identifier: Apache-2.0
"""Features as they are observed in what was built, never as they were asked for: each must be there, and no other set's may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ci.model import Check, Evidence
from ci.verify.subject import Subject


def checks(subject: Subject, observed: Mapping[str, set[str] | str], kept: Sequence[Evidence], *, how: str) -> list[Check]:
    """One check for each requested feature, and one that no feature of another set is there.

    `observed` has for each place the names that were seen there, or a sentence on why there are none; `how` says in what ways
    a manifest or a program declares such a place.
    """
    found = [_present(subject, name, observed, kept, how) for name in subject.spec.features]
    return found + ([_absent(subject, observed, kept, how)] if subject.spec.absent else [])


def of_module(subject: Subject, info: Mapping[str, list[str]], evidence: Evidence) -> list[Check]:
    """The words of MODULE_INFO(features, …)."""
    names = {word for text in info.get("features", []) for word in text.replace(",", " ").split()}
    return checks(subject, {"modinfo 'features'": names}, (evidence,), how="MODULE_INFO(features, …)")


def _present(subject: Subject, name: str, observed: Mapping[str, set[str] | str], kept: Sequence[Evidence], how: str) -> Check:
    title = f"has the feature {name}"
    if not observed:
        return subject.check("V4", title, False, f"the manifest declares no way to observe features ({how})")
    problems = []
    for source, seen in observed.items():
        if isinstance(seen, str):
            problems.append(f"{source}: {seen}")
        elif name not in seen:
            problems.append(f"{source} shows only: {', '.join(sorted(seen)) or 'nothing'}")
    detail = "; ".join(problems) or f"observed in {' and in '.join(observed)}"
    return subject.check("V4", title, not problems, detail, *kept)


def _absent(subject: Subject, observed: Mapping[str, set[str] | str], kept: Sequence[Evidence], how: str) -> Check:
    title = f"is the feature set {subject.artifact.feature_set}"
    if not observed:
        return subject.check("V4", title, False, f"the manifest declares no way to observe features ({how})")
    problems = []
    for source, seen in observed.items():
        foreign = seen if isinstance(seen, str) else sorted(seen & set(subject.spec.absent))
        if foreign:
            problems.append(f"{source}: {foreign}" if isinstance(foreign, str) else f"{source} also shows: {', '.join(foreign)}")
    return subject.check("V4", title, not problems, "; ".join(problems) or f"without {', '.join(subject.spec.absent)}", *kept)
