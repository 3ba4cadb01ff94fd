# SPDX-License-Identifier: Apache-2.0
"""What the harness costs is judged by the interval, in both directions."""

from __future__ import annotations

import pytest

from ci.bench import overhead
from ci.bench.overhead import Found
from ci.errors import ProductFailure
from ci.samples import Interval

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.985, 1.01, "within"), (0.98, 0.99, "within"), (0.90, 0.97, "beyond"), (0.90, 1.10, "not shown"), (1.01, 1.2, "within")],
)
def test_a_bound_is_kept_or_broken_only_where_the_whole_interval_says_so(low: float, high: float, verdict: str) -> None:
    found = Found("write", Interval((low + high) / 2, low, high))
    assert found.verdict == verdict
    assert f"({'95 % interval'} {low:.3f} to {high:.3f})" in str(found)


def test_only_a_bound_that_is_shown_to_be_broken_fails() -> None:
    overhead.require([Found("a", Interval(1, 0.9, 1.1)), Found("b", Interval(1, 0.99, 1.01))])
    with pytest.raises(ProductFailure, match=r"takes more from fio than it may: b: .* 0.950 times .* beyond 2%"):
        overhead.require([Found("a", Interval(1, 0.99, 1.01)), Found("b", Interval(0.95, 0.94, 0.96))])
