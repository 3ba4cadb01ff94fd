# SPDX-License-Identifier: Apache-2.0
"""What is known of one build when its papers are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci import store
from ci.manifest import ArtifactSpec
from ci.model import Artifact, KernelTarget

VERSION = "1"  # of the form in which it is written down


@dataclass(frozen=True)
class Facts:
    """One build. `inputs` are the files that it read below `root`, `tools` versions by program, `run` the run's id."""

    project: str
    release: str
    artifact: Artifact
    spec: ArtifactSpec
    kernel: KernelTarget | None
    root: Path
    inputs: tuple[Path, ...]
    command: Sequence[str]
    environment: Mapping[str, str]
    tools: Mapping[str, str]
    run: str
    log: Path
    time: int

    def key(self) -> str:
        """Changes where the papers of a build that is reused must be written anew."""
        artifact = self.artifact
        words = [VERSION, self.project, self.release, artifact.sha256, artifact.inputs_sha256, artifact.commit, str(artifact.dirty)]
        command = [neutral(self, word) for word in self.command]  # another clone of the same commit makes the same papers
        return store.sha256_text(*words, *command, *(f"{name} {version}" for name, version in sorted(self.tools.items())))

    def relative(self, path: Path) -> str:
        """An input's path from the project's root, the same on every machine."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def neutral(facts: Facts, word: str) -> str:
    """A word of a command line without the folders of this machine."""
    found = word.replace(str(facts.root), ".")
    if facts.kernel is not None:
        above, _, below = str(facts.kernel.headers).partition("/usr/src/")
        found = found.replace(f"{above}/usr/src/", "/usr/src/") if below else found
    return found


def header_files(kernel: KernelTarget) -> list[Path]:
    """The files that fix what a set of kernel headers is: its configuration, its version, its symbols with their CRCs."""
    names = (".config", "include/generated/utsrelease.h", "Module.symvers")
    return [kernel.headers / name for name in names if (kernel.headers / name).is_file()]
