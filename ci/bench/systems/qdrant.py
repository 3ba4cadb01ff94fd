# SPDX-License-Identifier: Apache-2.0
"""Qdrant: the real engine embedded (qdrant-edge-py). The server is of ci/bench/systems/qdrant_server.py."""

from __future__ import annotations

from ci.bench.system import DURABLE, System

EDGE = System(name="qdrant-edge", filesystem="", mount=(), engine="qdrant-edge", durability=DURABLE, only_here=True)
