# SPDX-License-Identifier: Apache-2.0
"""What a builder is given."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ci.manifest import ArtifactSpec
from ci.model import KernelTarget
from ci.process import Limits
from ci.revision import Revision
from ci.store import RunFolder


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Job:
    """One artifact for one target. `kernel` is None for a daemon; `say` shows what is going on."""

    spec: ArtifactSpec
    root: Path
    run: RunFolder
    revision: Revision
    kernel: KernelTarget | None = None
    say: Callable[[str], None] = field(default=_silent)

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
    def limits(self) -> Limits:
        """A build that is silent for five minutes without using the CPU hangs (B10)."""
        return Limits(self.spec.deadline, silence=min(300.0, self.spec.deadline), log_bytes=64 << 20)

    def log(self, suffix: str) -> Path:
        """A log file of this job in the run folder."""
        return self.run.file("build", f"{self.slug}.{suffix}")

    def relative(self, path: Path) -> str:
        """A path as a person knows it: relative to the project where it lies inside."""
        return os.path.relpath(path, self.root) if path.is_relative_to(self.root) else str(path)
