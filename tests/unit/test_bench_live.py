# SPDX-License-Identifier: Apache-2.0
"""What is said while a benchmark runs is counted from what has run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.live import BARS, Live, sparkline

pytestmark = pytest.mark.unit


@given(st.lists(st.floats(min_value=0.001, max_value=1e9), max_size=40))
def test_a_sparkline_has_a_bar_a_value_and_the_greatest_is_the_highest(values: list[float]) -> None:
    line = sparkline(values)
    shown = values[-12:]
    assert len(line) == len(shown)
    if shown:
        assert BARS.index(line[shown.index(max(shown))]) == max(map(BARS.index, line))


def test_noise_is_not_drawn_as_mountains() -> None:
    assert len(set(sparkline([100.0, 100.5, 99.8, 100.1]))) == 1


def test_the_rest_is_expected_to_take_what_the_same_took_so_far() -> None:
    now = [0.0]
    live = Live(["a", "b"], 3, clock=lambda: now[0])
    assert live.remaining() is None
    assert live.text("a") == "0 s"
    for name, seconds in (("a", 2.0), ("b", 6.0)):
        live.begin(name)
        now[0] += seconds
        live.end(name, 10.0)
    assert live.remaining() == pytest.approx(2 * 2 + 2 * 6)
    live.begin("a")
    assert "8 s, until about" in live.text("a")
    assert "(16 s)" in live.text("a"), "this one, one more of it, and two of the other"
    live.drop("b")
    assert live.remaining() == pytest.approx(2.0)
