# SPDX-License-Identifier: Apache-2.0
"""How often cases fail when suites are repeated, and what that says of the true rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ci.model import SuiteResult, Verdict
from ci.samples import wilson

WHOLE = "(suite)"
_NOT_THE_PRODUCTS = (Verdict.SKIP, Verdict.INFRA, Verdict.INTERRUPTED)


@dataclass(frozen=True)
class Rate:
    """A case of a suite on one subject in one kernel: failures in so many runs; `low` and `high` enclose the true rate with 95 %."""

    case: str
    where: str
    failures: int
    runs: int
    low: float
    high: float

    @property
    def interval(self) -> str:
        """The interval for a person."""
        return f"{self.low:.1%} to {self.high:.1%}"


def of(results: Sequence[SuiteResult]) -> list[Rate]:
    """Each suite as a whole, and each case that failed at least once. What did not run, and what the machine spoilt, counts as no run."""
    counts: dict[tuple[str, str], list[int]] = {}
    for result in results:
        where = f"{result.suite} on {result.artifact} [{result.kernel}]"
        for name, verdict in ((WHOLE, result.verdict), *((case.id, case.verdict) for case in result.cases)):
            if verdict in _NOT_THE_PRODUCTS:
                continue
            tally = counts.setdefault((name, where), [0, 0])
            tally[0] += not verdict.ok
            tally[1] += 1
    found = [Rate(name, where, failed, runs, *wilson(failed, runs)) for (name, where), (failed, runs) in counts.items()]
    return [rate for rate in found if rate.failures or rate.case == WHOLE]
