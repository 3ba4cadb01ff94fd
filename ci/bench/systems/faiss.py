# SPDX-License-Identifier: Apache-2.0
"""faiss, the flat index on one thread: exact."""

from __future__ import annotations

from ci.bench.system import System

SYSTEM = System(name="faiss", filesystem="", mount=(), engine="faiss", only_here=True)
