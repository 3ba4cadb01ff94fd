# SPDX-License-Identifier: Apache-2.0
"""What the harness costs is judged by the interval, in both directions."""

from __future__ import annotations

import pytest

from ci.bench import overhead
from ci.bench.overhead import Found, Sample, together
from ci.errors import ProductFailure
from ci.samples import Interval

pytestmark = pytest.mark.unit


EVEN = Interval(1.0, 0.999, 1.001)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.985, 1.01, "within"), (0.98, 0.99, "within"), (0.90, 0.97, "beyond"), (1.01, 1.2, "within")],
)
def test_a_bound_is_kept_or_broken_where_the_whole_interval_of_the_bandwidth_says_so(low: float, high: float, verdict: str) -> None:
    found = Found("write", Interval((low + high) / 2, low, high), EVEN, 0.5)
    assert found.verdict == verdict
    assert f"({low:.3f} to {high:.3f})" in str(found)


@pytest.mark.parametrize(
    ("work", "share", "verdict"),
    [
        (EVEN, 0.005, "within by processor time"),
        (EVEN, 0.05, "not shown"),
        (Interval(0.97, 0.9, 1.1), 0.0, "not shown"),
        (Interval(1.0, 0.985, 1.01), 0.01, "not shown"),
    ],
)
def test_a_busy_machine_is_judged_by_processor_time_with_what_watching_took(work: Interval, share: float, verdict: str) -> None:
    assert Found("write", Interval(1.0, 0.8, 1.2), work, share).verdict == verdict


def test_only_a_bound_that_is_shown_to_be_broken_fails() -> None:
    overhead.require([Found("a", Interval(1, 0.9, 1.1), EVEN, 0.5), Found("b", EVEN, EVEN, 0.0)])
    with pytest.raises(ProductFailure, match=r"takes more from fio than it may: b: .* 0.950 .* beyond 2%"):
        overhead.require([Found("a", EVEN, EVEN, 0.0), Found("b", Interval(0.95, 0.94, 0.96), EVEN, 0.0)])


def test_the_runs_of_a_round_are_added_up_by_the_clock_and_by_the_processor() -> None:
    """Two runs of a second: 100 MiB in half a second of a processor's time, and 300 in a whole one."""
    both = together([Sample(100, 200, 0.01), Sample(300, 300, 0.03)])
    assert (both.bandwidth, both.work, both.share) == pytest.approx((200, 400 / 1.5, 0.02))
