# SPDX-License-Identifier: Apache-2.0
"""The reference of the suite vectors against numpy, and its ioctls against the header."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from ci import config
from ci.validate.guest import engine, vectors
from ci.validate.guest.context import Plan
from ci.validate.guest.vectors import collection, reference

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def by_numpy(metric: int, query: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The distances in binary64 (for l2 of differences in binary32), shape (n,)."""
    wide, row = held.astype(np.float64), query.astype(np.float64)
    if metric == reference.L2:
        return np.sum((query - held).astype(np.float64) ** 2, axis=1)
    if metric == reference.IP:
        return -(wide @ row)
    return 1 - (wide @ row) / (np.linalg.norm(wide, axis=1) * np.linalg.norm(row))


@pytest.mark.parametrize("metric", reference.METRICS.values(), ids=reference.METRICS)
@pytest.mark.parametrize("dimension", [1, 3, 8, 16, 128, 2048])
def test_the_reference_agrees_with_numpy(metric: int, dimension: int) -> None:
    dice = np.random.default_rng(dimension * 10 + metric)
    held, query = dice.normal(size=(50, dimension)).astype(np.float32), dice.normal(size=dimension).astype(np.float32)
    expected = by_numpy(metric, query, held)
    seen = [reference.distance(metric, query.tolist(), row.tolist()) for row in held]
    assert seen == pytest.approx(expected, rel=1e-12, abs=1e-12)
    order = [inode for _, inode in reference.nearest(metric, query.tolist(), {n: row.tolist() for n, row in enumerate(held)}, 10)]
    assert expected[order] == pytest.approx(np.sort(expected)[:10], rel=1e-12, abs=1e-12)


def test_rounding_to_binary32_is_numpys() -> None:
    dice = random.Random(3)
    values = [dice.uniform(-1, 1) * 10.0 ** dice.randrange(-46, 39) for _ in range(2000)]
    values += [0.0, -0.0, 1e-46, 3.4028235677973366e38, 3.4028235677973362e38, -3.5e38]
    with np.errstate(over="ignore"):
        assert [reference.rounded(value) for value in values] == [float(np.float32(value)) for value in values]


def test_edges_are_as_the_format_says() -> None:
    huge = reference.rounded(3e38)
    assert reference.distance(reference.L2, [huge], [-huge]) == float("inf")
    assert reference.distance(reference.COSINE, [0.0, 0.0], [1.0, 2.0]) == 1.0
    assert str(reference.distance(reference.IP, [0.0], [1.0])) == "0.0", "0 for -0"
    assert reference.nearest(reference.L2, [0.0], {9: [1.0], 4: [-1.0], 7: [0.5]}, 3) == [(0.25, 7), (1.0, 4), (1.0, 9)]


def test_the_numbers_are_the_headers() -> None:
    text = (ROOT / "kernel" / "include" / "uapi" / "vexfs.h").read_text()
    for name, value in (("DIMENSION_MAX", collection.DIMENSION_MAX), ("K_MAX", collection.K_MAX), ("BATCH_BYTES", collection.BATCH_BYTES)):
        assert re.search(rf"VEXFS_{name}\s+{value}\b", text)
    sizes = {"CREATE": collection.SHAPE.size, "SET": collection.SIZE, "SEARCH": collection.FIND.size + 8192 + 8064}
    assert sizes == {"CREATE": 64, "SET": 16320, "SEARCH": 16320}
    assert (collection.CREATE, collection.SEARCH) == (1 << 30 | 64 << 16 | 0x56E1, 3 << 30 | 16320 << 16 | 0x56E7)


def test_the_suite_has_as_many_cases_as_the_manifest_asks_for() -> None:
    (suite,) = (suite for suite in config.read(ROOT / "vexci.yaml").suites if suite.name == "vectors")
    plan = Plan("vectors", "x", "daemon", "", "", "", "", (), "/", "/", True, "m", 60.0, 20.0)
    chosen = engine.chosen(vectors.table(plan), plan)
    assert sum(len(engine.ids(entry)) for entry in chosen) >= suite.minimum
