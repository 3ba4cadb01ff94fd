# SPDX-License-Identifier: Apache-2.0
"""Builds artifacts: one builder a file, each proving that what it returns came from this build's inputs.

job.py       what a builder is given, and the interface
kbuild.py    kernel modules, through the kernel's own Kbuild
cargo.py     Rust binaries, through cargo and its JSON messages
sources.py   which files a build reads, their hash, the build folder's copy of them
stamp.py     freshness: is this output from these inputs?
messages.py  warnings and first errors out of compiler logs
warnings.py  the warnings of a module, also of what was not compiled again
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ci import store
from ci.build import cargo, kbuild
from ci.build.job import Job
from ci.model import Artifact


class _Builder(Protocol):
    """What a builder's module offers."""

    def precheck(self, job: Job) -> None: ...
    def build(self, job: Job) -> Artifact: ...
    def inputs_hash(self, job: Job, output: Path, /) -> str: ...
    def command(self, job: Job) -> list[str]: ...
    def environment(self, job: Job) -> dict[str, str]: ...


_BUILDERS: dict[str, _Builder] = {"kbuild": kbuild, "cargo": cargo}


def precheck(job: Job) -> None:
    """Refuse what can be seen to be impossible before anything is built (UsageError, in well under 2 s)."""
    _BUILDERS[job.spec.builder].precheck(job)


def build(job: Job) -> Artifact:
    """Build one artifact. Raises ProductFailure, Hang, UsageError or InfrastructureError."""
    with store.lock(job.folder / ".vexci-lock"):  # two runs at once share the build folder: one after the other
        return _BUILDERS[job.spec.builder].build(job)


def inputs_hash(job: Job, artifact: Artifact) -> str:
    """The hash of what the build of `artifact` would read now; equal to the recorded one where nothing changed."""
    return _BUILDERS[job.spec.builder].inputs_hash(job, artifact.path)


def plain_command(job: Job) -> tuple[list[str], dict[str, str]]:
    """What a person would type to build it without the tool: argv, and what is added to the environment."""
    builder = _BUILDERS[job.spec.builder]
    return builder.command(job), builder.environment(job)
