# SPDX-License-Identifier: Apache-2.0
"""Suites: many small cases on a mounted artifact in a guest, each observed, each under a deadline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Case, SuiteResult
from ci.store import RunFolder
from ci.validate.suite import run_reference, run_suite

BOTH_WAYS = ("vectors",)  # suites in which the other artifacts look at the volume, too
TOGETHER = ("differential",)  # suites that have all of their artifacts in one guest


def run_together(
    machine: Guest,
    suite: SuiteSpec,
    subjects: Sequence[tuple[ArtifactSpec, Artifact]],
    *,
    run: RunFolder,
    progress: Callable[[str], None] | None = None,
    ended: Callable[[Case], None] = lambda case: None,
) -> SuiteResult:
    """Run a suite of TOGETHER on deployed artifacts. Its libraries are loaded here, where it is wanted."""
    from ci.validate import differential

    return differential.run(machine, suite, subjects, run=run, progress=progress, ended=ended)


__all__ = ["BOTH_WAYS", "TOGETHER", "run_reference", "run_suite", "run_together"]
