# SPDX-License-Identifier: Apache-2.0
"""numbers.csv and numbers.json: everything that was measured, for people who want their own plots."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ci.report.recorded import measured
from ci.samples import LEAST_SAMPLES, median_interval

COLUMNS = (
    "run",
    "commit",
    "benchmark",
    "workload",
    "metric",
    "unit",
    "better",
    "system",
    "artifact_sha256",
    "verdict",
    "reason",
    "round",
    "value",
    "raw_file",
)
_BESIDE = ("comparisons", "sweeps", "latencies", "systems", "baseline")


def as_csv(record: Mapping[str, Any]) -> str:
    """One row for each sample; a series without samples has one row without a value, so that it is not lost. RFC 4180, UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for item in measured(record):
        raw = [evidence.path for evidence in item.evidence if evidence.kind == "samples"]
        head = [record["id"], record["commit"], item.dimensions.get("benchmark", ""), item.workload, item.metric, item.unit, item.better]
        head += [item.system, item.artifact_sha256 or "", item.verdict.value, item.failure or ""]
        for number, value in enumerate(item.samples):
            writer.writerow([*head, number + 1, repr(value), raw[number] if number < len(raw) else ""])
        if not item.samples:
            writer.writerow([*head, "", "", ""])
    return text.getvalue()


def as_json(record: Mapping[str, Any]) -> str:
    """The series with their medians and intervals, and what stands beside them in the record."""
    rows = []
    for item in measured(record):
        row = asdict(item) | {"verdict": item.verdict.value}
        row["interval"] = asdict(median_interval(item.samples)) if len(item.samples) >= LEAST_SAMPLES else None
        rows.append(row)
    beside: dict[str, Any] = {}
    for stage in record.get("stages", []):
        for name in _BESIDE:
            if stage["name"] == "bench" and name in stage.get("results", {}):
                beside[name] = stage["results"][name]
    head = {name: record[name] for name in ("id", "commit", "dirty", "started", "host", "accelerator", "artifacts")}
    return json.dumps({**head, "series": rows, **beside}, indent=1) + "\n"
