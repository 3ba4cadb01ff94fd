# SPDX-License-Identifier: Apache-2.0
"""Reference systems, one adapter a file: each module has a constant `SYSTEM`."""

from __future__ import annotations

from ci.bench.system import System
from ci.bench.systems import ext4, tmpfs
from ci.errors import UsageError

REFERENCES: dict[str, System] = {module.SYSTEM.name: module.SYSTEM for module in (ext4, tmpfs)}


def reference(name: str) -> System:
    """The reference system of that name, or a UsageError with the known ones."""
    if name not in REFERENCES:
        raise UsageError(f"'{name}' is neither an artifact nor a reference system", hint=f"references: {', '.join(REFERENCES)}")
    return REFERENCES[name]
