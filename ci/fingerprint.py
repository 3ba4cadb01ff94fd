# SPDX-License-Identifier: Apache-2.0
"""What must be equal before two series may be compared, and which field differs where it is not (failure mode P4)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ci.model import Series

# These name the code of the tool, not the conditions of the system: between runs they are said, and do not refuse.
OF_THE_TOOL = frozenset({"harness", "left over in the guest"})
# In these systems differ by what they are, so that a difference among the systems of one run is no mistake of the run.
OF_THE_SYSTEM = frozenset({"durability", "durability of a write", "reached as", "opened again"})

# Behind the name of a system that was slowed on purpose, to prove that a slower one shows; it stands in no ranking.
CONTROL = " (slowed control)"

# The page cache alone, which no file system with a volume reaches: it is measured as the limit, and is nobody's competitor.
LIMITS = frozenset({"tmpfs"})


@dataclass(frozen=True)
class Difference:
    """One field and what each of two series has there; `absent` where one has nothing."""

    field: str
    one: str
    other: str

    def __str__(self) -> str:
        return f"{self.field} is '{self.one}' against '{self.other}'"


def key(series: Series) -> tuple[str, str, str]:
    """Which measure it is: benchmark, workload and metric. Only series of one key stand beside each other."""
    return series.dimensions.get("benchmark", ""), series.workload, series.metric


def differences(one: Series, other: Series, *, ignored: Collection[str] = ()) -> list[Difference]:
    """Every field in which two series differ: workload, metric, unit, direction and all dimensions but the `ignored` ones."""
    rows = [(name, str(getattr(one, name)), str(getattr(other, name))) for name in ("workload", "metric", "unit", "better")]
    for name in sorted(one.dimensions.keys() | other.dimensions.keys()):
        if name not in ignored:
            rows.append((name, one.dimensions.get(name, "absent"), other.dimensions.get(name, "absent")))
    return [Difference(name, left, right) for name, left, right in rows if left != right]
