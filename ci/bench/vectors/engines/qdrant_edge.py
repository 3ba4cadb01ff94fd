# SPDX-License-Identifier: Apache-2.0
"""Qdrant Edge (embedded): Qdrant's own engine in this process. Nothing is durable before `flush`, and HNSW is built by `optimize`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from ci.bench.vectors.engine import DURABLE, Engine, EngineError, Ids, Vectors, Where

M, EF_CONSTRUCT = 16, 100  # Qdrant's own defaults
FULL_SCAN_KIB = 1  # below this many KiB Qdrant would search without its index
INDEX_KIB = 1


class Edge(Engine):
    """One shard, one thread for building and for searching."""

    exact = False
    durability = DURABLE
    separate_index = True

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        import qdrant_edge

        self._q: Any = qdrant_edge
        self._path = str(where.folder / "shard")
        self._shard: Any = None

    def version(self) -> str:
        return f"qdrant-edge-py {version('qdrant-edge-py')}, embedded"

    def create(self, dimension: int) -> None:
        q = self._q
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=dimension, distance=q.Distance.Euclid),
            hnsw_config=q.HnswIndexConfig(M, EF_CONSTRUCT, FULL_SCAN_KIB, max_indexing_threads=1),
            optimizers=q.EdgeOptimizersConfig(indexing_threshold=INDEX_KIB, default_segment_number=1),
            max_search_threads=1,
        )
        self.where.folder.joinpath("shard").mkdir()
        self._shard = q.EdgeShard.create(self._path, config)

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        point = self._q.Point
        points = [point(number, vector) for number, vector in zip(ids.tolist(), vectors.tolist(), strict=True)]
        self._shard.update(self._q.UpdateOperation.upsert_points(points))

    def commit(self) -> None:
        self._shard.flush()

    def index(self) -> str:
        self._shard.optimize()
        self._shard.flush()
        info = self._shard.info()
        indexed = int(info.indexed_vectors_count)
        if indexed == 0:
            raise EngineError("Qdrant reports no indexed vector after optimize()")
        return f"{indexed} of {info.points_count} vectors indexed, m {M}, ef_construct {EF_CONSTRUCT}"

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        q = self._q
        params = q.SearchParams(hnsw_ef=ef)
        found = self._shard.query(q.QueryRequest(limit=k, query=q.Query.Nearest(query.tolist()), params=params))
        return np.array([point.id for point in found], np.int64)

    def delete(self, ids: Ids) -> None:
        self._shard.update(self._q.UpdateOperation.delete_points(ids.tolist()))

    def reopen(self) -> None:
        self.close()
        self._shard = self._q.EdgeShard.load(self._path)

    def count(self) -> int:
        return int(self._shard.count(self._q.CountRequest(exact=True)))

    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None
