# SPDX-License-Identifier: Apache-2.0
"""What is verified, and how a check is written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ci import store
from ci.manifest import ArtifactSpec
from ci.model import Artifact, Check, Evidence, KernelTarget, Verdict
from ci.store import RunFolder


@dataclass(frozen=True)
class Subject:
    """One artifact with what it claims to be. `inputs_now` is the hash of its sources as they are now.

    `release` is the version that the whole project claims, empty where the manifest gives none. `build_folder` is where the
    build tool worked; without it the artifact's own folder is meant. `source_folder` is that of the sources which lie there as a
    copy, without it that of the manifest.
    """

    artifact: Artifact
    spec: ArtifactSpec
    kernel: KernelTarget | None
    inputs_now: str
    run: RunFolder
    release: str = ""
    build_folder: Path | None = None
    source_folder: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the build tool left its objects and notes."""
        return self.build_folder or self.artifact.path.parent

    @property
    def sources(self) -> Path:
        """The sources of which `folder` holds a copy."""
        return self.source_folder or self.spec.folder

    def check(self, id: str, name: str, good: bool, detail: str, *evidence: Evidence) -> Check:
        """A check's result: `detail` says what was seen, and where it is wrong what was expected."""
        return Check(id, name, self.artifact.label, Verdict.PASS if good else Verdict.FAIL, detail, evidence)

    def skip(self, id: str, name: str, reason: str) -> Check:
        """What cannot be looked at for this target. It did not pass, and the table and the record show that."""
        return Check(id, name, self.artifact.label, Verdict.SKIP, reason, required=False)

    def keep(self, name: str, text: str) -> Evidence:
        """Write what was observed to a file of the run and name it as evidence."""
        path = self.run.file("verify", f"{self.artifact.slug}-{self.artifact.target}.{name}.txt")
        store.atomic_write(path, text)
        return self.run.evidence(name, path)
