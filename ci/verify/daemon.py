# SPDX-License-Identifier: Apache-2.0
"""Checks of daemons: how the program answers, and which features it really has."""

from __future__ import annotations

import json
from pathlib import Path

from ci import process
from ci.errors import Hang, VexciError
from ci.manifest import Probe
from ci.model import Check, Evidence
from ci.process import Limits
from ci.verify import drift, elf, features, libraries
from ci.verify.subject import Subject

ANSWER_SECONDS = 10.0


def checks(subject: Subject) -> list[Check]:
    """`--help` and `--version` as the manifest declares them, then every requested feature."""
    found = []
    for name, probe in (("help", subject.spec.help), ("version", subject.spec.version)):
        if probe is not None:
            found.append(_answers(subject, name, probe))
    answer = found[-1] if subject.spec.version is not None and found[-1].verdict.ok else None
    said = _log(subject, "version").read_text(errors="backslashreplace") if answer else None  # where it failed, V4 has said so
    return found + _features(subject) + libraries.checks(subject) + drift.daemon_checks(subject, said)


def _log(subject: Subject, name: str) -> Path:
    return subject.run.file("verify", f"{subject.artifact.slug}.{name}.txt")


def _ask(subject: Subject, name: str, probe: Probe) -> tuple[str | None, str, Evidence | None]:
    """Its standard output, or None and the reason."""
    log = _log(subject, name)
    err = subject.run.file("verify", f"{subject.artifact.slug}.{name}.stderr.txt")
    for old in (log, err):  # of an earlier look in the same run; what it says now must not be appended to that
        old.unlink(missing_ok=True)
    shown = f"{subject.artifact.path.name} {' '.join(probe.args)}"
    try:
        done = process.run([subject.artifact.path, *probe.args], limits=Limits(ANSWER_SECONDS, log_bytes=1 << 20), log=log, stderr=err)
    except Hang:
        return None, f"'{shown}' did not answer within {ANSWER_SECONDS:g} s", None
    except VexciError as error:
        return None, f"'{shown}': {error.message}", None
    evidence = subject.run.evidence(name, log)
    if not done.ok:
        reason = done.error_text().strip().splitlines()[-1:] or ["it printed nothing"]
        return None, f"'{shown}': {done.how}: {reason[0]}", evidence
    return done.text(), "", evidence


def _answers(subject: Subject, name: str, probe: Probe) -> Check:
    text, reason, evidence = _ask(subject, name, probe)
    title = f"answers {' '.join(probe.args)}"
    kept = (evidence,) if evidence else ()
    if text is None:
        return subject.check("V4", title, False, reason, *kept)
    missing = [wanted for wanted in probe.contains if wanted not in text]
    if missing:
        return subject.check("V4", title, False, f"its answer lacks: {', '.join(repr(m) for m in missing)}", *kept)
    return subject.check("V4", title, True, text.strip().splitlines()[0][:100] if text.strip() else "exit 0", *kept)


def _features(subject: Subject) -> list[Check]:
    """Each requested feature, observed in the program's answer and in its ELF section where these are declared."""
    observed: dict[str, set[str] | str] = {}
    kept: list[Evidence] = []
    if subject.spec.feature_probe is not None:
        observed["its answer"], evidence = _from_probe(subject, subject.spec.feature_probe)
        kept += [evidence] if evidence else []
    if subject.spec.feature_section:
        observed[f"section {subject.spec.feature_section}"] = _from_section(subject, subject.spec.feature_section)
    return features.checks(subject, observed, kept, how="feature_probe or feature_section")


def _from_probe(subject: Subject, probe: Probe) -> tuple[set[str] | str, Evidence | None]:
    text, reason, evidence = _ask(subject, "features", probe)
    if text is None:
        return reason, evidence
    try:
        value = json.loads(text)[probe.key]
    except (ValueError, KeyError, TypeError):
        return f"its answer is no JSON object with the key '{probe.key}'", evidence
    if not isinstance(value, list):
        return f"'{probe.key}' is no list", evidence
    return {str(item) for item in value}, evidence


def _from_section(subject: Subject, name: str) -> set[str] | str:
    facts = elf.read(subject.artifact.path, name)
    if isinstance(facts, str):
        return facts
    if name not in facts.sections:
        return "the section is not there"
    return set(facts.sections[name].decode(errors="replace").replace("\0", "\n").split())
