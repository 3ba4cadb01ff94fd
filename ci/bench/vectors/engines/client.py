# SPDX-License-Identifier: Apache-2.0
"""A file system with vectors, through the client library that the manifest names (`vectors:` of the artifact).

The library has a class `Collection` with create, open, add, search, delete, sync and close, which work with inode numbers; the
ids of the benchmark are the names.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np

from ci.bench.vectors.engine import DURABLE, MOUNTED, Engine, EngineError, Ids, Vectors, Where


class Client(Engine):
    """Exact searches of a collection in the mounted folder; `commit` is its fsync."""

    durability = DURABLE
    opened = MOUNTED

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        if where.module is None:
            raise EngineError("the artifact has no client library ('vectors:' in the manifest)")
        spec = importlib.util.spec_from_file_location("vexci_bench_client", where.module)
        if spec is None or spec.loader is None:
            raise EngineError(f"{where.module} cannot be loaded as a Python module")
        self._library: Any = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = self._library  # dataclasses look their module up there
        spec.loader.exec_module(self._library)
        self._path = str(where.folder / "collection")
        self._open: Any = None
        self._inodes = np.zeros(0, np.uint64)
        self._ids: dict[int, int] = {}

    def version(self) -> str:
        found = self._library.info(str(self.where.folder))
        return f"format {found.format_version}, interface {found.uapi_version}"

    def create(self, dimension: int) -> None:
        self._open = self._library.Collection.create(self._path, dimension=dimension, metric="l2")

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        inodes = self._open.add(ids, vectors)
        top = int(ids.max()) + 1
        if top > len(self._inodes):
            self._inodes = np.concatenate([self._inodes, np.zeros(max(top, 2 * len(self._inodes)) - len(self._inodes), np.uint64)])
        self._inodes[ids] = inodes
        self._ids.update(zip(inodes.tolist(), ids.tolist(), strict=True))

    def commit(self) -> None:
        self._open.sync()

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        inodes, _ = self._open.search(query, k)
        return np.fromiter((self._ids[ino] for ino in inodes.tolist()), np.int64, len(inodes))

    def delete(self, ids: Ids) -> None:
        self._open.delete(self._inodes[ids])

    def reopen(self) -> None:
        self._open.close()
        self._open = self._library.Collection.open(self._path)

    def count(self) -> int:
        return len(self._open)

    def worker(self) -> Engine:
        other = Client(self.where)
        other._inodes, other._ids = self._inodes, self._ids
        other._open = self._library.Collection.open(self._path)
        return other

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
