# SPDX-License-Identifier: Apache-2.0
"""Checks of every artifact: it is there, it is this build's, it is the right kind of file."""

from __future__ import annotations

from datetime import datetime, timezone

from ci import store
from ci.model import Check, Kind
from ci.verify import elf
from ci.verify.subject import Subject


def checks(subject: Subject) -> list[Check]:
    """Existence first: without a file there is nothing else to say."""
    path = subject.artifact.path
    if path.is_symlink() or not path.is_file():
        what = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "not there"
        return [subject.check("B4", "the artifact exists", False, f"{path} is {what}; run './inv build'")]
    return [_unchanged(subject), _fresh(subject), _inputs(subject), _kind(subject)]


def _unchanged(subject: Subject) -> Check:
    seen = store.sha256_file(subject.artifact.path)
    same = seen == subject.artifact.sha256
    detail = f"sha256 {seen[:16]}…, {subject.artifact.size} bytes"
    if not same:
        detail = f"the file's sha256 is {seen}, the build recorded {subject.artifact.sha256}; run './inv build' again"
    return subject.check("B4", "the file is the one that was built", same, detail)


def _fresh(subject: Subject) -> Check:
    modified = subject.artifact.path.stat().st_mtime
    ahead = modified - subject.artifact.started
    good = ahead > -1.0
    written = datetime.fromtimestamp(modified, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    detail = f"written {written} UTC, {abs(ahead):.1f} s {'after' if ahead >= 0 else 'before'} the start of its build"
    return subject.check("B3", "newer than the start of its build", good, detail)


def _inputs(subject: Subject) -> Check:
    same = subject.inputs_now == subject.artifact.inputs_sha256
    detail = f"sources hash to {subject.inputs_now[:16]}…, as when it was built"
    if not same:
        detail = "the sources have changed since it was built (stale artifact); run './inv build'"
    return subject.check("B3", "built from the sources as they are", same, detail)


def _kind(subject: Subject) -> Check:
    facts = elf.read(subject.artifact.path)
    module = subject.spec.kind is Kind.KERNEL_MODULE
    wanted = "a relocatable ELF object" if module else "an executable ELF file"
    name = f"is {wanted} for {_arch(subject)}"
    if isinstance(facts, str):
        return subject.check("B5", name, False, f"expected {wanted}: {facts}")
    evidence = subject.keep("elf", f"type {facts.type}\nmachine {facts.machine}\nbuild id {facts.build_id}\nneeded {facts.needed}\n")
    problems = []
    if facts.machine != elf.MACHINES.get(_arch(subject)):
        problems.append(f"it is for {facts.machine}, the target is {_arch(subject)}")
    if module and facts.type != "ET_REL":
        problems.append(f"its type is {facts.type}, a module is ET_REL")
    if not module and not (facts.type == "ET_EXEC" or (facts.type == "ET_DYN" and facts.interpreter)):
        problems.append(f"its type is {facts.type} without an interpreter: a library or an object, no program")
    if not module and not subject.artifact.path.stat().st_mode & 0o111:
        problems.append("its mode has no execute permission")
    detail = "; ".join(problems) or f"{facts.type}, {facts.machine}, build id {facts.build_id[:16] or 'none'}"
    return subject.check("B5" if module else "V4", name, not problems, detail, evidence)


def _arch(subject: Subject) -> str:
    return subject.kernel.arch if subject.kernel else subject.artifact.target.split("-")[0]
