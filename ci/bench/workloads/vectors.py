# SPDX-License-Identifier: Apache-2.0
"""Vectors: loading, searching and changing a collection, by ci/bench/vectors in a process of its own for each round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci.bench.workloads.metric import Metric, Setting
from ci.errors import ProductFailure, UsageError

DATA = ("gaussian", "clustered", "glove", "descriptions")
PHASES = ("load", "search", "threads", "single", "disk", "reopen", "delete", "memory")
DEFAULTS = {
    "data": "gaussian",
    "count": "1000",
    "dimension": "128",
    "queries": "200",
    "seed": "7",
    "ks": "1,10,100",
    "efforts": "16,32,64,128,256,512",
    "threads": "1,2,4",
    "singles": "50",
    "floor": "0.95",
    "phases": ",".join(PHASES),
}
_NUMBERS = ("count", "dimension", "queries", "seed", "singles")
_LISTS = ("ks", "efforts", "threads")
MOST_NEIGHBOURS = 100
DISTANCE = "Euclidean"  # of every adapter of ci/bench/vectors
# Times that hold a write depend on what the system promises when the clock stops; the others do not.
_WRITES = ("insert", "single insert p50", "delete")


class Vectors:
    """One data set, one collection. Options are those of DEFAULTS; lists are separated by commas."""

    raw = "vectors.json"

    def options(self, given: Mapping[str, str]) -> dict[str, str]:
        options = {**DEFAULTS, **given}
        for name in given:
            if name not in DEFAULTS:
                raise UsageError(f"the option '{name}' of vectors is not known", hint=f"options: {', '.join(DEFAULTS)}")
        if options["data"] not in DATA:
            raise UsageError(f"data={options['data']} is not known", hint=f"one of: {', '.join(DATA)}")
        for name in (*_NUMBERS, *_LISTS):
            parts = options[name].split(",") if name in _LISTS else [options[name]]
            if not all(part.isdecimal() and int(part) > 0 for part in parts):
                raise UsageError(f"{name}={options[name]}: expected whole numbers above 0")
        if max(map(int, options["ks"].split(","))) > MOST_NEIGHBOURS:
            raise UsageError(f"ks={options['ks']}: at most {MOST_NEIGHBOURS} neighbours")
        unknown = [phase for phase in options["phases"].split(",") if phase not in PHASES]
        if unknown:
            raise UsageError(f"the phase '{unknown[0]}' is not known", hint=f"phases: {', '.join(PHASES)}")
        try:
            fits = 0 < float(options["floor"]) <= 1
        except ValueError:
            fits = False
        if not fits:
            raise UsageError(f"floor={options['floor']}: expected a recall above 0 and up to 1")
        return options

    def metrics(self, options: Mapping[str, str]) -> tuple[Metric, ...]:
        phases = options["phases"].split(",")
        found = [Metric("insert", "vectors/s"), Metric("index build", "s", "lower")]
        if "search" in phases:
            for k in options["ks"].split(","):
                if int(k) <= int(options["count"]):
                    found += [Metric(f"search k={k} {part}", "ms", "lower") for part in ("p50", "p99")]
                    found.append(Metric(f"search k={k} recall", "share"))
        if "threads" in phases:
            for count in options["threads"].split(","):
                found.append(Metric(f"throughput, {count} thread{'s' if count != '1' else ''}", "queries/s"))
        rest = {
            "single": Metric("single insert p50", "ms", "lower"),
            "disk": Metric("disk", "MiB", "lower"),
            "reopen": Metric("reopen", "s", "lower"),
            "delete": Metric("delete", "vectors/s"),
            "memory": Metric("memory", "MiB", "lower"),
        }
        return (*found, *(metric for phase, metric in rest.items() if phase in phases))

    def command(self, options: Mapping[str, str], setting: Setting) -> list[str]:
        """The payload on the Python of the extras, with one thread for libraries that would take more."""
        one = [f"{name}_NUM_THREADS=1" for name in ("OMP", "OPENBLAS", "MKL")]
        words = ["env", *one, "ORT_DISABLE_TELEMETRY=1", "ANONYMIZED_TELEMETRY=False", setting.python, setting.payload, "vectors"]
        words += ["--engine", setting.engine, "--directory", setting.directory, "--data", setting.data, "--output", setting.output]
        for name in ("phases", "ks", "efforts", "threads", "singles", "floor"):
            words += [f"--{name}", options[name]]
        words += ["--process", "{daemon}"]
        if setting.module:
            words += ["--module", str(setting.module)]
        if setting.stored:
            words += ["--stored", setting.stored]
        if setting.url:
            words += ["--url", setting.url]
        return [*words, "--slowed"] if setting.slowed else words

    def values(self, path: Path, options: Mapping[str, str]) -> dict[str, float]:
        raw = _read(path)
        wanted = [metric.name for metric in self.metrics(options)]
        missing = [name for name in wanted if name not in raw["values"] and name not in raw["absent"]]
        if missing:
            raise ProductFailure(f"the vector workload left no '{missing[0]}' and no reason", evidence=(path,))
        return {name: float(raw["values"][name]) for name in wanted if name in raw["values"]}

    def absent(self, path: Path) -> dict[str, str]:
        return dict(_read(path)["absent"])

    def dimensions(self, options: Mapping[str, str], metric: Metric, facts: Mapping[str, str]) -> dict[str, str]:
        same = {"distance": DISTANCE}
        if metric.name == "reopen":
            same["opened again"] = facts.get("opened", "unknown")
        return {**same, "durability of a write": facts.get("durability", "unknown")} if metric.name in _WRITES else same


def _read(path: Path) -> dict[str, Any]:
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["values"], raw["absent"], raw["facts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProductFailure(f"the vector workload left no readable result: {error}", evidence=(path,)) from error
    return raw
