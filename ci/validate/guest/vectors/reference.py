# SPDX-License-Identifier: Apache-2.0
"""What a search must answer, computed anew: the distances of docs/format.md, 12.4, to the bit, and their order.

Only the standard library: a guest has no numpy. `tests/unit/test_vectors.py` compares this with numpy.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence

L2, IP, COSINE = 1, 2, 3
METRICS = {"l2": L2, "ip": IP, "cosine": COSINE}
_LANES = 8
_BINARY32_LIMIT = float.fromhex("0x1.ffffffp+127")  # what is as large as this rounds to infinity in binary32

Vector = Sequence[float]
Hit = tuple[float, int]


def rounded(value: float) -> float:
    """The binary64 value rounded to binary32 (ties to even); what is too large becomes infinity."""
    if abs(value) >= _BINARY32_LIMIT:
        return math.copysign(math.inf, value)
    return float(struct.unpack("f", struct.pack("f", value))[0])


def unpack(data: bytes) -> tuple[float, ...]:
    """The floats of a vector in memory order."""
    return struct.unpack(f"={len(data) // 4}f", data)


def pack(vector: Vector) -> bytes:
    """The other way round; each element must be a binary32 value already."""
    return struct.pack(f"={len(vector)}f", *vector)


def _sum(terms: Sequence[float]) -> float:
    """Eight lanes, each in rising order from +0, then halved three times."""
    lanes = [0.0] * _LANES
    for index, term in enumerate(terms):
        lanes[index % _LANES] += term
    for width in (4, 2, 1):
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
    return lanes[0]


def _product(first: Vector, second: Vector) -> float:
    return _sum([a * b for a, b in zip(first, second, strict=True)])


def distance(metric: int, query: Vector, vector: Vector) -> float:
    """l2: the sum of squares; ip: the negated inner product; cosine: one minus the cosine, 1 where a norm is 0."""
    if metric == L2:
        differences = [rounded(q - x) for q, x in zip(query, vector, strict=True)]
        return math.inf if any(math.isinf(d) for d in differences) else _sum([d * d for d in differences])
    inner = _product(query, vector)
    if metric == IP:
        return -inner if inner else 0.0
    norms = math.sqrt(_product(query, query)) * math.sqrt(_product(vector, vector))
    return 1 - inner / norms if norms else 1.0


def nearest(metric: int, query: Vector, held: Mapping[int, Vector], k: int) -> list[Hit]:
    """The `k` nearest of the vectors by their inode numbers: (distance, inode), nearest first, ties by inode."""
    return sorted((distance(metric, query, vector), inode) for inode, vector in held.items())[:k]
