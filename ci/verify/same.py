# SPDX-License-Identifier: Apache-2.0
"""Two builds of one commit, byte by byte; where they differ, in which sections and in which texts (V10)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from ci import packages, process
from ci.errors import VexciError
from ci.model import Check, Evidence
from ci.process import Limits
from ci.verify.subject import Subject

_TEXT = re.compile(rb"[\x20-\x7e]{6,}")
_SHOWN = 8
_DIFFOSCOPE_SECONDS = 300.0


def check(subject: Subject, one: Path, two: Path, folders: Sequence[Path]) -> Check:
    """The two files must be equal. `folders` are where they were built: one of them in the text is the likely cause."""
    title = "two builds of the same sources are the same"
    if one.read_bytes() == two.read_bytes():
        detail = f"{one.stat().st_size} bytes, built in two folders at two times"
        return subject.check("V10", title, True, detail)
    sections, report = differences(one, two)
    evidence = [
        subject.keep("differences", report),
        *(subject.run.evidence("build", path) for path in (one, two)),
        *_diffoscope(subject, one, two),
    ]
    cause = _cause(report, folders)
    detail = f"they differ in {', '.join(sections[:_SHOWN])}{' …' if len(sections) > _SHOWN else ''}: {cause}"
    return subject.check("V10", title, False, detail, *evidence)


def _cause(report: str, folders: Sequence[Path]) -> str:
    for folder in folders:
        if str(folder) in report:
            return "the path of the build folder is in it; map it away (-ffile-prefix-map, --remap-path-prefix) or do not use it"
    return "a time, a random number or an order that changes is in it; use SOURCE_DATE_EPOCH and sorted lists"


def differences(one: Path, two: Path) -> tuple[list[str], str]:
    """The names of what differs, and a report for people: sizes, the first byte, texts that only one of them has."""
    try:
        first, second = _parts(one), _parts(two)
    except (ELFError, ValueError, KeyError) as error:
        first, second = {"the file": one.read_bytes()}, {"the file": two.read_bytes()}
        lines = [f"not compared by section: {error}"]
    else:
        lines = []
    names = [name for name in [*first, *(n for n in second if n not in first)] if first.get(name) != second.get(name)]
    if not names:
        names, first, second = ["the file's headers"], {"the file's headers": one.read_bytes()}, {"the file's headers": two.read_bytes()}
    for name in names:
        lines += _section(name, first.get(name), second.get(name))
    return names, "\n".join(lines) + "\n"


def _parts(path: Path) -> dict[str, bytes]:
    """The contents of the sections by name (numbered where a name stands several times)."""
    found: dict[str, bytes] = {}
    with open(path, "rb") as file:
        for number, section in enumerate(ELFFile(file).iter_sections()):
            name = section.name if section.name not in found else f"{section.name}#{number}"
            if section.name:
                found[name] = section.data()
    return found


def _section(name: str, one: bytes | None, two: bytes | None) -> list[str]:
    if one is None or two is None:
        return [f"{name}: only in the {'second' if one is None else 'first'} build"]
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    count = sum(a != b for a, b in zip(one, two, strict=False)) + abs(len(one) - len(two))
    lines = [f"{name}: {len(one)} and {len(two)} bytes, {count} differ, the first at {at:#x}"]
    texts, others = set(_TEXT.findall(one)), set(_TEXT.findall(two))
    for which, own in (("first", sorted(texts - others)), ("second", sorted(others - texts))):
        lines += [f"  only in the {which}: {text.decode()[:200]}" for text in own[:_SHOWN]]
    return lines


def _diffoscope(subject: Subject, one: Path, two: Path) -> list[Evidence]:
    """What diffoscope says of them, where it is installed; that it did not end in time takes nothing from the verdict."""
    program = packages.which("diffoscope")
    if program is None:
        return []
    out = subject.run.file("verify", f"{subject.artifact.name}-{subject.artifact.target}.diffoscope.txt")
    try:
        process.run([program, "--text", out, one, two], limits=Limits(_DIFFOSCOPE_SECONDS))
    except VexciError as error:
        out.write_text(f"{error.message}\n")
    return [subject.run.evidence("diffoscope", out)] if out.is_file() else []
