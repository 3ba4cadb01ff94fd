# SPDX-License-Identifier: Apache-2.0
"""Which suites a command line asks for."""

from __future__ import annotations

import pytest

from ci.manifest import SuiteSpec
from ci.pipeline.guests import _is_asked_for

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
    assert [suite.name for suite in SUITES if _is_asked_for(suite, asked)] == names
