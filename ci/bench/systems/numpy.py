# SPDX-License-Identifier: Apache-2.0
"""numpy: exact search as one matrix product."""

from __future__ import annotations

from ci.bench.system import System

SYSTEM = System(name="numpy", filesystem="", mount=(), engine="numpy", only_here=True)
