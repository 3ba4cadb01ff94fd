# SPDX-License-Identifier: Apache-2.0
"""What the id of a check means: explanations.yaml beside this file, one entry an id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from ci.errors import UsageError
from ci.reader import nearest

DATA = Path(__file__).with_name("explanations.yaml")


@dataclass(frozen=True)
class Explanation:
    """One id: what goes wrong without the check, what is observed, and how to mend what it finds."""

    id: str
    title: str
    why: str
    observed: str
    fix: str


def read() -> dict[str, Explanation]:
    """All explanations by id, in the file's order."""
    return {name: Explanation(id=name, **of) for name, of in yaml.safe_load(DATA.read_text()).items()}


def find(id: str) -> Explanation:
    """The explanation of an id in either case; UsageError with the nearest where there is none."""
    known = read()
    if id.upper() not in known:
        raise UsageError(f"no check has the id '{id}'{nearest(id.upper(), list(known))}", hint="./inv verify --explain list")
    return known[id.upper()]
