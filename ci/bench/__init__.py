# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: systems under test, workloads, statistics. `run` measures, `comparisons` says what the numbers support."""

from ci.bench import baseline
from ci.bench.compare import comparisons
from ci.bench.details import details
from ci.bench.runner import Stopped, run
from ci.bench.system import System, of_artifact, on_device, slowed
from ci.bench.systems import reference

__all__ = ["Stopped", "System", "baseline", "comparisons", "details", "of_artifact", "on_device", "reference", "run", "slowed"]
