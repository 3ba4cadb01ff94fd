# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: systems under test, workloads, statistics. `run` measures, `comparisons` says what the numbers support."""

from ci.bench.compare import comparisons
from ci.bench.runner import run
from ci.bench.system import System, of_artifact
from ci.bench.systems import reference

__all__ = ["System", "comparisons", "of_artifact", "reference", "run"]
