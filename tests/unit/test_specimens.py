# SPDX-License-Identifier: Apache-2.0
"""A suite that no specimen can fail is not accepted (T5): each suite of the manifest stands in the table of docs/failure-modes.md, and the
tests that are named there exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci import config

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (?P<suite>[a-z]+) \| [^|]+ \| (?P<file>[a-z]+/test_[a-z_]+\.py) `(?P<test>test_\w+)` \|$", re.M)


def rows() -> dict[str, tuple[str, str]]:
    """The table: a suite's name, the file below tests/ and the test's name."""
    text = (ROOT / "docs" / "failure-modes.md").read_text().partition("\nT5, ")[2]
    return {row["suite"]: (row["file"], row["test"]) for row in ROW.finditer(text)}


def test_every_suite_of_the_manifest_has_a_specimen() -> None:
    assert {suite.name for suite in config.read(ROOT / "vexci.yaml").suites} == set(rows())


@pytest.mark.parametrize(("suite", "place"), rows().items())
def test_the_specimens_test_is_there_and_knows_the_verdict(suite: str, place: tuple[str, str]) -> None:
    file, name = place
    _, found, body = (ROOT / "tests" / file).read_text().partition(f"def {name}(")
    assert found, f"docs/failure-modes.md names {name} for {suite}: tests/{file} has no such test"
    own = re.split(r"\n(?:def|class|@pytest) ", body)[0]
    assert re.search(r'FAIL|PANIC|verdict|"fail"', own), f"{name} judges nothing"
