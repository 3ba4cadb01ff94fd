# SPDX-License-Identifier: Apache-2.0
"""What a workload measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number a round. `better` is "higher" or "lower"."""

    name: str
    unit: str
    better: str = "higher"
