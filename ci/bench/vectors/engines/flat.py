# SPDX-License-Identifier: Apache-2.0
"""numpy: every distance is computed, by one matrix product. The plainest exact answer."""

from __future__ import annotations

import numpy as np

from ci.bench.vectors.engine import NOT_DURABLE, WRITTEN, Engine, Ids, Vectors


class Numpy(Engine):
    """|x - q|^2 = |x|^2 - 2 x.q + |q|^2; the last term does not change the order and is left out."""

    durability = NOT_DURABLE
    opened = WRITTEN

    def version(self) -> str:
        return f"numpy {np.__version__}"

    def create(self, dimension: int) -> None:
        self._ids = np.zeros(0, np.int64)
        self._vectors = np.zeros((0, dimension), np.float32)
        self._norms = np.zeros(0, np.float32)

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        self._ids = np.concatenate([self._ids, ids])
        self._vectors = np.concatenate([self._vectors, vectors])
        self._norms = np.concatenate([self._norms, np.einsum("ij,ij->i", vectors, vectors)])

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        distances = self._norms - 2 * (self._vectors @ query)
        k = min(k, len(distances))
        nearest = np.argpartition(distances, k - 1)[:k]
        return self._ids[nearest[np.argsort(distances[nearest])]]

    def delete(self, ids: Ids) -> None:
        keep = ~np.isin(self._ids, ids)
        self._ids, self._vectors, self._norms = self._ids[keep], self._vectors[keep], self._norms[keep]

    def reopen(self) -> None:
        path = self.where.folder / "vectors.npz"
        np.savez(path, ids=self._ids, vectors=self._vectors, norms=self._norms)
        with np.load(path) as stored:
            self._ids, self._vectors, self._norms = stored["ids"], stored["vectors"], stored["norms"]

    def count(self) -> int:
        return len(self._ids)
