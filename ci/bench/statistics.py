# SPDX-License-Identifier: Apache-2.0
"""Medians, spread, and whether a difference is more than noise. Standard library only, and seeded: same samples, same answer."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ci.errors import ProductFailure, UsageError

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 20_240_607
LEAST_SAMPLES = 5


@dataclass(frozen=True)
class Summary:
    """Samples in the unit of their series. The quartiles interpolate linearly (type 7 of Hyndman and Fan, "Sample
    Quantiles in Statistical Packages", The American Statistician 50, 1996)."""

    count: int
    median: float
    minimum: float
    maximum: float
    lower_quartile: float
    upper_quartile: float

    @property
    def interquartile_range(self) -> float:
        return self.upper_quartile - self.lower_quartile


def checked(samples: Sequence[float]) -> tuple[float, ...]:
    """The samples, if each is a rate or a time that can have been measured: finite and greater than zero (failure mode P5)."""
    if not samples:
        raise UsageError("there are no samples")
    for sample in samples:
        if not math.isfinite(sample) or sample <= 0:
            raise ProductFailure(f"{sample} is not a measurement; rates and times are finite and greater than zero")
    return tuple(samples)


def summarise(samples: Sequence[float]) -> Summary:
    """Median and spread; UsageError without samples, ProductFailure where one is zero, negative or not finite."""
    values = sorted(checked(samples))
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Summary(len(values), middle, values[0], values[-1], lower, upper)


@dataclass(frozen=True)
class Ratio:
    """The ratio of two medians with its confidence interval [low, high]."""

    ratio: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """True where the interval excludes 1: the difference is more than noise explains."""
        return self.low > 1 or self.high < 1


def ratio_of_medians(samples: Sequence[float], baseline: Sequence[float], *, seed: int = SEED) -> Ratio:
    """median(samples) / median(baseline) with a 95 % percentile bootstrap interval.

    Both lists are resampled with replacement, 10,000 times, independently of each other (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapters 13 and 16). With five samples a side the interval reaches about from
    min/max to max/min of the two lists, which is wide: the error is on the side of "no difference shown".
    """
    above, below = checked(samples), checked(baseline)
    source = random.Random(seed)
    ratios = sorted(
        statistics.median(source.choices(above, k=len(above))) / statistics.median(source.choices(below, k=len(below)))
        for _ in range(RESAMPLES)
    )
    tail = (1 - CONFIDENCE) / 2
    low = ratios[math.floor(tail * (RESAMPLES - 1))]
    high = ratios[math.ceil((1 - tail) * (RESAMPLES - 1))]
    return Ratio(statistics.median(above) / statistics.median(below), low, high)


def cliffs_delta(samples: Sequence[float], baseline: Sequence[float]) -> float:
    """P(sample > baseline) - P(sample < baseline) over all pairs, from -1 to 1 (Cliff, "Dominance statistics: Ordinal analyses to
    answer ordinal questions", Psychological Bulletin 114, 1993). It says how far two lists overlap, whatever their unit.
    """
    above, below = checked(samples), checked(baseline)
    signs = sum((one > other) - (one < other) for one in above for other in below)
    return signs / (len(above) * len(below))
