# SPDX-License-Identifier: Apache-2.0
"""Real sentences as a data set: chosen alike each time, encoded without regard to what lies beside them, skipped where there are none."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from ci.bench import reference, run, texts
from ci.bench.host import Host
from ci.bench.jobs import Place
from ci.bench.vectors import sentences
from ci.errors import InfrastructureError, UsageError
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Verdict
from ci.store import RunFolder

pytestmark = pytest.mark.unit

DIMENSION, HEADS, WORDS = 8, 2, 30


class Ids:
    """A tokenizer whose words are numbers."""

    class Found:
        def __init__(self, ids: list[int]) -> None:
            self.ids = ids

    def encode_batch(self, lines: list[str]) -> list[Found]:
        return [self.Found([int(word) for word in line.split()]) for line in lines]


@pytest.fixture
def encoder() -> sentences.Encoder:
    """One layer with random weights; the real ones are 90 MB and need libraries of the benchmark's own environment."""
    made = object.__new__(sentences.Encoder)
    made.heads, made.layers, made.epsilon, made.tokenizer = HEADS, 1, 1e-12, Ids()
    generator = np.random.default_rng(5)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, DIMENSION),
        "embeddings.position_embeddings.weight": (16, DIMENSION),
        "embeddings.token_type_embeddings.weight": (2, DIMENSION),
    }
    norms = ["embeddings.LayerNorm"]
    layer = "encoder.layer.0"
    for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes[f"{layer}.{part}.weight"] = (DIMENSION, DIMENSION)
    shapes[f"{layer}.intermediate.dense.weight"] = (4 * DIMENSION, DIMENSION)
    shapes[f"{layer}.output.dense.weight"] = (DIMENSION, 4 * DIMENSION)
    norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    weights = {name: np.asarray(generator.standard_normal(shape), np.float32) for name, shape in shapes.items()}
    for name in list(weights):
        if "dense" in name or "self" in name:
            weights[name.replace("weight", "bias")] = np.asarray(generator.standard_normal((weights[name].shape[0],)), np.float32)
    for name in norms:
        weights[f"{name}.weight"] = np.ones(DIMENSION, np.float32)
        weights[f"{name}.bias"] = np.zeros(DIMENSION, np.float32)
    made.weights = weights
    return made


def test_a_sentence_has_the_same_vector_alone_and_beside_longer_ones(encoder: sentences.Encoder) -> None:
    lines = ["1 5 2", "1 7 8 9 10 11 12 2", "1 2", "1 5 2"]
    together = encoder.encode(lines)
    assert together.shape == (4, DIMENSION) and together.dtype == np.float32
    for number, line in enumerate(lines):
        assert together[number] == pytest.approx(encoder.encode([line])[0], abs=1e-5), "padding must not be seen, and the order is kept"
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert together[0] != pytest.approx(together[1], abs=1e-2)


def test_the_activation_is_that_of_the_error_function() -> None:
    values = np.linspace(-6, 6, 401, dtype=np.float32)
    exact = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in values.tolist()]
    assert sentences._gelu(values) == pytest.approx(exact, abs=2e-6)


def apt_cache(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of that name that knows `count` packages, two of each description."""
    script = f'seq {count} | while read n; do printf "Package: p$n\\nDescription: does $n\\n long text\\nDescription: does $n\\n\\n"; done'
    (folder / "apt-cache").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-cache").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin:/bin")


def test_the_same_different_descriptions_are_chosen_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "COUNT", 20)
    apt_cache(tmp_path, 30, monkeypatch)
    first = texts.descriptions()
    assert len(set(first)) == 20 and all(text.startswith("does ") for text in first)
    apt_cache(tmp_path, 31, monkeypatch)
    assert len(set(first) & set(texts.descriptions())) >= 19, "a new package changes one text at most"


def test_too_few_descriptions_are_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_cache(tmp_path, 3, monkeypatch)
    with pytest.raises(UsageError, match="needs 5500 descriptions of packages, apt knows 3") as refused:
        texts.descriptions()
    assert refused.value.hint == "apt-get update"


def test_without_apt_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt-cache is not here"):
        texts.descriptions()


def test_a_workload_whose_data_cannot_be_made_is_skipped_with_the_reason(tmp_path: Path) -> None:
    work = (WorkloadSpec("real", "vectors", (("data", "descriptions"),)), WorkloadSpec("made", "vectors", ()))
    spec = BenchmarkSpec("v", ("numpy",), work, 5, 10, 10, place="host")
    place = Place(
        str(tmp_path / "b.pyz"), str(tmp_path / "w"), "false", {"made": ("/nowhere", "0")}, {"real": "apt knows 3; apt-get update"}
    )
    found = run(Host(), spec, (reference("numpy"),), run=RunFolder(tmp_path), progress=print, place=place)
    reasons = {(item.workload, item.verdict, item.failure) for item in found if item.workload == "real"}
    assert reasons == {("real", Verdict.SKIP, "apt knows 3; apt-get update")}
    assert {item.verdict for item in found if item.workload == "made"} == {Verdict.FAIL}
    alone = BenchmarkSpec("v", ("numpy",), work[:1], 5, 10, 10, place="host")
    with pytest.raises(InfrastructureError, match="can be measured: numpy: apt knows 3"):
        run(Host(), alone, (reference("numpy"),), run=RunFolder(tmp_path), progress=print, place=place)
