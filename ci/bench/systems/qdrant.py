# SPDX-License-Identifier: Apache-2.0
"""Qdrant: the real engine embedded (qdrant-edge-py), and its server, out of the compose file beside this one or given by its URL.

No package holds the server, so without a container engine and without a URL it is skipped. qdrant-client with `path=` would be numpy
under Qdrant's name.
"""

from __future__ import annotations

from pathlib import Path

from ci.bench.containers import COMPOSE
from ci.bench.system import DURABLE, LOGGED, SERVER, System

_URL = "http://127.0.0.1:{port}"
_ALIVE = f"import urllib.request as r; r.urlopen('{_URL}/readyz', timeout=5).read()"

EDGE = System(name="qdrant-edge", filesystem="", mount=(), engine="qdrant-edge", durability=DURABLE, only_here=True)
SERVER_SYSTEM = System(
    name="qdrant-server",
    filesystem="",
    mount=("env", "QDRANT_PORT={port}", "QDRANT_STORAGE={mountpoint}", COMPOSE, "up", "--abort-on-container-exit", "--no-color"),
    after=(("env", "QDRANT_PORT={port}", "QDRANT_STORAGE={mountpoint}", COMPOSE, "down", "--volumes", "--timeout", "30"),),
    compose=Path(__file__).with_name("qdrant.compose.yaml"),
    foreground=True,
    ready=("{python}", "-c", _ALIVE),
    engine="qdrant-server",
    url=_URL,
    access=SERVER,
    durability=LOGGED,
    only_here=True,
)
