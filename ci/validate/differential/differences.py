# SPDX-License-Identifier: Apache-2.0
"""Compares what a system answered with what the reference did; the documented differences are in one table, with reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ci.validate.differential.sequences import Operation, words

Answers = dict[str, Any]  # `answers`: a list as long as the operations; `tree`: path -> facts; `again`: the same after a remount


@dataclass(frozen=True)
class Rule:
    """One documented difference. `fits(operation, reference's answer, system's answer)`; the two may have other states from then on,
    so the rest of the sequence is not compared."""

    reason: str
    fits: Callable[[Operation, Any, Any], bool]


@dataclass(frozen=True)
class Difference:
    """What a system did otherwise than the reference: `where` is an operation or a path."""

    system: str
    where: str
    expected: Any
    got: Any

    @property
    def sentence(self) -> str:
        return f"{self.system}: {self.where}: the reference has {_short(self.expected)}, this has {_short(self.got)}"


def _name(operation: Operation) -> str:
    return str(operation[0]).removeprefix("nobody ")


def _refuses(code: str, *operations: str) -> Callable[[Operation, Any, Any], bool]:
    return lambda operation, _, got: _name(operation) in operations and got == [code]


# What docs/semantics.md says that the product does otherwise than the reference.
TABLE: tuple[Rule, ...] = ()


def compare(system: str, operations: list[Operation], reference: Answers, got: Answers) -> Difference | None:
    """The first difference that no rule explains; None where there is none."""
    pairs = zip(operations, reference["answers"], got["answers"], strict=True)
    for number, (operation, expected, answer) in enumerate(pairs, 1):
        if expected == answer:
            continue
        if any(rule.fits(operation, expected, answer) for rule in TABLE):
            return None
        return Difference(system, f"operation {number}, {words(operation)}", expected, answer)
    for part in ("tree", "again"):
        if part not in got:
            continue
        wanted = got["tree"] if part == "again" else reference["tree"]
        for path in sorted({*wanted, *got[part]}):
            if wanted.get(path) != got[part].get(path):
                when = "after a remount" if part == "again" else "at the end"
                return Difference(system, f"{path} {when}", wanted.get(path), got[part].get(path))
    return None


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0].startswith("E"):
        return value[0]
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]} ({len(text)} characters)"
