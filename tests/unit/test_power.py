# SPDX-License-Identifier: Apache-2.0
"""What the suite power says where no guest is begun; with guests tests/integration/test_crash.py runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ci import config
from ci.manifest import SuiteSpec
from ci.model import Kind, SuiteResult, Verdict
from ci.store import RunFolder
from ci.validate.power import Lives, run_power
from tests import tool
from tests.smokeguest import built

pytestmark = pytest.mark.unit

MANIFEST = config.read(tool.ROOT / "vexci.yaml")
POWER = next(suite for suite in MANIFEST.suites if suite.name == "power")


def no_guest() -> Lives:
    raise AssertionError("a guest was asked for")


def run(folder: Path, suite: SuiteSpec, *only: str) -> SuiteResult:
    path = folder / "vexfs_fuse"
    path.touch()
    artifact = built(path, Kind.DAEMON, "static")
    spec = MANIFEST.artifact("vexfs-fuse")
    return run_power(suite, spec, artifact, lives=no_guest, kernel="6.1", run=RunFolder(folder), progress=print, only=only)


@pytest.mark.parametrize("name", ["nonsense", "power-", "power-x", "power-1x"])
def test_a_case_that_is_none_of_its_own_is_not_run_and_does_not_pass(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, POWER, name)
    assert (result.verdict, result.cases) == (Verdict.FAIL, ())
    assert "0 cases ran, the suite 'power' asks for at least 1" in result.detail


def test_what_the_deadline_leaves_no_time_for_is_skipped_and_fails(tmp_path: Path) -> None:
    result = run(tmp_path, replace(POWER, deadline=-1.0))
    assert result.verdict is Verdict.FAIL
    (case,) = result.cases
    assert (case.verdict, case.required) == (Verdict.SKIP, True) and "deadline" in case.detail
