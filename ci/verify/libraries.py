# SPDX-License-Identifier: Apache-2.0
"""Shared libraries that a program needs, against those that the target distribution has (V5)."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from ci.model import Check
from ci.verify.subject import Subject

_PREFIX = "GLIBC_"


def checks(subject: Subject) -> list[Check]:
    """One check for each of the manifest's keys `libraries` and `glibc`; none where these are not given."""
    spec = subject.spec
    if spec.libraries is None and not spec.glibc:
        return []
    needed, versions = read(subject.artifact.path)
    listing = "".join(f"{name}: {' '.join(versions.get(name, []))}\n" for name in needed)
    evidence = subject.keep("libraries", listing)
    found = []
    if spec.libraries is not None:
        wrong = [name for name in needed if name not in spec.libraries]
        detail = f"needs {', '.join(needed) or 'none'}"
        if wrong:
            cure = "link what the distribution ships, or add it to 'libraries:' in the manifest if it does"
            detail = f"needs {', '.join(wrong)}, which is not among the target's libraries ({', '.join(spec.libraries) or 'none'}): {cure}"
        found.append(subject.check("V5", "needs only libraries that the target has", not wrong, detail, evidence))
    if spec.glibc:
        found.append(subject.check("V5", f"needs no glibc newer than {spec.glibc}", *_glibc(spec.glibc, versions), evidence))
    return found


def read(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """The sonames of DT_NEEDED, and for each the symbol versions that are asked of it (.gnu.version_r)."""
    needed: list[str] = []
    versions: dict[str, list[str]] = {}
    with open(path, "rb") as file:
        for section in ELFFile(file).iter_sections():
            if section.name == ".dynamic":
                needed = [tag.needed for tag in section.iter_tags() if tag.entry.d_tag == "DT_NEEDED"]
            if isinstance(section, GNUVerNeedSection):
                for library, of in section.iter_versions():
                    versions[library.name] = sorted(each.name for each in of)
    return needed, versions


def _glibc(limit: str, versions: dict[str, list[str]]) -> tuple[bool, str]:
    asked = sorted({(v.removeprefix(_PREFIX), lib) for lib, of in versions.items() for v in of if v.startswith(_PREFIX)})
    private = [library for version, library in asked if not version[:1].isdigit()]
    if private:
        return False, f"uses private symbols of {', '.join(private)} (GLIBC_PRIVATE), which change with every release"
    newer = [(version, library) for version, library in asked if number(version) > number(limit)]
    if newer:
        said = ", ".join(f"{_PREFIX}{version} of {library}" for version, library in newer)
        return False, f"needs {said}: the target has {limit} and would refuse to start it; build it on the oldest distribution it is for"
    newest = max((number(version) for version, _ in asked), default=())
    return True, f"the newest that it needs is {'.'.join(map(str, newest))}" if newest else "needs no version of glibc"


def number(version: str) -> tuple[int, ...]:
    """`2.36` as numbers, so that 2.4 is older than 2.36."""
    return tuple(int(word) for word in version.split("."))
