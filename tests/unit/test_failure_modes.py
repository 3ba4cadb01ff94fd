# SPDX-License-Identifier: Apache-2.0
"""docs/failure-modes.md is true: every mode stands there, and what it names of tests/ exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

TESTS = Path(__file__).resolve().parent.parent
PAGES = [(TESTS.parent / "docs/failure-modes.md").read_text(), (TESTS / "zoo/README.md").read_text()]
LAST = {"B": 10, "V": 10, "M": 8, "K": 9, "T": 8, "P": 8}


def named(text: str) -> set[str]:
    """All ids in a text; K1-K8 names eight."""
    found = set(re.findall(r"\b[BVMKTP]\d{1,2}\b", text))
    for kind, first, last in re.findall(r"\b([BVMKTP])(\d{1,2})-[BVMKTP](\d{1,2})\b", text):
        found.update(f"{kind}{number}" for number in range(int(first), int(last) + 1))
    return found


def test_every_mode_stands_there() -> None:
    wanted = {f"{kind}{number}" for kind, last in LAST.items() for number in range(1, last + 1)}
    assert wanted - named("\n".join(PAGES)) == set()


def test_the_tests_and_specimens_that_it_names_exist() -> None:
    text = PAGES[0]
    there = {path.name: path for path in TESTS.rglob("test_*.py")}
    tests = set(re.findall(r"test_\w+\.py", text))
    assert len(tests) > 20 and tests - set(there) == set()
    for folder, name in re.findall(r"\b(unit|integration|zoo)/(test_\w+\.py)", text):
        assert there[name].parent.name == folder, name
    places = set(re.findall(r"(?<![\w/])zoo/(?!test_)([a-z_]+)\b", text))
    assert len(places) > 3 and {name for name in places if not list((TESTS / "zoo").glob(f"{name}*"))} == set()


def test_every_mode_of_build_and_verify_has_a_test_in_its_row() -> None:
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in PAGES[0].splitlines()) if len(cells) == 7}
    for number in range(1, 11):
        for kind in "BV":
            specimen, test = rows[f"{kind}{number}"][4:6]
            assert specimen.strip() and re.search(r"test_\w+\.py", test), f"{kind}{number}"
            assert "zoo" in specimen + test, f"{kind}{number} has no specimen in the zoo"
