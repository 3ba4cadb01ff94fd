# SPDX-License-Identifier: Apache-2.0
"""One engine a file. A name is looked up here without importing the others: each brings libraries of its own."""

from __future__ import annotations

from ci.bench.vectors.engine import Engine, EngineError, Where

NAMES = ("client", "numpy", "faiss", "chroma", "chroma-server", "qdrant-edge", "qdrant-server")


def engine(name: str, where: Where) -> Engine:
    """The engine of that name at its place; EngineError where its library is missing."""
    try:
        return _kind(name)(where)
    except ImportError as error:
        raise EngineError(f"the library of '{name}' cannot be imported: {error}") from error


def _kind(name: str) -> type[Engine]:
    if name == "client":
        from ci.bench.vectors.engines.client import Client

        return Client
    if name == "numpy":
        from ci.bench.vectors.engines.flat import Numpy

        return Numpy
    if name == "faiss":
        from ci.bench.vectors.engines.faiss import Faiss

        return Faiss
    if name == "chroma":
        from ci.bench.vectors.engines.chroma import Embedded

        return Embedded
    if name == "chroma-server":
        from ci.bench.vectors.engines.chroma import Server

        return Server
    if name == "qdrant-edge":
        from ci.bench.vectors.engines.qdrant_edge import Edge

        return Edge
    if name == "qdrant-server":
        from ci.bench.vectors.engines.qdrant_server import Server as QdrantServer

        return QdrantServer
    raise EngineError(f"the engine '{name}' is not known; there are: {', '.join(NAMES)}")
