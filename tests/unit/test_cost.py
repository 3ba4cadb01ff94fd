# SPDX-License-Identifier: Apache-2.0
"""What cells cost comes from records, and a plan is arithmetic on it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.report import cost

pytestmark = pytest.mark.unit


def record(verdict: str = "pass", seconds: float = 10.0, **more: Any) -> dict[str, Any]:
    suite = {"suite": "smoke", "artifact": "module", "verdict": verdict, "seconds": seconds}
    stages = [
        {"name": "build", "verdict": "pass", "seconds": 40.0, "results": {}},
        {"name": "vm", "verdict": "pass", "seconds": 2.0, "results": {}},
        {"name": "vm", "verdict": "pass", "seconds": 4.0, "results": {}},
        {"name": "validate", "verdict": verdict, "seconds": seconds, "results": {"suites": [suite]}},
    ]
    return {"id": "r", "accelerator": {"name": "tcg"}, "stages": stages, **more}


def test_medians_are_of_what_ran_to_its_end() -> None:
    found = cost.measured([record(seconds=10), record(seconds=30), record("fail", 20), record("hang", 500), record("infra", 1)])
    (row,) = found.suites
    assert (row.runs, row.median, row.least, row.most) == (3, 20, 10, 30)
    assert found.before == {"build": (40.0, 3), "vm": (3.0, 3)} and found.overhead == 43 and found.accelerators == ["tcg"]


def test_a_merged_record_counts_nothing_twice() -> None:
    merged = copy.deepcopy(record())
    merged["stages"].append({"name": "merge", "verdict": "pass", "seconds": 1.0, "results": {}})
    assert cost.measured([record(), merged]).records == 1
    assert cost.measured([merged]).suites == []


def test_a_matrix_has_every_suite_in_every_kernel_with_what_stands_before_it() -> None:
    assert cost.cells(cost.measured([record()]), 3) == [53.0] * 3


def test_where_it_stops_scaling_is_the_longest_cell() -> None:
    assert [cost.plan([6, 3, 3], count).seconds for count in (1, 2, 3)] == [12, 6, 6]
    assert cost.limit([6, 3, 3]) == 2 and cost.limit([5]) == 1 and cost.limit([]) == 0


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=40), st.integers(1, 50))
def test_no_plan_is_better_than_possible_or_worse_than_its_bound(seconds: list[float], machines: int) -> None:
    found = cost.plan(seconds, machines)
    least = max(sum(seconds) / machines, max(seconds))
    assert least * (1 - 1e-9) <= found.seconds <= least * 2 and 0 < found.used <= 1 + 1e-9
