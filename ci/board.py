# SPDX-License-Identifier: Apache-2.0
"""A table of what several guests do at once, redrawn while they do: suites, how far each is, failures as they occur.

Without a terminal nothing is drawn, and a failure is a line when it occurs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from ci import console
from ci.model import Case, Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN_FAILURES = 5
_DETAIL = 100  # characters of a failure's detail while it runs; the end says all


@dataclass
class _Row:
    """One suite on one subject."""

    label: str
    state: str = "waits"
    passed: int = 0
    failed: int = 0
    begin: float = 0.0
    seconds: float = 0.0
    verdict: Verdict | None = None


class Board:
    """The rows in the order in which they were given; every method may be called from any thread."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._rows = [_Row(label) for label in labels]
        self._failures: deque[str] = deque(maxlen=_SHOWN_FAILURES)
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Board:
        self._stack.enter_context(console.Progress())
        console.Progress.above = self.rendered
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        console.Progress.above = None
        self._stack.close()

    def begin(self, number: int) -> None:
        """The row with this number (from 0) has begun, for the first time or again."""
        with self._lock:
            self._rows[number] = _Row(self._rows[number].label, "begins", begin=time.monotonic(), verdict=Verdict.RUNNING)

    def say(self, number: int, state: str) -> None:
        """What it is doing."""
        with self._lock:
            self._rows[number].state = state

    def case(self, number: int, case: Case) -> None:
        """A case has ended. A failure is shown at once; what the kernel's log or a list of known failures makes of it comes later."""
        with self._lock:
            row = self._rows[number]
            row.passed += case.verdict.ok
            if case.ok:
                return
            row.failed += 1
            detail = case.detail if len(case.detail) <= _DETAIL else f"{case.detail[:_DETAIL]}…"
            words = f"{case.verdict}  {row.label}: {case.id}: {detail}"
            self._failures.append(words)
        if not console.interactive():
            console.note(words)

    def end(self, number: int, verdict: Verdict) -> None:
        """It has ended with this verdict."""
        with self._lock:
            row = self._rows[number]
            row.verdict, row.state, row.seconds = verdict, "", time.monotonic() - row.begin

    def rendered(self) -> RenderableType:
        """The table as rich draws it, with the latest failures below."""
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD)
        for column in ("suite", "verdict", "passed", "failed", "time", "now"):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        with self._lock:
            for row in self._rows:
                verdict = Text(str(row.verdict), style=console.STYLES[row.verdict]) if row.verdict else Text("")
                running = row.verdict is Verdict.RUNNING
                seconds = time.monotonic() - row.begin if running else row.seconds
                cells = (str(row.passed or ""), str(row.failed or ""), f"{seconds:.0f} s" if row.verdict else "", row.state)
                table.add_row(Text(row.label), verdict, *(Text(cell) for cell in cells))
            return Group(table, *(Text(words, style=console.STYLES[Verdict.FAIL]) for words in self._failures))
