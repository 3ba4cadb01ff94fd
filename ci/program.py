# SPDX-License-Identifier: Apache-2.0
"""Invoke's command line as `./inv` shows it: its own name in the help, and exit code 2 for what it cannot parse."""

from __future__ import annotations

import difflib

from invoke.exceptions import Exit, ParseError
from invoke.program import Program

from ci import __version__

USAGE = 2
PAIR = "--compare"


def two_values(argv: list[str]) -> list[str]:
    """`--compare A B` as `--compare A --compare B`: a flag of Invoke takes one value, and B would be taken for a task."""
    found: list[str] = []
    for at, word in enumerate(argv):
        if at >= 2 and argv[at - 2] == PAIR and not word.startswith("-") and not argv[at - 1].startswith("-"):
            found.append(PAIR)
        found.append(word)
    return found


class Launcher(Program):
    """Invoke's program under the name ./inv. A mistake on the command line is a usage error, with the nearest task."""

    def __init__(self) -> None:
        super().__init__(version=__version__, name="vexci", binary="./inv")

    def parse_core(self, argv: list[str] | None) -> None:
        try:
            super().parse_core(argv if argv is None else two_values(argv))
        except ParseError as error:
            raise self._usage(error) from None

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            raise self._usage(error) from None
        except ValueError as error:  # of int(), to which Invoke gives what stands behind a flag that is a number
            raise self._usage(ParseError(f"{str(error).rpartition(': ')[2]} is no whole number")) from None

    def _usage(self, error: ParseError) -> Exit:
        known = sorted(self.collection.task_names) if hasattr(self, "collection") else []
        word = str(error).split("'")[1] if "'" in str(error) else ""
        near = difflib.get_close_matches(word, known, n=1)
        way_out = f"did you mean './inv {near[0]}'? Otherwise" if near else "'./inv --list' shows every task,"
        return Exit(f"usage: {str(error).rstrip('!')}\n  -> {way_out} './inv --help TASK' shows its flags", code=USAGE)
