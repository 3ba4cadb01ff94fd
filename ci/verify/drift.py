# SPDX-License-Identifier: Apache-2.0
"""Versions and names that stand in several places and must agree (V6)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ci import process
from ci.model import Check
from ci.process import Limits
from ci.verify.subject import Subject

_ASSIGNMENT = re.compile(r"""^\s*([A-Z_]+(?:\[\d+\])?)=(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#"']*))\s*(?:#.*)?$""", re.MULTILINE)
# What dkms or a packaging step fills in says nothing of its own.
_TEMPLATE = re.compile(r"[#$@]")


def module_checks(subject: Subject, info: dict[str, list[str]]) -> list[Check]:
    """MODULE_VERSION, dkms.conf and the manifest's release; the module's and the file system's name in dkms.conf and alias."""
    config = subject.spec.folder / "dkms.conf"
    dkms = _dkms(config)
    versions = {"MODULE_VERSION": (info.get("version") or [""])[0], "PACKAGE_VERSION in dkms.conf": dkms.get("PACKAGE_VERSION", "")}
    if config.is_file() and not dkms.get("PACKAGE_VERSION"):
        return [subject.check("V6", "versions agree", False, f"{config} has no PACKAGE_VERSION, which dkms requires")]
    found = [_versions(subject, versions)]
    names = [value for key, value in dkms.items() if key.startswith("BUILT_MODULE_NAME")] or [dkms.get("PACKAGE_NAME", "")]
    if config.is_file():
        wanted = Path(subject.spec.output).stem
        good = wanted in names
        detail = f"'{wanted}'" if good else f"BUILT_MODULE_NAME in dkms.conf says {', '.join(map(repr, names))}, the module is '{wanted}'"
        found.append(subject.check("V6", "dkms.conf names this module", good, detail))
    aliases = [alias.removeprefix("fs-") for alias in info.get("alias", []) if alias.startswith("fs-")]
    if aliases and subject.spec.filesystem:
        good = subject.spec.filesystem in aliases
        detail = f"'{subject.spec.filesystem}'"
        if not good:
            detail = f"MODULE_ALIAS_FS says {', '.join(map(repr, aliases))}, the manifest 'filesystem: {subject.spec.filesystem}'"
        found.append(subject.check("V6", "file system alias", good, detail))
    return found


def daemon_checks(subject: Subject, answer: str | None) -> list[Check]:
    """Cargo's version, the manifest's release, and what the program itself says. `answer` is None where it was not asked."""
    versions = {"Cargo.toml": _cargo(subject)}
    if not versions["Cargo.toml"] and not subject.release:
        return []
    found = _versions(subject, versions)
    wanted = subject.release or versions["Cargo.toml"]
    if answer is None or not found.verdict.ok:
        return [found]
    good = re.search(rf"(?<![\w.]){re.escape(wanted)}(?![\w.])", answer) is not None
    first = (answer.strip().splitlines() or ["nothing"])[0][:80]
    return [found, subject.check("V6", "says its own version", good, f"'{first}'" if good else f"it answers '{first}', expected {wanted}")]


def _versions(subject: Subject, seen: dict[str, str]) -> Check:
    """All equal where present, a template apart."""
    known = {place: value for place, value in seen.items() if value and not _TEMPLATE.search(value)}
    if subject.release:
        known["'release:' in the manifest"] = subject.release
    listing = ", ".join(f"{place} {value}" for place, value in known.items())
    good = len(set(known.values())) <= 1
    detail = listing or "no version is given anywhere"
    return subject.check("V6", "versions agree", good, detail if good else f"{listing}: set them all to the version that is released")


def _dkms(path: Path) -> dict[str, str]:
    """The plain assignments of a dkms.conf, which is a shell script; what needs a shell to know is left out."""
    found = _ASSIGNMENT.findall(path.read_text()) if path.is_file() else []
    return {name: "".join(values).strip() for name, *values in found}


def _cargo(subject: Subject) -> str:
    """The version of the package that has the binary, from cargo itself (a workspace may give it); empty where there is none."""
    if not (subject.spec.folder / "Cargo.toml").is_file():
        return ""
    argv = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    done = process.run(argv, limits=Limits(60), cwd=subject.spec.folder, stderr=process.scratch_file("metadata.err"))
    packages = json.loads(done.text())["packages"] if done.ok else []
    return next((str(p["version"]) for p in packages if any(t["name"] == subject.spec.output for t in p["targets"])), "")
