# SPDX-License-Identifier: Apache-2.0
"""Compares series that were measured under equal conditions, and refuses all others (failure modes P4 and P7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ci.errors import UsageError
from ci.fingerprint import CONTROL, differences, key
from ci.model import Series
from ci.samples import LEAST_SAMPLES, SEED, cliffs_delta, ratio_of_medians


class Finding(str, Enum):
    """What a comparison may say."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference shown"
    NOT_MEASURED = "not measured"
    REFUSED = "refused"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Comparison:
    """`system` against `baseline`. `ratio` is median over median with its interval; None where nothing may be said.

    `effect` is Cliff's delta: the share of pairs of samples in which `system` is better, less that in which it is worse.
    """

    system: str
    baseline: str
    workload: str
    metric: str
    finding: Finding
    reason: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    effect: float | None = None


class Unequal(UsageError):
    """Two series that differ in more than the system; the message names each field."""


def require_equal(series: Series, baseline: Series) -> None:
    """Raise Unequal where workload, metric, unit, direction or any dimension differs, naming what and how."""
    different = differences(series, baseline)
    if different:
        raise Unequal(f"{series.system} and {baseline.system} were not measured alike: {'; '.join(map(str, different))}")


def compare(series: Series, baseline: Series, *, seed: int = SEED) -> Comparison:
    """The finding; raises Unequal where the two may not be compared."""
    require_equal(series, baseline)

    def answer(finding: Finding, reason: str, *interval: float) -> Comparison:
        return Comparison(series.system, baseline.system, series.workload, series.metric, finding, reason, *interval)

    for one in (series, baseline):
        if not one.samples:
            return answer(Finding.NOT_MEASURED, f"{one.system} has no samples ({one.verdict})")
    ratio = ratio_of_medians(series.samples, baseline.samples, seed=seed)
    delta = cliffs_delta(series.samples, baseline.samples)
    numbers = (ratio.ratio, ratio.low, ratio.high, delta if series.better == "higher" else -delta)
    if min(len(series.samples), len(baseline.samples)) < LEAST_SAMPLES:
        return answer(Finding.NO_DIFFERENCE, f"fewer than {LEAST_SAMPLES} samples support no finding", *numbers)
    if not ratio.differs:
        return answer(Finding.NO_DIFFERENCE, "the 95 % interval of the ratio includes 1", *numbers)
    faster = (ratio.ratio > 1) == (series.better == "higher")
    return answer(Finding.FASTER if faster else Finding.SLOWER, "the 95 % interval of the ratio excludes 1", *numbers)


def comparisons(series: Sequence[Series], *, references: Sequence[str] = ()) -> list[Comparison]:
    """Every pair of systems with the same benchmark, workload and metric. The later one is the baseline, and a reference always is;
    a slowed control stands against what it is a copy of.

    Where artifacts were measured, two references are not compared with each other. Unequal pairs are listed as refused, with the
    differing field.
    """
    found: list[Comparison] = []
    ours = {key(item)[:2] for item in series if item.artifact_sha256}
    for position, one in enumerate(series):
        for other in series[position + 1 :]:
            if key(one) != key(other):
                continue
            if key(one)[:2] in ours and not (one.artifact_sha256 or other.artifact_sha256):
                continue
            control = other.system == f"{one.system}{CONTROL}"
            turned = control or (one.system in references and other.system not in references)
            system, baseline = (other, one) if turned else (one, other)
            try:
                found.append(compare(system, baseline))
            except Unequal as error:
                found.append(Comparison(system.system, baseline.system, one.workload, one.metric, Finding.REFUSED, error.message))
    return found
