# SPDX-License-Identifier: Apache-2.0
"""A baseline turns into a verdict only where the interval lies beyond the threshold and everything was measured alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ci.bench import baseline
from ci.bench.baseline import Change
from ci.errors import UsageError
from ci.model import Series, Verdict

pytestmark = pytest.mark.unit

RATES = (100.0, 101.0, 99.0, 100.5, 99.5)


def series(*values: float, better: str = "higher", **dimensions: str) -> Series:
    return Series("ours", "write", "bandwidth", "MiB/s", better, values or RATES, {"kernel": "6.1", "benchmark": "files", **dimensions})


def judged(new: Series, old: Series, **how: float) -> baseline.Judgement:
    (found,) = baseline.judge([new], [old], **how)
    return found


@pytest.mark.parametrize(
    ("factor", "better", "change"),
    [
        (0.90, "higher", Change.REGRESSION),
        (1.10, "higher", Change.IMPROVEMENT),
        (1.10, "lower", Change.REGRESSION),
        (0.90, "lower", Change.IMPROVEMENT),
        (0.97, "higher", Change.UNCHANGED),
        (1.03, "lower", Change.UNCHANGED),
        (1.0, "higher", Change.UNCHANGED),
    ],
)
def test_a_change_counts_from_5_percent_on(factor: float, better: str, change: Change) -> None:
    found = judged(series(*(factor * rate for rate in RATES), better=better), series(better=better))
    assert found.change is change, found
    assert found.ratio == pytest.approx(factor)


def test_the_threshold_is_stated_and_can_be_another() -> None:
    slower = series(*(0.90 * rate for rate in RATES))
    assert "more than 5% from the baseline" in judged(slower, series()).reason
    found = judged(slower, series(), threshold=0.2)
    assert found.change is Change.UNCHANGED
    assert "±20%" in found.reason


def test_noise_beyond_the_threshold_is_no_regression() -> None:
    assert judged(series(85.0, 112.0, 78.0, 103.0, 90.0), series()).change is Change.UNCHANGED


def test_another_condition_is_refused_with_the_field_and_another_harness_is_not() -> None:
    found = judged(series(kernel="6.12"), series())
    assert found.change is Change.REFUSED
    assert "kernel is '6.12' against '6.1'" in found.reason
    assert found.ratio is None
    assert judged(series(harness="b", **{"left over in the guest": "a file"}), series(harness="a")).change is Change.UNCHANGED


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (replace(series(), samples=(), failure="made no progress", verdict=Verdict.HANG), "made no progress"),
        (replace(series(1.0, 2.0), failure="interrupted after 2 of 5 rounds", verdict=Verdict.INTERRUPTED), "interrupted after 2"),
        (replace(series(), system="another"), "it is not in this run"),
    ],
)
def test_what_is_not_measured_now_is_missing_and_not_unchanged(new: Series, words: str) -> None:
    found = judged(new, series())
    assert found.change is Change.MISSING
    assert words in found.reason


def test_the_same_workload_of_another_benchmark_is_another_one() -> None:
    assert judged(series(benchmark="daemon"), series()).change is Change.MISSING


def test_what_is_kept_comes_back_and_what_was_not_measured_is_not_kept(tmp_path: Path) -> None:
    bad = replace(series(1.0), system="other", failure="interrupted after 1 of 5 rounds", verdict=Verdict.INTERRUPTED)
    path = baseline.save(tmp_path, "release-1", "run", "c0ffee", [series(), bad])
    assert path == tmp_path / ".vexci/baselines/release-1.json"
    assert baseline.load(tmp_path, "release-1") == [series()]


def test_wrong_names_and_empty_baselines_are_refused(tmp_path: Path) -> None:
    for name in ("../x", "", "a b", ".hidden"):
        with pytest.raises(UsageError, match="cannot be the name"):
            baseline.save(tmp_path, name, "run", "c0ffee", [series()])
    with pytest.raises(UsageError, match="would be empty"):
        baseline.save(tmp_path, "x", "run", "c0ffee", [])
    baseline.save(tmp_path, "good", "run", "c0ffee", [series()])
    with pytest.raises(UsageError, match="there is no baseline 'god'") as error:
        baseline.load(tmp_path, "god")
    assert "baselines: good" in error.value.hint
