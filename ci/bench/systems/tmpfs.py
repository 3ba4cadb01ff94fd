# SPDX-License-Identifier: Apache-2.0
"""tmpfs: the page cache and nothing else, the upper bound for a file system in memory."""

from __future__ import annotations

from ci.bench.system import VOLATILE, System

SYSTEM = System(
    name="tmpfs",
    filesystem="tmpfs",
    mount=("mount", "-t", "tmpfs", "-o", "size=256m", "vexci-tmpfs", "{mountpoint}"),
    durability=VOLATILE,
)
