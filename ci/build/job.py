# SPDX-License-Identifier: Apache-2.0
"""What a builder is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.manifest import ArtifactSpec
from ci.model import DEFAULT_SET, KernelTarget, variant
from ci.parallel import JobServer
from ci.process import Limits, cores
from ci.revision import Revision
from ci.store import RunFolder

PROCESSES = 1500  # at a time; make -j and the linker of a large crate stay far below


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Job:
    """One artifact for one target. `kernel` is None for a daemon; `say` shows what is going on.

    `spec` is as the feature set, the toolchain and the profile have it; the latter two are empty for the usual ones. `server` are the
    processors that it shares with other builds. `attempt` tells apart the logs of several builds of one artifact in one run.
    `together` are the outputs that the build tool makes in the same call, its own among them; empty where it makes only its own.
    `answers` are what build tools said of the tree or of themselves: jobs of one build share them, so that each is asked once.
    """

    spec: ArtifactSpec
    root: Path
    run: RunFolder
    revision: Revision
    kernel: KernelTarget | None = None
    say: Callable[[str], None] = field(default=_silent)
    feature_set: str = DEFAULT_SET
    toolchain: str = ""
    profile: str = ""
    server: JobServer | None = field(default=None, compare=False)
    attempt: str = ""
    together: tuple[str, ...] = ()
    answers: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def variant(self) -> str:
        """What tells it apart from the usual build of the same artifact; empty for that."""
        return variant(self.feature_set, self.toolchain, self.profile)

    @property
    def label(self) -> str:
        """As shown to people: the artifact's name, with the kernel's where there is one."""
        name = f"{self.spec.name} [{self.kernel.release}]" if self.kernel else self.spec.name
        return f"{name} {self.variant}" if self.variant else name

    @property
    def slug(self) -> str:
        """A file name for this job."""
        return "-".join(part for part in (self.spec.name, self.kernel.release if self.kernel else "", self.variant) if part)

    @property
    def folder(self) -> Path:
        """The tool's own build folder for this job, below the project's .build: no two variants share an object."""
        place = self.kernel.release if self.kernel else "host"
        return self.root / ".build" / self.spec.name / (f"{place}-{self.variant}" if self.variant else place)

    @property
    def parallel(self) -> list[str]:
        """How make is told how much to do at once; nothing where it shares the processors with others."""
        return [] if self.server else [f"-j{cores()}"]

    @property
    def shared(self) -> dict[str, str]:
        """What tells the build tool of the processors that it shares."""
        return self.server.environment if self.server else {}

    @property
    def inherited(self) -> tuple[int, ...]:
        """The files that the build tool must inherit for that."""
        return self.server.fds if self.server else ()

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
