# SPDX-License-Identifier: Apache-2.0
"""A log of a long benchmark does not stand still, and does not fill up either."""

from __future__ import annotations

import pytest

from ci.pipeline.measuring import measuring

pytestmark = pytest.mark.unit


def test_a_log_gets_a_line_a_minute_and_the_time_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    with measuring("files", clock=lambda: now[0]) as say:
        for number in range(14):
            say(f"round {number}")
            now[0] += 10
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith("round")] == ["round 6", "round 12"]
    assert lines[0].endswith("benchmark files") and lines[-1] == "files: measured for 2 min 20 s"
