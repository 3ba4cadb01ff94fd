# SPDX-License-Identifier: Apache-2.0
"""What a workload measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Metric:
    """One number a round. `better` is "higher" or "lower"."""

    name: str
    unit: str
    better: str = "higher"


@dataclass(frozen=True)
class Setting:
    """Where one measurement takes place, as its command line needs it.

    `python` runs the payload; `data` is the data set of a vector workload; `engine`, `module`, `stored` and `url` are those of the system.
    """

    directory: str
    output: str
    payload: str
    warm_up: bool = False
    slowed: bool = False
    python: str = "python3"
    data: str = ""
    engine: str = ""
    module: Path | None = None
    stored: str = ""
    url: str = ""
