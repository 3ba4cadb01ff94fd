# SPDX-License-Identifier: Apache-2.0
"""A found sequence as a file that a person keeps and runs again: `./inv validate --replay FILE`."""

from __future__ import annotations

import json
from pathlib import Path

from ci.errors import UsageError
from ci.store import atomic_write
from ci.validate.differential.hunt import Finding
from ci.validate.differential.sequences import Operation, words

VERSION = 1


def write(path: Path, found: Finding, *, seed: int, kernel: str) -> None:
    """The sequence, and what was seen, for people and for `read`."""
    difference = found.difference
    facts = {
        "version": VERSION,
        "suite": "differential",
        "difference": difference.sentence,
        "system": difference.system,
        "expected": difference.expected,
        "got": difference.got,
        "seed": seed,
        "kernel": kernel,
        "remount": found.remounted,
        "in_words": [words(operation) for operation in found.operations],
        "operations": found.operations,
    }
    atomic_write(path, json.dumps(facts, indent=1) + "\n")


def read(path: Path) -> list[Operation]:
    """The operations of a reproducer; UsageError with the reason where it is none."""
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"--replay {path}: {error}", hint="name a file that the suite differential wrote") from error
    operations = facts.get("operations") if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or facts.get("version") != VERSION or not _are_operations(operations):
        raise UsageError(
            f"--replay {path}: this is no reproducer of version {VERSION}", hint="name a file that the suite differential wrote"
        )
    found: list[Operation] = facts["operations"]
    return found


def _are_operations(found: object) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(one, list) and one and isinstance(one[0], str) for one in found)
