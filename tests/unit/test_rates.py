# SPDX-License-Identifier: Apache-2.0
"""Rates of failures and their intervals."""

from __future__ import annotations

import pytest

from ci.model import Case, SuiteResult, Verdict
from ci.samples import wilson
from ci.validate import rates

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("failures", "runs", "low", "high"),
    # Newcombe, Stat. Med. 17 (1998) 857-872, table I, method 3 (Wilson): 81/263, 15/148, 0/20, 1/29; the last two by symmetry.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
        (0, 0, 0, 1),
    ],
)
def test_the_interval_is_wilsons(failures: int, runs: int, low: float, high: float) -> None:
    assert wilson(failures, runs) == pytest.approx((low, high), abs=5e-5)


def result(verdict: Verdict, *cases: Verdict) -> SuiteResult:
    made = tuple(Case(f"case-{number}", each, "", 0.0) for number, each in enumerate(cases))
    return SuiteResult("smoke", "a", "k", verdict, "", 1, made, 1.0)


def test_cases_that_never_failed_are_left_out_and_what_did_not_run_is_no_run() -> None:
    ran = [
        result(Verdict.FAIL, Verdict.PASS, Verdict.FAIL),
        result(Verdict.PASS, Verdict.PASS, Verdict.PASS),
        result(Verdict.INFRA, Verdict.PASS, Verdict.SKIP),
        result(Verdict.PASS, Verdict.PASS, Verdict.KNOWN),
    ]
    found = {rate.case: (rate.failures, rate.runs) for rate in rates.of(ran)}
    assert found == {rates.WHOLE: (1, 3), "case-1": (1, 3)}
