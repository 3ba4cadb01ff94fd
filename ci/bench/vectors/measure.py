# SPDX-License-Identifier: Apache-2.0
"""The phases of one measurement of one engine. Every time is of real calls, every recall of ids that came back.

The result is one JSON file: `values` (a number for each metric of ci/bench/workloads/vectors.py), `absent` (metric: why there is none),
`sweep` (an entry for each effort), `latencies` (milliseconds of each search), `facts` (what the engine says of itself).
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ci.bench.vectors.data import DataSet
from ci.bench.vectors.engine import DURABLE, NOT_DURABLE, Engine, EngineError, Ids, Where
from ci.bench.vectors.engines import engine as engine_of

BATCH = 1000
MIB = float(1 << 20)
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Plan:
    """What is asked. `efforts` is the sweep of approximate engines; `floor` is the recall at which engines are set beside each other.

    `slowed` makes every operation happen twice, for the control that must show up as slower.
    """

    phases: tuple[str, ...]
    ks: tuple[int, ...]
    efforts: tuple[int, ...]
    threads: tuple[int, ...]
    singles: int
    floor: float
    slowed: bool = False


@dataclass
class Found:
    """What has been measured so far."""

    values: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    sweep: list[dict[str, float]] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


class Measurement:
    """One engine, from empty to closed."""

    def __init__(self, name: str, where: Where, data: DataSet, plan: Plan, say: Callable[[str], None]) -> None:
        self.where, self.data, self.plan, self.say = where, data, plan, say
        self.found = Found()
        before = _resident()
        _forget_peak()
        self.engine: Engine = engine_of(name, where)
        self._before = before
        self._beside = 0.0
        self.times = 2 if plan.slowed else 1
        self.effort = 0
        self.reached = True

    def run(self) -> dict[str, Any]:
        """All phases of the plan in their order."""
        facts = self.found.facts
        facts.update(version=self.engine.version(), durability=self.engine.durability, opened=self.engine.opened)
        facts["search"] = "exact" if self.engine.exact else "approximate"
        phases = {
            "load": self._load,
            "search": self._search,
            "threads": self._threads,
            "single": self._single,
            "disk": self._disk,
            "reopen": self._reopen,
            "delete": self._delete,
            "memory": self._memory,
        }
        for name, phase in phases.items():
            if name in self.plan.phases or name == "load":
                self.say(f"phase {name}")
                phase()
                self._look_beside()
        self.engine.drop()
        self.engine.close()
        return {name: getattr(self.found, name) for name in Found.__dataclass_fields__}

    def _load(self) -> None:
        vectors = self.data.vectors
        self.engine.create(vectors.shape[1])
        ids = np.arange(len(vectors), dtype=np.int64)
        begin = time.perf_counter()
        for at in range(0, len(vectors), BATCH):
            self.engine.insert(ids[at : at + BATCH], vectors[at : at + BATCH])
        self.engine.commit()
        seconds = time.perf_counter() - begin
        if self.plan.slowed:
            seconds += self._again(vectors, ids)
        self.found.values["insert"] = len(vectors) / seconds
        if (count := self.engine.count()) != len(vectors):
            raise EngineError(f"{len(vectors)} vectors were inserted, the engine holds {count}")
        if not self.engine.separate_index:
            exact = self.engine.exact
            self.found.absent["index build"] = "there is no index" if exact else "the index is built while inserting; 'insert' holds it"
            return
        begin = time.perf_counter()
        self.found.facts["index"] = self.engine.index()
        self.found.values["index build"] = time.perf_counter() - begin

    def _again(self, vectors: Any, ids: Ids) -> float:
        """The control does the same work a second time under other ids, and takes it away again; seconds of the inserts."""
        begin = time.perf_counter()
        for at in range(0, len(vectors), BATCH):
            self.engine.insert(ids[at : at + BATCH] + len(ids), vectors[at : at + BATCH])
        self.engine.commit()
        seconds = time.perf_counter() - begin
        for at in range(0, len(ids), BATCH):
            self.engine.delete(ids[at : at + BATCH] + len(ids))
        self.engine.commit()
        return seconds

    def _look_beside(self) -> None:
        """The peak of the process beside this one so far; another effort may start it anew, and then its peak begins anew."""
        if self.where.process:
            self._beside = max(self._beside, _peak(self.where.process))

    def _queries(self, k: int, effort: int) -> tuple[list[float], float, list[list[int]]]:
        """(milliseconds of each query, mean recall, what was found). The first tenth is asked once before, uncounted, to warm up."""
        queries = self.data.queries
        for query in queries[: max(1, len(queries) // 10)]:
            self.engine.search(query, k, effort)
        times, answers = [], []
        for query in queries:
            begin = time.perf_counter_ns()
            for _ in range(self.times):
                ids = self.engine.search(query, k, effort)
            times.append((time.perf_counter_ns() - begin) / 1e6)
            answers.append(ids)
        recalls = [self.data.recall(number, ids, k) for number, ids in enumerate(answers)]
        self._look_beside()
        return times, float(np.mean(recalls)), [ids.tolist() for ids in answers]

    def _search(self) -> None:
        """Effort by effort and not k by k: some engines must load their index again for each that differs from the last."""
        ks = [k for k in self.plan.ks if k <= len(self.data.vectors)]
        found: dict[int, dict[int, list[list[int]]]] = {k: {} for k in ks}
        reached: dict[int, int] = {}
        for effort in (0,) if self.engine.exact else self.engine.efforts(tuple(sorted(self.plan.efforts))):
            for k in ks:
                if effort and effort < k:
                    continue
                times, recall, found[k][effort] = self._queries(k, effort)
                point = {"k": k, "effort": effort, "recall": recall, "rate": 1000 * len(times) / sum(times)}
                self.found.sweep.append({**point, **{f"p{each}": float(np.percentile(times, each)) for each in PERCENTILES}})
                self.say(f"search k={k} effort={effort} recall={recall:.3f} rate={point['rate']:.0f}/s")
                if recall >= self.plan.floor and k not in reached:
                    reached[k] = effort
                    self._take(k, times, recall)
        self.found.sweep.sort(key=lambda point: (ks.index(int(point["k"])), point["effort"]))
        for k in ks:
            if k not in reached:
                self._missed(k, found[k])
        middle = 10 if 10 in self.plan.ks else self.plan.ks[0]
        best = max((p for p in self.found.sweep if p["k"] == middle), key=lambda p: p["recall"])
        self.effort = reached.get(middle, int(best["effort"]))
        self.reached = middle in reached

    def _take(self, k: int, times: Sequence[float], recall: float) -> None:
        self.found.values[f"search k={k} p50"] = float(np.percentile(times, 50))
        self.found.values[f"search k={k} p99"] = float(np.percentile(times, 99))
        self.found.values[f"search k={k} recall"] = recall
        self.found.latencies[str(k)] = [round(value, 6) for value in times]

    def _missed(self, k: int, found: Mapping[int, list[list[int]]]) -> None:
        """No number, for which every effort must have been tried: where all gave the same answers, none but one was."""
        best = max(point["recall"] for point in self.found.sweep if point["k"] == k)
        if len(found) > 1 and all(answers == found[min(found)] for answers in found.values()):
            least, most = min(found), max(found)
            raise EngineError(
                f"efforts from {least} to {most} find the same for k={k}, at a recall of {best:.3f}: they do not reach the engine"
            )
        for what in ("p50", "p99", "recall"):
            self.found.absent[f"search k={k} {what}"] = (
                f"no effort of the sweep reached a recall of {self.plan.floor:g}; the best was {best:.3f}"
            )

    def _threads(self) -> None:
        k = 10 if 10 in self.plan.ks else self.plan.ks[0]
        for count in self.plan.threads:
            name = f"throughput, {count} thread{'s' if count > 1 else ''}"
            if not self.reached:
                self.found.absent[name] = f"no effort of the sweep reached a recall of {self.plan.floor:g}"
                continue
            self.found.values[name] = self._rate(count, k)
            self.say(f"{name}: {self.found.values[name]:.0f}/s")

    def _rate(self, count: int, k: int) -> float:
        """Queries a second of `count` threads, each with a connection of its own where the engine wants that."""
        self.engine.search(self.data.queries[0], k, self.effort)  # so that the others begin with its effort
        engines = [self.engine, *(self.engine.worker() for _ in range(count - 1))]
        start = threading.Barrier(count)
        errors: list[BaseException] = []
        spans: list[tuple[float, float]] = []

        def ask(engine: Engine) -> None:
            try:
                engine.search(self.data.queries[0], k, self.effort)
                start.wait()
                begin = time.perf_counter()
                for query in self.data.queries:
                    for _ in range(self.times):
                        engine.search(query, k, self.effort)
                spans.append((begin, time.perf_counter()))
            except BaseException as error:  # carried over to the thread that waits
                errors.append(error)
                start.abort()

        threads = [threading.Thread(target=ask, args=(each,)) for each in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in engines[1:]:
            if other is not self.engine:
                other.close()
        if errors:
            raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
        seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
        return count * len(self.data.queries) / seconds

    def _single(self) -> None:
        """Inserts of one vector, each made durable by itself where the engine can do that."""
        if self.engine.durability != DURABLE:
            self.found.absent["single insert p50"] = f"its durability is '{self.engine.durability}'"
            return
        first = len(self.data.vectors)
        chosen = np.random.default_rng(1).integers(0, first, self.plan.singles * self.times)
        times = []
        for number in range(self.plan.singles):
            begin = time.perf_counter_ns()
            for again in range(self.times):
                at = number * self.times + again
                self.engine.insert(np.array([first + at], np.int64), self.data.vectors[chosen[at] : chosen[at] + 1])
                self.engine.commit()
            times.append((time.perf_counter_ns() - begin) / 1e6)
        self.found.values["single insert p50"] = float(np.percentile(times, 50))
        self.found.latencies["single insert"] = times
        if (count := self.engine.count()) != first + len(chosen):
            raise EngineError(f"{len(chosen)} single vectors were added to {first}, the engine holds {count}")
        self.engine.delete(np.arange(first, first + len(chosen), dtype=np.int64))
        self.engine.commit()

    def _disk(self) -> None:
        if self.engine.durability == NOT_DURABLE:
            self.found.absent["disk"] = f"its durability is '{self.engine.durability}'"
            return
        if "disk" in self.engine.unseen():
            self.found.absent["disk"] = self.engine.unseen()["disk"]
            return
        self.found.values["disk"] = sum(map(allocated, self.engine.stored())) / MIB

    def _reopen(self) -> None:
        expected, seconds = self.engine.count(), 0.0
        for _ in range(self.times):
            begin = time.perf_counter()
            self.engine.reopen()
            ids = self.engine.search(self.data.queries[0], 1, self.effort)
            seconds += time.perf_counter() - begin
            if self.engine.count() != expected or len(ids) != 1:
                raise EngineError(f"{expected} vectors were stored, {self.engine.count()} are there after it was opened again")
        self.found.values["reopen"] = seconds

    def _delete(self) -> None:
        """A tenth, in batches; what is gone must not be found any more."""
        before = self.engine.count()
        gone = np.arange(0, len(self.data.vectors), 10, dtype=np.int64)
        begin = time.perf_counter()
        for at in range(0, len(gone), BATCH):
            self.engine.delete(gone[at : at + BATCH])
        self.engine.commit()
        self.found.values["delete"] = len(gone) / ((time.perf_counter() - begin) * self.times)
        if (count := self.engine.count()) != before - len(gone):
            raise EngineError(f"{len(gone)} of {before} vectors were deleted, the engine holds {count}")
        k = min(10, before - len(gone))
        for query in self.data.queries[:5]:
            back = set(self.engine.search(query, k, self.effort).tolist()) & set(gone.tolist())
            if back:
                raise EngineError(f"the vector {min(back)} was deleted and is still found")

    def _memory(self) -> None:
        """The peak of this process above what it held with the data set and without the engine, and of the process beside it."""
        if "memory" in self.engine.unseen():
            self.found.absent["memory"] = self.engine.unseen()["memory"]
            return
        own = max(0.0, _peak() - self._before)
        self._look_beside()
        total = (own + self._beside) / MIB
        if total <= 0:
            self.found.absent["memory"] = "it took nothing that the kernel counts"
        else:
            self.found.values["memory"] = total


def allocated(path: Path) -> int:
    """Bytes that a file or everything below a folder takes on its disk (st_blocks, units of 512 bytes)."""
    found = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(each.lstat().st_blocks * 512 for each in found)


def _status(field_name: str, pid: int | str = "self") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return float(line.split()[1]) * 1024
    raise EngineError(f"/proc/{pid}/status has no {field_name}")


def _resident() -> float:
    return _status("VmRSS")


def _peak(pid: int | str = "self") -> float:
    """Peak resident bytes of a process and all that descend from it."""
    total = _status("VmHWM", pid)
    if pid != "self":
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_peak(int(child)) for child in (task / "children").read_text().split())
    return total


def _forget_peak() -> None:
    """Let VmHWM begin anew (proc(5), clear_refs); where that is not allowed, the peak so far stays in it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        print(f"the peak of memory cannot be reset: {error.strerror} (maxrss {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} KiB)")
