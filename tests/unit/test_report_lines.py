# SPDX-License-Identifier: Apache-2.0
"""What is drawn lies inside its frame, however far the rounds lie apart."""

from __future__ import annotations

import re

import pytest

from ci.report.details import Curve, Point, RecallChart
from ci.report.lines import HEIGHT, recall

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("lowest", "highest"), [(9_000.0, 11_000.0), (100.0, 20_000.0), (9_999.0, 500_000.0)])
def test_the_spread_of_the_rounds_stays_inside_the_frame(lowest: float, highest: float) -> None:
    chart = RecallChart("v", 10, (Curve("faiss", "r1", (Point(0, 1.0, 10_000.0, lowest, highest),)),))
    strokes = [re.findall(r'y[12]="([-\d.]+)"', tag) for tag in re.findall(r"<line [^>]*spread[^>]*>", recall(chart, "c"))]
    assert len(strokes) == 1
    assert all(0 < float(end) < HEIGHT for end in strokes[0]), strokes
