# SPDX-License-Identifier: Apache-2.0
"""What is drawn lies inside its frame, however far the rounds lie apart."""

from __future__ import annotations

import re

import pytest

from ci.report.benchmarks import Finding
from ci.report.details import Curve, Point, RecallChart
from ci.report.lines import HEIGHT, recall
from ci.report.svg import ratios

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("lowest", "highest"), [(9_000.0, 11_000.0), (100.0, 20_000.0), (9_999.0, 500_000.0)])
def test_the_spread_of_the_rounds_stays_inside_the_frame(lowest: float, highest: float) -> None:
    chart = RecallChart("v", 10, (Curve("faiss", "r1", (Point(0, 1.0, 10_000.0, lowest, highest),)),))
    strokes = [re.findall(r'y[12]="([-\d.]+)"', tag) for tag in re.findall(r"<line [^>]*spread[^>]*>", recall(chart, "c"))]
    assert len(strokes) == 1
    assert all(0 < float(end) < HEIGHT for end in strokes[0]), strokes


def finding(workload: str, metric: str, said: str = "faster", reason: str = "", *numbers: float) -> Finding:
    low, ratio, high = numbers or (None, None, None)
    return Finding("mine", "other", workload, metric, said, reason, ratio, low, high)


def labels(findings: list[Finding]) -> list[str]:
    return re.findall(r"<text [^>]*>([^<]*)</text>", ratios(findings, "r", "t"))


def test_metrics_of_several_workloads_stand_below_its_name_and_are_told_apart() -> None:
    found = labels(
        [finding(work, f"search k={k} p50", "faster", "", 1.5, 2.0, 2.5) for work in ("a-long-name-of-data", "b") for k in (1, 100)]
    )
    assert [text for text in found if "search" in text or text in ("a-long-name-of-data", "b")] == [
        "a-long-name-of-data",
        "search k=1 p50",
        "search k=100 p50",
        "b",
        "search k=1 p50",
        "search k=100 p50",
    ]
    assert "w: insert" in labels([finding("w", "insert", "faster", "", 1.5, 2.0, 2.5)]), "one workload needs no heading"


def test_what_tells_two_measures_apart_is_not_cut_behind_the_name_of_their_workload() -> None:
    metrics = [f"throughput, {text}" for text in ("1 thread", "2 threads", "4 threads")]
    found = labels([finding("glove-100k-50", metric, "faster", "", 1.5, 2.0, 2.5) for metric in metrics])
    assert [text for text in found if "throughput" in text or "glove" in text] == ["glove-100k-50", *metrics]


def test_what_was_refused_for_one_reason_is_one_row_that_names_what_differs() -> None:
    reason = "mine and other were not measured alike: reached as is 'here' and 'a server'"
    found = labels([finding("w", metric, "refused", reason) for metric in ("insert", "delete", "reopen")])
    assert found.count("refused") == 1 and "3 measures" in found
    assert any(text.startswith("reached as is") for text in found)


def test_memory_is_better_and_not_faster() -> None:
    found = labels([finding("w", "memory", "faster", "", 0.5, 0.6, 0.7), finding("w", "insert", "faster", "", 1.5, 2.0, 2.5)])
    assert any(text.endswith("better") for text in found) and any(text.endswith("faster") for text in found)
