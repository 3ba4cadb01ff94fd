# SPDX-License-Identifier: Apache-2.0
"""Data sets with their queries and exact neighbours, made once and kept as one .npz file.

Synthetic sets come from a seeded generator. Real ones are scaled to length 1, so that the squared Euclidean distance orders as the
cosine does; queries are taken out of the set, so that no query is its own neighbour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ci.bench.vectors.engine import EngineError, Ids, Vectors

MOST_NEIGHBOURS = 100
CLUSTERS = 100
SPREAD = 0.25  # of a cluster, where the centres have a spread of 1
TOLERANCE = 1e-5  # relative; what two ways of summing float32 may differ by
_BLOCK = 64


@dataclass(frozen=True)
class DataSet:
    """`vectors` (n, d) and `queries` (q, d) in float32; `bounds` (q, 100) are the squared distances of the nearest, ascending."""

    vectors: Vectors
    queries: Vectors
    bounds: NDArray[np.float64]

    def recall(self, query: int, ids: Ids, k: int) -> float:
        """The share of the k nearest that was found: of the returned ids, how many are no farther than the k-th nearest.

        Distances are computed here from the ids, so that ties count and nothing that an engine claims is believed. An id that is
        returned twice counts once.
        """
        unique = np.unique(ids[:k])
        if len(unique) and (unique[0] < 0 or unique[-1] >= len(self.vectors)):
            raise EngineError(f"the engine returned an id that was never given to it: {unique[0] if unique[0] < 0 else unique[-1]}")
        difference = self.vectors[unique].astype(np.float64) - self.queries[query].astype(np.float64)
        distances = np.einsum("ij,ij->i", difference, difference)
        bound = self.bounds[query, k - 1]
        return float(np.count_nonzero(distances <= bound * (1 + TOLERANCE)) / k)


def make(name: str, count: int, dimension: int, queries: int, seed: int, source: Path | None, path: Path) -> None:
    """Write the data set; `source` is the .npy file of a real one. EngineError where it has too few vectors."""
    every = _raw(name, count + queries, dimension, seed, source)
    vectors, asked = every[:count], every[count:]
    np.savez(path, vectors=vectors, queries=asked, bounds=_bounds(vectors, asked))


def load(path: Path) -> DataSet:
    """Read what `make` wrote."""
    with np.load(path) as stored:
        return DataSet(stored["vectors"], stored["queries"], stored["bounds"])


def _raw(name: str, total: int, dimension: int, seed: int, source: Path | None) -> Vectors:
    generator = np.random.default_rng(seed)
    if name == "gaussian":
        return generator.standard_normal((total, dimension), dtype=np.float32)
    if name == "clustered":
        centres = generator.standard_normal((CLUSTERS, dimension), dtype=np.float32)
        chosen = centres[generator.integers(0, CLUSTERS, total)]
        noise = generator.standard_normal((total, dimension), dtype=np.float32)
        return np.asarray(chosen + np.float32(SPREAD) * noise, np.float32)
    if source is None:
        raise EngineError(f"the data set '{name}' needs its file")
    stored = np.load(source, mmap_mode="r")
    if stored.shape[1] != dimension or len(stored) < total:
        raise EngineError(f"'{name}' holds {stored.shape[0]} vectors of {stored.shape[1]}; wanted are {total} of {dimension}")
    chosen = np.asarray(stored[np.sort(generator.permutation(len(stored))[:total])], np.float32)
    chosen = chosen[generator.permutation(total)]
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    return (chosen / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _bounds(vectors: Vectors, queries: Vectors) -> NDArray[np.float64]:
    """Squared distances of the nearest neighbours in float64: candidates from a product, then computed exactly."""
    most = min(MOST_NEIGHBOURS, len(vectors))
    wide = vectors.astype(np.float64)
    norms = np.einsum("ij,ij->i", wide, wide)
    found = np.empty((len(queries), most))
    spare = min(len(vectors), most + 32)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK].astype(np.float64)
        near = norms[None, :] - 2 * (block @ wide.T)
        for row, query in enumerate(block):
            candidates = np.argpartition(near[row], spare - 1)[:spare]
            difference = wide[candidates] - query
            found[start + row] = np.sort(np.einsum("ij,ij->i", difference, difference))[:most]
    return found


def fingerprint(path: Path) -> str:
    """sha256 of the arrays themselves; the file's own bytes hold the time of its making."""
    digest = hashlib.sha256()
    with np.load(path) as stored:
        for name in ("vectors", "queries", "bounds"):
            digest.update(f"{name} {stored[name].shape} {stored[name].dtype}".encode())
            digest.update(np.ascontiguousarray(stored[name]).tobytes())
    return digest.hexdigest()
