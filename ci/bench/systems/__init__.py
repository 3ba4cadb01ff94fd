# SPDX-License-Identifier: Apache-2.0
"""Reference systems, one adapter a file: each module has a constant for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from ci.bench.system import SERVER, System
from ci.bench.systems import chroma, ext4, faiss, fuse2fs, numpy, qdrant, tmpfs
from ci.errors import UsageError

_FILES = (ext4.SYSTEM, tmpfs.SYSTEM, fuse2fs.SYSTEM)
_VECTORS = (numpy.SYSTEM, faiss.SYSTEM, chroma.EMBEDDED_SYSTEM, chroma.SERVER_SYSTEM, qdrant.EDGE, qdrant.SERVER_SYSTEM)
REFERENCES: dict[str, System] = {system.name: system for system in (*_FILES, *_VECTORS)}


def reference(name: str) -> System:
    """The reference system of that name, or a UsageError with the known ones."""
    if name not in REFERENCES:
        raise UsageError(f"'{name}' is neither an artifact nor a reference system", hint=f"references: {', '.join(REFERENCES)}")
    return REFERENCES[name]


def servers(given: Iterable[str]) -> dict[str, str]:
    """`NAME=URL` words as addresses by system; UsageError where one is no server of these or no address."""
    known = [name for name, system in REFERENCES.items() if system.access == SERVER]
    found: dict[str, str] = {}
    for word in given:
        name, _, url = word.partition("=")
        if name not in known:
            raise UsageError(
                f"--server {word}: '{name}' is no server that can be given", hint=f"such as --server {known[-1]}=http://127.0.0.1:6333"
            )
        try:
            address = urlsplit(url)
            whole = address.scheme in ("http", "https") and bool(address.hostname) and bool(address.port)
        except ValueError:  # a port that is no number
            whole = False
        if not whole:
            raise UsageError(f"--server {word}: '{url}' is no address", hint=f"such as --server {name}=http://127.0.0.1:6333")
        found[name] = url
    return found


def at(system: System, url: str) -> System:
    """The server that runs already at `url`: it is neither started nor stopped. One elsewhere is not compared with one on this machine."""
    host = urlsplit(url).hostname or ""
    access = system.access if host in ("localhost", "::1") or host.startswith("127.") else f"a server on another machine, {host}"
    return replace(system, mount=(), ready=(), after=(), compose=None, foreground=False, url=url, access=access)
