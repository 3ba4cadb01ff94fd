# SPDX-License-Identifier: Apache-2.0
"""faiss, the flat index on one thread: the exact baseline that others are held against."""

from __future__ import annotations

from typing import Any

import numpy as np

from ci.bench.vectors.engine import NOT_DURABLE, WRITTEN, Engine, EngineError, Ids, Vectors, Where


class Faiss(Engine):
    """IndexFlatL2 below an id map."""

    durability = NOT_DURABLE
    opened = WRITTEN

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        import faiss

        self._faiss: Any = faiss
        self._faiss.omp_set_num_threads(1)
        self._index: Any = None

    def version(self) -> str:
        threads = self._faiss.omp_get_max_threads()
        if threads != 1:
            raise EngineError(f"faiss uses {threads} threads, one was asked for")
        return f"faiss {self._faiss.__version__}, IndexFlatL2, 1 thread"

    def create(self, dimension: int) -> None:
        self._index = self._faiss.IndexIDMap2(self._faiss.IndexFlatL2(dimension))

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        self._index.add_with_ids(vectors, ids)

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        _, ids = self._index.search(query[None, :], k)
        found: Ids = ids[0].astype(np.int64)
        return found

    def delete(self, ids: Ids) -> None:
        self._index.remove_ids(ids)

    def reopen(self) -> None:
        path = str(self.where.folder / "index.faiss")
        self._faiss.write_index(self._index, path)
        self._index = self._faiss.read_index(path)

    def count(self) -> int:
        return int(self._index.ntotal)
