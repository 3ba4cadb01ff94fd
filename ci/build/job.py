# SPDX-License-Identifier: Apache-2.0
"""What a builder is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ci.manifest import ArtifactSpec
from ci.model import KernelTarget
from ci.process import Limits
from ci.revision import Revision
from ci.store import RunFolder

PROCESSES = 1500  # at a time; make -j and the linker of a large crate stay far below


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Job:
    """One artifact for one target. `kernel` is None for a daemon; `say` shows what is going on.

    `attempt` tells apart the logs of several builds of one artifact in one run.
    """

    spec: ArtifactSpec
    root: Path
    run: RunFolder
    revision: Revision
    kernel: KernelTarget | None = None
    say: Callable[[str], None] = field(default=_silent)
    attempt: str = ""

    @property
    def label(self) -> str:
        """As shown to people: the artifact's name, with the kernel's where there is one."""
        return f"{self.spec.name} [{self.kernel.release}]" if self.kernel else self.spec.name

    @property
    def slug(self) -> str:
        """A file name for this job."""
        return f"{self.spec.name}-{self.kernel.release}" if self.kernel else self.spec.name

    @property
    def folder(self) -> Path:
        """The tool's own build folder for this job, below the project's .build."""
        return self.root / ".build" / self.spec.name / (self.kernel.release if self.kernel else "host")

    @property
    def source(self) -> Path:
        """Where in the sources a build tool that works on them in place is called."""
        return self.spec.folder / self.spec.recipe.work

    @property
    def work(self) -> Path:
        """Where in the build folder's copy of the sources the build tool is called."""
        return self.folder / self.spec.recipe.work

    @property
    def limits(self) -> Limits:
        """A build that is silent for five minutes without using the CPU hangs, and one that fills the disk is stopped (B10)."""
        return Limits(
            self.spec.deadline,
            silence=min(300.0, self.spec.deadline),
            log_bytes=64 << 20,
            folder=self.folder if self.folder.is_dir() else None,
            folder_bytes=self.spec.recipe.disk << 20,
            processes=PROCESSES,
        )

    @property
    def clock(self) -> dict[str, str]:
        """The time that compilers and archivers take for now: the commit's, so that two builds of it say the same."""
        return {"SOURCE_DATE_EPOCH": str(self.revision.time)} if self.revision.time else {}

    def filled(self, words: Iterable[str]) -> list[str]:
        """The words of a command or a variable of the manifest, with {folder}, {headers} and {kernel} put in."""
        values = {"{folder}": str(self.folder)}
        if self.kernel:
            values.update({"{headers}": str(self.kernel.headers), "{kernel}": self.kernel.release})
        found = []
        for word in words:
            for name, value in values.items():
                word = word.replace(name, value)
            found.append(word)
        return found

    def log(self, suffix: str) -> Path:
        """A log file of this job in the run folder."""
        return self.run.file("build", f"{self.slug}{self.attempt}.{suffix}")

    def relative(self, path: Path) -> str:
        """A path as a person knows it: relative to the project where it lies inside."""
        return os.path.relpath(path, self.root) if path.is_relative_to(self.root) else str(path)
