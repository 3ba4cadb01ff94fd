# SPDX-License-Identifier: Apache-2.0
"""A Qdrant server at a given address. Its client with `path=` is another program altogether and is never used."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ci.bench.vectors.engine import DURABLE, Engine, EngineError, Ids, Vectors

NAME = "vexci_bench"
_INDEX_SECONDS = 600.0


class QdrantServer(Engine):
    """HNSW that the server builds by itself after the inserts; writes are waited for (`wait=True`)."""

    exact = False
    durability = DURABLE
    separate_index = True
    _client: Any = None

    def _connect(self) -> Any:
        from qdrant_client import QdrantClient

        return QdrantClient(url=self.where.url, timeout=60)

    def version(self) -> str:
        if not self.where.url:
            raise EngineError("no address of a Qdrant server was given")
        self._client = self._connect()
        return f"qdrant {self._client.info().version}, server"

    def create(self, dimension: int) -> None:
        from qdrant_client import models

        if self._client.collection_exists(NAME):
            self._client.delete_collection(NAME)
        self._client.create_collection(
            NAME,
            vectors_config=models.VectorParams(size=dimension, distance=models.Distance.EUCLID),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1),
        )

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        from qdrant_client import models

        self._client.upsert(NAME, models.Batch(ids=ids.tolist(), vectors=vectors.tolist()), wait=True)

    def index(self) -> str:
        from qdrant_client import models

        end = time.monotonic() + _INDEX_SECONDS
        while True:
            info = self._client.get_collection(NAME)
            if info.status == models.CollectionStatus.GREEN and info.indexed_vectors_count:
                return f"{info.indexed_vectors_count} of {info.points_count} vectors indexed"
            if time.monotonic() > end:
                raise EngineError(f"no index within {_INDEX_SECONDS:g} s: {info.indexed_vectors_count} vectors are in it")
            time.sleep(0.05)  # the server has no call that waits for it

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        from qdrant_client import models

        found = self._client.query_points(
            NAME, query=query.tolist(), limit=k, search_params=models.SearchParams(hnsw_ef=ef), with_payload=False
        )
        return np.array([point.id for point in found.points], np.int64)

    def delete(self, ids: Ids) -> None:
        from qdrant_client import models

        self._client.delete(NAME, models.PointIdsList(points=ids.tolist()), wait=True)

    def reopen(self) -> None:
        """The server stays; this connects again."""
        self.close()
        self._client = self._connect()

    def count(self) -> int:
        return int(self._client.count(NAME, exact=True).count)

    def worker(self) -> Engine:
        other = QdrantServer(self.where)
        other._client = other._connect()
        return other

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
