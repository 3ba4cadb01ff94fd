# SPDX-License-Identifier: Apache-2.0
"""Packages of a small project, for the tests of releases: a program that is on every machine, and this module's sources."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from ci import config
from ci.manifest import Manifest
from ci.release import definition, package, sources
from ci.release.definition import Packaging
from ci.release.package import Contents

PROJECT = Path(__file__).resolve().parents[2]
COMMIT = "4be1c0de" * 5
LONG = "Say in a long sentence, as first lines of commits are, what became of the-volume-that-was-made-before, and of every file in it"
TIME = 1_780_000_000
PROGRAM = Path("/usr/bin/true")
PROGRAMS = ("vexfs_fuse", "mkfs.vexfs", "fsck.vexfs", "dump.vexfs")


def manifest() -> Manifest:
    """This project's own."""
    return config.read(PROJECT / "vexci.yaml")


def packaging() -> Packaging:
    """This project's own definition, without what needs its own programs to run."""
    found = definition.read(manifest())
    return replace(found, packages=tuple(replace(spec, completions=False) for spec in found.packages))


def contents() -> Contents:
    """The module's sources as they are, and one program under four names."""
    names = [name.removeprefix("kernel/") for name in sources.files(PROJECT, "kernel") if not name.startswith("kernel/.")]
    programs = dict.fromkeys(("vexfs-fuse", "vexfs-mkfs", "vexfs-fsck", "vexfs-dump"), PROGRAM)
    return Contents(
        PROJECT, "0.1.0", TIME, programs, {"vexfs-kernel": (PROJECT / "kernel", names)}, {"vexfs-kernel": "vexfs"}, ["One change", LONG]
    )


def packed(folder: Path, work: Path) -> Path:
    """All packages, in a folder that is there already; `work` is one that is not."""
    for spec in packaging().packages:
        for kind in definition.FORMATS:
            package.build(packaging(), spec, kind, contents(), work=work / spec.name / kind, target=folder)
    return folder


def repository(root: Path) -> Path:
    """A repository with a manifest of version 0.1.0 and a tag."""
    root.mkdir()
    (root / "vexci.yaml").write_text("x")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v0.1.0"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words], cwd=root, check=True)
    return root
