# SPDX-License-Identifier: Apache-2.0
"""Reference systems, one adapter a file: each module has a constant for each."""

from __future__ import annotations

from ci.bench.system import System
from ci.bench.systems import chroma, ext4, faiss, fuse2fs, numpy, qdrant, tmpfs
from ci.errors import UsageError

_ALL = (ext4.SYSTEM, tmpfs.SYSTEM, fuse2fs.SYSTEM, numpy.SYSTEM, faiss.SYSTEM, chroma.EMBEDDED_SYSTEM, chroma.SERVER_SYSTEM, qdrant.EDGE)
REFERENCES: dict[str, System] = {system.name: system for system in _ALL}


def reference(name: str) -> System:
    """The reference system of that name, or a UsageError with the known ones."""
    if name not in REFERENCES:
        raise UsageError(f"'{name}' is neither an artifact nor a reference system", hint=f"references: {', '.join(REFERENCES)}")
    return REFERENCES[name]
