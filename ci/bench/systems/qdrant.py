# SPDX-License-Identifier: Apache-2.0
"""Qdrant: the real engine embedded (qdrant-edge-py). Its server is not among the systems yet."""

from __future__ import annotations

from ci.bench.system import DURABLE, System

EDGE = System(name="qdrant-edge", filesystem="", mount=(), engine="qdrant-edge", durability=DURABLE, only_here=True)
