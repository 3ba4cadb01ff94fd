# SPDX-License-Identifier: Apache-2.0
"""Medians, spread, and whether a difference is more than noise. Standard library only: same samples, same answer.

Benchmarks judge by it while they run, and reports when they rank systems from a record.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from ci.errors import ProductFailure, UsageError

CONFIDENCE = 0.95
RESAMPLES = 10_000
SEED = 20_240_607
LEAST_SAMPLES = 5
_Z = 1.959964  # the normal distribution's 97.5 % point
MOST_EXACT = 16  # samples up to which every resample is counted; above, 10,000 are drawn


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


@dataclass(frozen=True)
class Interval:
    """A median with its confidence interval [low, high], in the unit of the samples."""

    median: float
    low: float
    high: float


Weighted = tuple[tuple[float, float], ...]  # values, ascending, with their probabilities


@lru_cache(maxsize=4096)
def _medians(samples: tuple[float, ...]) -> Weighted:
    """The bootstrap distribution of the median: each value that a resample's median can have, with its probability.

    Of n values drawn with replacement from n, the m-th smallest is at most the k-th of them where at least m draws are: a binomial tail
    (Maritz and Jarrett, "A Note on Estimating the Variance of the Sample Median", JASA 73, 1978). For an even n the median is the mean
    of two neighbours, whose joint distribution is counted in the same way.
    """
    values, n = sorted(samples), len(samples)
    half = n // 2
    if n % 2:
        tail = [sum(math.comb(n, j) * k**j * (n - k) ** (n - j) for j in range(half + 1, n + 1)) for k in range(n + 1)]
        return _merged([(value, (tail[k + 1] - tail[k]) / n**n) for k, value in enumerate(values)])
    found = []
    for i in range(1, n + 1):
        first = i**half - (i - 1) ** half  # ways in which the lower half has its greatest at i
        apart = 0
        for j in range(i + 1, n + 1):
            ways = math.comb(n, half) * first * ((n - j + 1) ** half - (n - j) ** half)
            apart += ways
            found.append(((values[i - 1] + values[j - 1]) / 2, ways / n**n))
        at_most = [sum(math.comb(n, j) * k**j * (n - k) ** (n - j) for j in range(half, n + 1)) for k in (i - 1, i)]
        found.append((values[i - 1], (at_most[1] - at_most[0] - apart) / n**n))
    return _merged(found)


def _merged(weighted: Sequence[tuple[float, float]]) -> Weighted:
    sums: dict[float, float] = {}
    for value, weight in weighted:
        sums[value] = sums.get(value, 0.0) + weight
    return tuple(sorted(sums.items()))


def _bounds(weighted: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % points of a distribution: the least value that so much of it does not exceed."""
    ordered = sorted(weighted)
    sums = list(accumulate(weight for _, weight in ordered))
    tail = (1 - CONFIDENCE) / 2
    # A sum that should be 0.025 may be 0.0249999 in floating point; without the margin the interval would depend on the platform.
    low, high = (bisect_left(sums, point * sums[-1] - 1e-12) for point in (tail, 1 - tail))
    return ordered[min(low, len(ordered) - 1)][0], ordered[min(high, len(ordered) - 1)][0]


def median_interval(samples: Sequence[float], *, seed: int = SEED) -> Interval:
    """The median with its 95 % percentile bootstrap interval; errors as `checked`."""
    values = checked(samples)
    weighted = _medians(values) if len(values) <= MOST_EXACT else [(value, 1.0) for value in _drawn(values, random.Random(seed))]
    return Interval(statistics.median(values), *_bounds(weighted))


def _drawn(values: tuple[float, ...], source: random.Random) -> list[float]:
    """Medians of RESAMPLES resamples."""
    return [statistics.median(source.choices(values, k=len(values))) for _ in range(RESAMPLES)]


def ratio_of_medians(samples: Sequence[float], baseline: Sequence[float], *, seed: int = SEED) -> Ratio:
    """median(samples) / median(baseline) with a 95 % percentile bootstrap interval.

    Both lists are resampled with replacement, independently of each other (Efron and Tibshirani, "An Introduction to the Bootstrap",
    1993, chapters 13 and 16); for short lists the distribution is counted out instead of drawn. With five samples a side the interval
    reaches about from min/max to max/min of the two lists, which is wide: the error is on the side of "no difference shown".
    """
    above, below = checked(samples), checked(baseline)
    if max(len(above), len(below)) <= MOST_EXACT:
        pairs = [(up / down, weight * other) for up, weight in _medians(above) for down, other in _medians(below)]
    else:
        source = random.Random(seed)
        pairs = [(up / down, 1.0) for up, down in zip(_drawn(above, source), _drawn(below, source), strict=True)]
    return Ratio(statistics.median(above) / statistics.median(below), *_bounds(pairs))


def cliffs_delta(samples: Sequence[float], baseline: Sequence[float]) -> float:
    """P(sample > baseline) - P(sample < baseline) over all pairs, from -1 to 1 (Cliff, "Dominance statistics: Ordinal analyses to
    answer ordinal questions", Psychological Bulletin 114, 1993). It says how far two lists overlap, whatever their unit.
    """
    above, below = checked(samples), checked(baseline)
    signs = sum((one > other) - (one < other) for one in above for other in below)
    return signs / (len(above) * len(below))


def wilson(failures: int, runs: int) -> tuple[float, float]:
    """The score interval of a binomial proportion at 95 % (E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212, without correction for
    continuity). It stays within 0 and 1 and says something where none of the runs failed."""
    if runs == 0:
        return 0.0, 1.0
    share, z2 = failures / runs, _Z * _Z
    middle = (share + z2 / (2 * runs)) / (1 + z2 / runs)
    half = _Z / (1 + z2 / runs) * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs * runs))
    return max(0.0, middle - half), min(1.0, middle + half)
