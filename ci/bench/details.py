# SPDX-License-Identifier: Apache-2.0
"""What the raw files of vector workloads hold beyond one number a round: the sweeps, the latencies, what a system says of itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ci.model import Series

QUANTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)


def details(measured: Sequence[Series], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """`sweeps`: for each system, workload and k the recall and the rate at each effort, a value a round; `latencies`: quantiles in ms of
    all rounds together; `systems`: facts. `folder` is the run folder, in which the evidence lies.
    """
    found: dict[str, list[dict[str, Any]]] = {"systems": [], "sweeps": [], "latencies": []}
    seen: set[tuple[str, str]] = set()
    for item in measured:
        rounds = [_raw(folder / e.path) for e in item.evidence if e.kind == "samples" and e.path.endswith("vectors.json")]
        if not rounds or (item.system, item.workload) in seen:
            continue
        seen.add((item.system, item.workload))
        whose = {"system": item.system, "workload": item.workload}
        if item.system not in {each["system"] for each in found["systems"]}:
            found["systems"].append({"system": item.system, "facts": rounds[-1]["facts"]})
        found["sweeps"] += [{**whose, **sweep} for sweep in _sweeps(rounds)]
        found["latencies"] += [{**whose, **row} for row in _latencies(rounds)]
    return found


def _raw(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _sweeps(rounds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    points: dict[int, dict[int, dict[str, list[float]]]] = {}
    for one in rounds:
        for point in one["sweep"]:
            at = points.setdefault(int(point["k"]), {}).setdefault(int(point["effort"]), {"recall": [], "rate": []})
            at["recall"].append(point["recall"])
            at["rate"].append(point["rate"])
    return [{"k": k, "points": [{"effort": effort, **values} for effort, values in sorted(of.items())]} for k, of in points.items()]


def _latencies(rounds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    pooled: dict[str, list[float]] = {}
    for one in rounds:
        for name, values in one["latencies"].items():
            pooled.setdefault(f"search k={name}" if name.isdecimal() else name, []).extend(values)
    return [{"what": name, "count": len(values), "quantiles": quantiles(values)} for name, values in pooled.items() if values]


def quantiles(values: Sequence[float]) -> list[tuple[float, float]]:
    """(per cent, value) by the nearest rank, so that each value was really measured."""
    ordered = sorted(values)
    return [(each, ordered[max(0, math.ceil(each / 100 * len(ordered)) - 1)]) for each in QUANTILES]
