# SPDX-License-Identifier: Apache-2.0
"""What the samples support, and nothing more."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, replace
from json import dumps

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.bench.compare import Finding, Unequal, compare, comparisons
from ci.errors import ProductFailure, UsageError
from ci.fingerprint import CONTROL
from ci.model import Series, Verdict
from ci.samples import checked, median_interval, ratio_of_medians, summarise

pytestmark = pytest.mark.unit

positive = st.floats(min_value=1e-3, max_value=1e9)
samples = st.lists(positive, min_size=1, max_size=9)


def series(system: str, *values: float, **dimensions: str) -> Series:
    return Series(system, "write", "bandwidth", "MiB/s", "higher", values, {"kernel": "6.1", **dimensions})


def test_no_samples_are_refused_and_not_zero() -> None:
    with pytest.raises(UsageError, match="no samples"):
        summarise([])


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_cannot_have_been_measured_is_refused(value: float) -> None:
    with pytest.raises(ProductFailure, match="not a measurement"):
        checked([1.0, value])


def test_summary_of_known_samples() -> None:
    summary = summarise([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (summary.median, summary.minimum, summary.maximum) == (3.0, 1.0, 5.0)
    assert (summary.lower_quartile, summary.upper_quartile, summary.interquartile_range) == (2.0, 4.0, 2.0)
    assert summarise([7.0]).lower_quartile == summarise([7.0]).upper_quartile == 7.0


@given(samples)
def test_the_parts_of_a_summary_are_in_order(values: list[float]) -> None:
    s = summarise(values)
    assert s.minimum <= s.lower_quartile <= s.median <= s.upper_quartile <= s.maximum
    assert s.count == len(values)


@given(samples, samples, st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_ratio_is_the_ratio_of_medians_inside_its_interval_and_free_of_the_unit(a: list[float], b: list[float], unit: float) -> None:
    one = ratio_of_medians(a, b)
    assert one.low <= one.ratio <= one.high
    assert one.ratio == pytest.approx(summarise(a).median / summarise(b).median)
    assert ratio_of_medians([unit * x for x in a], [unit * x for x in b]) == one
    assert min(a) / max(b) * 0.999 <= one.low
    assert one.high <= max(a) / min(b) * 1.001


def test_equal_systems_are_rarely_told_apart_and_a_doubled_one_always() -> None:
    source = random.Random(1)
    false, true, rounds = 0, 0, 300
    for _ in range(rounds):
        a, b = ([source.lognormvariate(3, 0.1) for _ in range(5)] for _ in range(2))
        false += ratio_of_medians(a, b).differs
        true += ratio_of_medians([2 * x for x in a], b).differs
    assert false / rounds < 0.06
    assert true == rounds


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 9, 16])
def test_what_is_counted_out_is_what_drawing_comes_close_to(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(count)
    a, b = ([source.lognormvariate(3, 0.3) for _ in range(count)] for _ in range(2))
    exact, alone = ratio_of_medians(a, b), median_interval(a)
    monkeypatch.setattr("ci.samples.MOST_EXACT", 0)
    drawn, drawn_alone = ratio_of_medians(a, b), median_interval(a)
    assert (exact.low, exact.high) == pytest.approx((drawn.low, drawn.high), rel=0.02)
    assert (alone.low, alone.high) == pytest.approx((drawn_alone.low, drawn_alone.high), rel=0.02)
    assert alone.median == drawn_alone.median


@given(samples)
def test_the_interval_of_a_median_lies_within_the_samples_around_it(values: list[float]) -> None:
    found = median_interval(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


def test_the_same_samples_give_the_same_answer() -> None:
    assert ratio_of_medians([1, 2, 3, 4, 5], [2, 3, 4, 5, 6]) == ratio_of_medians([1, 2, 3, 4, 5], [2, 3, 4, 5, 6])


@pytest.mark.parametrize("references", [(), ("ours",)], ids=["of an artifact", "of a reference"])
def test_a_control_stands_against_what_it_is_a_copy_of(references: tuple[str, ...]) -> None:
    """Its samples come last in a run; it is to be shown as slower all the same, and not its original as faster."""
    control = series(f"ours{CONTROL}", 50, 51, 49, 52, 48)
    (found,) = comparisons([series("ours", 100, 101, 99, 102, 98), control], references=references)
    assert (found.system, found.baseline, found.finding) == (control.system, "ours", Finding.SLOWER)


def test_noise_is_not_called_a_gain() -> None:
    found = compare(series("a", 100, 104, 98, 103, 101), series("b", 99, 102, 100, 97, 103))
    assert found.finding is Finding.NO_DIFFERENCE
    assert "includes 1" in found.reason


def test_a_clear_difference_is_named_in_the_direction_that_is_better() -> None:
    fast, slow = series("a", 200, 204, 198, 203, 201), series("b", 99, 102, 100, 97, 103)
    assert compare(fast, slow).finding is Finding.FASTER
    assert compare(slow, fast).finding is Finding.SLOWER
    seconds = [replace(item, unit="s", better="lower") for item in (fast, slow)]
    assert compare(*seconds).finding is Finding.SLOWER


def test_four_samples_support_no_finding() -> None:
    found = compare(series("a", 200, 204, 198, 203), series("b", 99, 102, 100, 97, 103))
    assert found.finding is Finding.NO_DIFFERENCE
    assert "fewer than 5" in found.reason


def test_different_conditions_are_refused_and_every_field_is_named() -> None:
    one = series("a", 1, 2, 3, 4, 5, accelerator="kvm", memory="1024 MiB")
    other = series("b", 1, 2, 3, 4, 5, accelerator="tcg")
    with pytest.raises(Unequal) as refused:
        compare(one, other)
    assert "accelerator is 'kvm' against 'tcg'" in str(refused.value)
    assert "memory is '1024 MiB' against 'absent'" in str(refused.value)
    listed = comparisons([one, other])
    assert [(c.finding, c.ratio) for c in listed] == [(Finding.REFUSED, None)]
    assert "accelerator" in listed[0].reason


@pytest.mark.parametrize(("field", "value"), [("unit", "KiB/s"), ("metric", "latency"), ("workload", "read"), ("better", "lower")])
def test_a_different_measure_is_refused(field: str, value: str) -> None:
    with pytest.raises(Unequal, match=f"{field} is '{value}'"):
        compare(replace(series("a", 1.0), **{field: value}), series("b", 1.0))  # type: ignore[arg-type]


def test_a_failed_system_is_not_measured_and_has_no_ratio() -> None:
    failed = replace(series("a"), failure="hang: no progress", verdict=Verdict.HANG)
    found = compare(failed, series("b", 1, 2, 3, 4, 5))
    assert (found.finding, found.ratio) == (Finding.NOT_MEASURED, None)
    assert found.reason == "a has no samples (hang)"
    assert '"finding": "not measured"' in dumps(asdict(found))


def test_a_reference_is_always_the_baseline() -> None:
    pair = [series("ext4", 1, 2, 3, 4, 5), series("ours", 1, 2, 3, 4, 5)]
    assert [(c.system, c.baseline) for c in comparisons(pair, references=("ext4",))] == [("ours", "ext4")]
