# SPDX-License-Identifier: Apache-2.0
"""Qdrant's server over HTTP. An upsert is in the server's log when it returns; the log is synced some seconds later.

As with the embedded one, everything is inserted first and the index is built then, when the server is allowed to.
"""

from __future__ import annotations

import time
from typing import Any

from ci.bench.vectors.engine import LOGGED, STAYS, Engine, EngineError, Ids, Vectors, Where

NAME = "vexci-bench"
M, EF_CONSTRUCT = 16, 100  # Qdrant's own defaults
FULL_SCAN_KIB = 10  # the least that the server takes: below it, it would search without its index
INDEX_KIB = 1
INDEX_SECONDS = 600.0
CALL_SECONDS = 120
_POLL_SECONDS = 0.05  # the server gives no other sign of the end of its work


class Server(Engine):
    """One collection with one segment. To open again is to connect again: the server stays."""

    exact = False
    durability = LOGGED
    opened = STAYS
    separate_index = True

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        import numpy
        import qdrant_client

        self._numpy: Any = numpy
        self._models: Any = qdrant_client.models
        self._client: Any = self._connect()

    def _connect(self) -> Any:
        import qdrant_client

        if not self.where.url:
            raise EngineError("the server has no address")
        return qdrant_client.QdrantClient(url=self.where.url, timeout=CALL_SECONDS)

    def version(self) -> str:
        said = self._client.info()
        if "qdrant" not in str(said.title).lower():
            raise EngineError(f"what answers at {self.where.url} calls itself '{said.title}', not Qdrant")
        return f"qdrant {said.version}, server"

    def create(self, dimension: int) -> None:
        m = self._models
        if self._client.collection_exists(NAME):
            self._client.delete_collection(NAME)
        self._client.create_collection(
            NAME,
            vectors_config=m.VectorParams(size=dimension, distance=m.Distance.EUCLID),
            hnsw_config=m.HnswConfigDiff(m=M, ef_construct=EF_CONSTRUCT, full_scan_threshold=FULL_SCAN_KIB),
            optimizers_config=m.OptimizersConfigDiff(indexing_threshold=0, default_segment_number=1),
        )

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        batch = self._models.Batch(ids=ids.tolist(), vectors=vectors.tolist())
        self._client.upsert(NAME, points=batch, wait=True)

    def index(self) -> str:
        """Allow the index and wait until the server says that it is built."""
        self._client.update_collection(NAME, optimizers_config=self._models.OptimizersConfigDiff(indexing_threshold=INDEX_KIB))
        end = time.monotonic() + INDEX_SECONDS
        while True:
            info = self._client.get_collection(NAME)
            indexed = int(info.indexed_vectors_count or 0)
            if indexed and info.status == self._models.CollectionStatus.GREEN:
                return f"{indexed} of {info.points_count} vectors indexed, m {M}, ef_construct {EF_CONSTRUCT}"
            if time.monotonic() > end:
                seen = f"'{info.status}' with {indexed} of {info.points_count} vectors indexed"
                raise EngineError(f"after {INDEX_SECONDS:g} s Qdrant is {seen}")
            time.sleep(_POLL_SECONDS)

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        params = self._models.SearchParams(hnsw_ef=ef)
        found = self._client.query_points(NAME, query=query.tolist(), limit=k, search_params=params, with_payload=False)
        ids: Ids = self._numpy.array([point.id for point in found.points], self._numpy.int64)
        return ids

    def delete(self, ids: Ids) -> None:
        self._client.delete(NAME, points_selector=self._models.PointIdsList(points=ids.tolist()), wait=True)

    def reopen(self) -> None:
        self._client.close()
        self._client = self._connect()

    def count(self) -> int:
        return int(self._client.count(NAME, exact=True).count)

    def worker(self) -> Engine:
        return Server(self.where)

    def close(self) -> None:
        self._client.close()

    def drop(self) -> None:
        self._client.delete_collection(NAME)

    def unseen(self) -> dict[str, str]:
        if not self.where.process:
            return dict.fromkeys(("memory", "disk"), "the server was given by its address: what it takes cannot be seen from here")
        return {"memory": "the server runs in a container: what it takes cannot be seen from here"}
