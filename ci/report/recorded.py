# SPDX-License-Identifier: Apache-2.0
"""The series of a record as the model has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ci.model import Evidence, Series, Verdict


def series(item: Mapping[str, Any]) -> Series:
    """One series of a record."""
    return Series(
        system=str(item["system"]),
        workload=str(item["workload"]),
        metric=str(item["metric"]),
        unit=str(item["unit"]),
        better=str(item["better"]),
        samples=tuple(float(value) for value in item["samples"]),
        dimensions={str(name): str(value) for name, value in item.get("dimensions", {}).items()},
        artifact_sha256=item.get("artifact_sha256"),
        failure=item.get("failure"),
        verdict=Verdict(item["verdict"]),
        evidence=tuple(Evidence(str(e["kind"]), str(e["path"]), str(e["sha256"])) for e in item.get("evidence", [])),
    )


def measured(record: Mapping[str, Any]) -> list[Series]:
    """All series of a record, in its order."""
    return [series(item) for stage in record.get("stages", []) for item in stage.get("results", {}).get("series", [])]
