# SPDX-License-Identifier: Apache-2.0
"""Which suites a command line asks for."""

from __future__ import annotations

import pytest

from ci.manifest import KernelSpec, SuiteSpec
from ci.model import Accelerator
from ci.pipeline.choice import is_asked_for
from ci.pipeline.validating import in_time

pytestmark = pytest.mark.unit

SUITES = [SuiteSpec(name, ("a",), 1, 1.0, 1.0, on_request=name != "smoke") for name in ("smoke", "crash", "stress")]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("", ["smoke"]),
        ("crash", ["crash"]),
        ("smoke,stress", ["smoke", "stress"]),
        ("all", ["smoke", "crash", "stress"]),
    ],
)
def test_suites_on_request_run_only_where_they_are_named_or_all_are(asked: str, names: list[str]) -> None:
    assert [suite.name for suite in SUITES if is_asked_for(suite, asked)] == names


@pytest.mark.parametrize(("patience", "accelerator", "times"), [(1, "tcg", 1), (4, "tcg", 4), (1, "kvm", 0.5), (4, "kvm", 2)])
def test_deadlines_follow_the_kernel_and_the_accelerator(patience: float, accelerator: str, times: float) -> None:
    suite = SuiteSpec("smoke", ("a",), 1, 100.0, 20.0)
    scaled = in_time(suite, KernelSpec("k", "apt", "6.1-cloud", patience=patience), Accelerator(accelerator, "said by the test"))
    assert (scaled.deadline, scaled.operation_deadline) == (100 * times, 20 * times)
