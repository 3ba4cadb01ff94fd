# SPDX-License-Identifier: Apache-2.0
"""Vector workloads: data sets, recall from returned ids, the phases of a measurement, and what a wrong engine gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ci.bench.compare import Unequal, require_equal
from ci.bench.vectors import command, data, measure
from ci.bench.vectors.engine import DURABLE, Engine, EngineError, Ids, Vectors, Where
from ci.bench.vectors.engines import chroma, qdrant_edge, qdrant_server
from ci.bench.vectors.engines.client import Client
from ci.bench.vectors.engines.faiss import Faiss
from ci.bench.vectors.engines.flat import Numpy
from ci.bench.workloads import Setting, workload
from ci.errors import ProductFailure, UsageError
from ci.fingerprint import OF_THE_SYSTEM, differences
from ci.manifest import WorkloadSpec
from ci.model import Series

pytestmark = pytest.mark.unit

COUNT, DIMENSION, QUERIES = 300, 16, 20
PHASES = ("load", "search", "threads", "single", "disk", "reopen", "delete", "memory")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "data.npz"
    data.make("clustered", COUNT, DIMENSION, QUERIES, 7, None, path)
    return path


def plan(**changes: object) -> measure.Plan:
    values: dict[str, object] = {"phases": PHASES, "ks": (1, 10), "efforts": (16, 64), "threads": (1, 2), "singles": 5, "floor": 0.95}
    return measure.Plan(**{**values, **changes})  # type: ignore[arg-type]


def measured(
    kind: type[Numpy], file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object
) -> dict[str, Mapping[str, object]]:
    monkeypatch.setattr(measure, "engine_of", lambda _name, where: kind(where))
    return measure.Measurement("mine", Where(folder), data.load(file), plan(**changes), lambda _text: None).run()


def test_the_same_seed_gives_the_same_data_and_another_seed_another(tmp_path: Path, file: Path) -> None:
    again, other = tmp_path / "again.npz", tmp_path / "other.npz"
    data.make("clustered", COUNT, DIMENSION, QUERIES, 7, None, again)
    data.make("clustered", COUNT, DIMENSION, QUERIES, 8, None, other)
    assert data.fingerprint(again) == data.fingerprint(file) != data.fingerprint(other)


def test_the_neighbours_are_those_of_a_plain_loop(file: Path) -> None:
    found = data.load(file)
    for number in range(0, QUERIES, 5):
        plain = sorted(float(np.sum((row.astype(float) - found.queries[number].astype(float)) ** 2)) for row in found.vectors)
        assert found.bounds[number] == pytest.approx(plain[: data.MOST_NEIGHBOURS])


def test_real_vectors_are_scaled_and_queries_are_no_members(tmp_path: Path) -> None:
    source = tmp_path / "real.npy"
    np.save(source, np.random.default_rng(3).standard_normal((50, 8)).astype(np.float32))
    data.make("glove", 40, 8, 10, 7, source, tmp_path / "d.npz")
    found = data.load(tmp_path / "d.npz")
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert found.bounds[:, 0].min() > 0
    with pytest.raises(EngineError, match="wanted are 60 of 8"):
        data.make("glove", 50, 8, 10, 7, source, tmp_path / "e.npz")


def test_recall_counts_ties_once_and_refuses_ids_that_were_never_given() -> None:
    vectors = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [9, 9]], np.float32)
    found = data.DataSet(vectors, np.zeros((1, 2), np.float32), np.array([[0.0, 1.0, 1.0, 1.0, 162.0]]))
    assert found.recall(0, np.array([0, 3]), 2) == 1.0, "three are equally far: each of them is right"
    assert found.recall(0, np.array([0, 4]), 2) == 0.5
    assert found.recall(0, np.array([0, 0]), 2) == 0.5, "one that is returned twice counts once"
    with pytest.raises(EngineError, match="never given"):
        found.recall(0, np.array([0, 5]), 2)


def test_every_metric_of_the_workload_is_measured_or_has_its_reason(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = measured(Numpy, file, tmp_path, monkeypatch)
    out = tmp_path / "vectors.json"
    out.write_text(json.dumps(result))
    item = workload(WorkloadSpec("v", "vectors", (("count", str(COUNT)), ("ks", "1,10"), ("threads", "1,2"))))
    values, absent = item.tool.values(out, item.options), item.tool.absent(out)
    assert {metric.name for metric in item.metrics} == set(values) | set(absent)
    assert values["search k=10 recall"] == 1.0
    assert absent["index build"] == "there is no index"
    assert "single insert p50" in absent
    out.write_text(json.dumps({**result, "absent": {}}))
    with pytest.raises(ProductFailure, match="no reason"):
        item.tool.values(out, item.options)


def test_the_slowed_control_really_does_the_work_twice(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Counted(Numpy):
        def search(self, query: Vectors, k: int, ef: int) -> Ids:
            asked.append(k)
            return super().search(query, k, ef)

    measured(Counted, file, tmp_path, monkeypatch, phases=("load", "search"), ks=(10,))
    once = len(asked)
    asked.clear()
    measured(Counted, file, tmp_path, monkeypatch, phases=("load", "search"), ks=(10,), slowed=True)
    assert len(asked) == once + QUERIES


class Approximate(Numpy):
    """Finds every fourth neighbour, or where it is asked harder, every second."""

    exact = False

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        step = 2 if ef > 16 else 4
        return super().search(query, step * k, ef)[::step]


class Deaf(Approximate):
    """Takes every effort, and goes on with its own."""

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        return super().search(query, k, 16)


class Fixed(Deaf):
    """Says that it has one effort."""

    def efforts(self, asked: tuple[int, ...]) -> tuple[int, ...]:
        return (100,)


def test_an_engine_below_the_floor_has_no_number_but_the_recall_that_it_reached(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = measured(Approximate, file, tmp_path, monkeypatch, phases=("load", "search", "threads"), ks=(10,))
    assert "search k=10 p50" not in result["values"]
    assert "the best was 0." in str(result["absent"]["search k=10 p50"])
    assert "throughput, 1 thread" in result["absent"]


def test_that_no_effort_suffices_is_not_said_of_an_engine_that_none_reached(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        EngineError, match=r"efforts from 16 to 64 find the same for k=10, at a recall of 0\.\d+: they do not reach the engine"
    ):
        measured(Deaf, file, tmp_path, monkeypatch, phases=("load", "search"), ks=(10,))
    (tmp_path / "fixed").mkdir()
    fixed = measured(Fixed, file, tmp_path / "fixed", monkeypatch, phases=("load", "search"), ks=(10,))
    sweep: Any = fixed["sweep"]
    assert [point["effort"] for point in sweep] == [100]


class Loading(Approximate):
    """Loads its index again where the effort is not that of the search before."""

    loaded: ClassVar[list[int]] = []

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        if self.loaded[-1:] != [ef]:
            self.loaded.append(ef)
        return Numpy.search(self, query, k, ef) if ef > 16 else super().search(query, k, ef)


def test_an_index_is_loaded_again_once_an_effort_and_not_once_a_k(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = measured(Loading, file, tmp_path, monkeypatch, phases=("load", "search", "threads"), ks=(1, 10), efforts=(64, 16))
    assert Loading.loaded == [16, 64]
    sweep: Any = result["sweep"]
    assert [(point["k"], point["effort"]) for point in sweep] == [(1, 16), (1, 64), (10, 16), (10, 64)]


class Forgetful(Numpy):
    """Says that it took everything, and keeps half."""

    def insert(self, ids: Ids, vectors: Vectors) -> None:
        super().insert(ids[::2], vectors[::2])


class Undead(Numpy):
    """Counts a deletion and goes on finding what is gone."""

    gone = 0

    def delete(self, ids: Ids) -> None:
        self.gone += len(ids)

    def count(self) -> int:
        return super().count() - self.gone

    def search(self, query: Vectors, k: int, ef: int) -> Ids:
        return self._ids[:k] if self.gone else super().search(query, k, ef)


class Liar(Numpy):
    """Claims to be durable, and is empty when it is opened again."""

    durability = DURABLE

    def reopen(self) -> None:
        self.create(DIMENSION)
        self.insert(np.array([0], np.int64), np.zeros((1, DIMENSION), np.float32))


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Forgetful, "the engine holds 150"), (Undead, "was deleted and is still found"), (Liar, "are there after it was opened again")],
)
def test_an_engine_that_does_not_do_the_work_has_no_numbers(
    kind: type[Numpy], words: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match=words):
        measured(kind, file, tmp_path, monkeypatch)


def test_the_command_says_in_one_sentence_what_is_wrong(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    item = workload(WorkloadSpec("v", "vectors", (("count", str(COUNT)), ("threads", "1"), ("ks", "1"))))
    words = item.tool.command(item.options, Setting(str(tmp_path), str(out), "b", data=str(file), engine="client"))
    arguments = [word.replace("{daemon}", "0") for word in words[words.index("vectors") + 1 :]]
    assert command.main(arguments) == 1
    assert "has no client library" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "mnist"}, "data=mnist"),
        ({"ks": "10,0"}, "above 0"),
        ({"ks": "200"}, "at most 100"),
        ({"phases": "load,dance"}, "'dance'"),
        ({"floor": "2"}, "floor=2"),
        ({"count": "-1"}, "count=-1"),
        ({"color": "red"}, "'color'"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        workload(WorkloadSpec("v", "vectors", tuple(options.items())))


def test_what_opens_a_collection_of_a_mounted_file_system_is_not_compared_with_what_loads_an_index() -> None:
    """The daemon keeps what it holds meanwhile: 125 times faster than an engine that reads its files was no lead."""
    item, edge = workload(WorkloadSpec("v", "vectors", ())), qdrant_edge.Edge
    metric = next(metric for metric in item.metrics if metric.name == "reopen")

    def one(name: str, kind: type[Engine], samples: tuple[float, ...]) -> Series:
        dimensions = item.tool.dimensions(item.options, metric, {"opened": kind.opened})
        return Series(name, "v", metric.name, metric.unit, metric.better, samples, dimensions)

    ours, theirs = one("ours", Client, (0.001,) * 5), one("theirs", edge, (0.1,) * 5)
    with pytest.raises(Unequal, match="opened again is 'a collection; the file system stays mounted' against 'the engine"):
        require_equal(ours, theirs)
    assert not [text for text in map(str, differences(ours, theirs, ignored=OF_THE_SYSTEM)) if "opened" in text]
    assert len({kind.opened for kind in (Client, edge, chroma.Embedded, chroma.Server, qdrant_server.Server, Numpy, Faiss)}) == 4
