# SPDX-License-Identifier: Apache-2.0
"""The counter's speed is measured alike each time, whatever else the machine does."""

from __future__ import annotations

import platform

import pytest

from ci.vm.snapshot import clock_fits
from ci.vm.ticks import host_khz

pytestmark = pytest.mark.unit


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the counter is that of x86-64")
def test_two_measurements_agree_to_a_thousandth() -> None:
    found = []
    for _ in range(3):
        host_khz.cache_clear()
        found.append(host_khz())
    assert min(found) > 500_000 and max(found) - min(found) < min(found) / 1000, found


@pytest.mark.parametrize(
    ("passed", "least", "most", "fits"),
    [(0.52, 0.50, 0.61, True), (0.60, 0.50, 0.61, True), (2.6, 0.50, 0.61, False), (0.1, 0.50, 0.61, False), (5.0, 0.5, 30.0, True)],
)
def test_a_guest_whose_clock_runs_five_times_too_fast_is_not_kept(passed: float, least: float, most: float, fits: bool) -> None:
    assert clock_fits(passed, least=least, most=most) is fits
