# SPDX-License-Identifier: Apache-2.0
"""Builds artifacts: one builder a file, each proving that what it returns came from this build's inputs.

job.py       what a builder is given, and the interface
kbuild.py    kernel modules, through the kernel's own Kbuild
cargo.py     Rust binaries, through cargo and its JSON messages
make.py      programs, through their own Makefile
before.py    what a tree needs before its own build
analysis.py  static checkers over the sources, their findings remembered
sources.py   which files a build reads, their hash, the build folder's copy of them
stamp.py     freshness: is this output from these inputs?
messages.py  warnings and first errors out of compiler logs
warnings.py  the warnings of a module, also of what was not compiled again
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ci import store
from ci.build import cargo, kbuild, make, sources
from ci.build.job import Job
from ci.errors import DiskFull
from ci.model import Artifact


class _Builder(Protocol):
    """What a builder's module offers."""

    def precheck(self, job: Job) -> None: ...
    def build(self, job: Job) -> Artifact: ...
    def inputs_hash(self, job: Job, output: Path, /) -> str: ...
    def inputs(self, job: Job, output: Path, /) -> list[Path]: ...
    def command(self, job: Job) -> list[str]: ...
    def environment(self, job: Job) -> dict[str, str]: ...


_BUILDERS: dict[str, _Builder] = {"kbuild": kbuild, "cargo": cargo, "make": make}


def precheck(job: Job) -> None:
    """Refuse what can be seen to be impossible before anything is built (UsageError, in well under 2 s)."""
    _BUILDERS[job.spec.builder].precheck(job)


def build(job: Job) -> Artifact:
    """Build one artifact. Raises ProductFailure, Hang, UsageError or InfrastructureError.

    Where the disk is full nothing stays in the build folder: a copy, a stamp or an output there may be half-written.
    """
    try:
        with store.lock(job.folder / sources.LOCK):  # two runs at once share the build folder: one after the other
            try:
                return _BUILDERS[job.spec.builder].build(job)
            except (OSError, DiskFull) as error:
                if isinstance(error, DiskFull) or error.errno in store.FULL:
                    sources.empty(job.folder)
                raise
    except OSError as error:
        if error.errno not in (*store.FULL, *store.READ_ONLY):
            raise
        raise store.disk_error(error, Path(error.filename or job.folder)) from error


def inputs_hash(job: Job, artifact: Artifact) -> str:
    """The hash of what the build of `artifact` would read now; equal to the recorded one where nothing changed."""
    return _BUILDERS[job.spec.builder].inputs_hash(job, artifact.path)


def inputs(job: Job, artifact: Artifact) -> list[Path]:
    """The files that the build of `artifact` reads, as far as they are the project's own."""
    return _BUILDERS[job.spec.builder].inputs(job, artifact.path)


def plain_command(job: Job) -> tuple[list[str], dict[str, str]]:
    """What a person would type to build it without the tool: argv, and what is added to the environment."""
    builder = _BUILDERS[job.spec.builder]
    return builder.command(job), builder.environment(job)


def place(job: Job, artifact: Artifact) -> tuple[Path, Path] | None:
    """Where the build tool left its notes of a module, and the folder of its sources that this is the copy of; None for a program."""
    if job.kernel is None:
        return None
    folder = kbuild.place(job, artifact.path)
    inside = folder.relative_to(job.folder) if folder.is_relative_to(job.folder) else Path()
    return folder, job.spec.folder / inside
