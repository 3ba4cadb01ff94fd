# SPDX-License-Identifier: Apache-2.0
"""Runs a group of small cases in one process, and tells the host of each as if it had been alone.

A process that dies in a case is that case's failure, and another one goes on with the next; one that hangs ends the suite.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

from .context import Context, Plan
from .engine import GroupEntry, Progress
from .machine import mark
from .runner import Outcome, Runner, detach, verdict_of
from .telling import Writer


def run(entry: GroupEntry, progress: Progress) -> None:
    """Run the group's members in their order. A mount that is not what it should be fails the member that was to come, or had been last."""
    left = entry.members
    while left:
        if not progress.begin(left[0]):
            left = left[1:]
            continue
        runner = _GroupRunner(left, progress, partial(_child, entry, left, progress.plan))
        outcome = runner.run()
        if runner.current:
            unsaid = Outcome("infra", "the group ended without a word of this case")
            progress.end(runner.current, unsaid if outcome.verdict == "pass" else outcome)
        elif outcome.verdict != "pass":  # behind the last member
            progress.end(f"{entry.id}.end", outcome)
        left = runner.left


class _GroupRunner(Runner):
    """Hears of one member after the other. `current` is the one that has begun and not ended, `left` those behind it."""

    def __init__(self, names: tuple[str, ...], progress: Progress, body: Any) -> None:
        super().__init__(names[0], progress.plan, progress.deadline, body)
        self._progress = progress
        self.current, self.left = names[0], names[1:]

    def _hear(self, message: dict[str, Any]) -> None:
        if "ended" not in message:
            super()._hear(message)
            return
        if not self.current:
            return  # the suite has been stopped, and this process does not know it
        self._operation, self._since = "the end of the group", time.monotonic()
        self._progress.end(self.current, Outcome(**message["ended"]))
        self.current = ""
        if self.left and not self._progress.stop:
            following, self.left = self.left[0], self.left[1:]
            if self._progress.begin(following, marked=True):
                self.current = self._case = following
                self._operation, self._limit = "start", self._plan.operation_deadline


def _child(entry: GroupEntry, names: tuple[str, ...], plan: Plan, writer: Writer) -> None:
    """The group's process: never returns."""
    detach()
    context = Context(plan, writer)

    def body() -> None:
        context.prove_mount()
        for following, outcome in zip([*names[1:], ""], entry.body(context, names), strict=True):
            if following:  # before the host is told, so that the kernel's log has the marks in the order of what is done
                mark(f"case {following}")
            writer.tell({"ended": outcome.facts()})
            context.operation = "start"
        context.prove_mount()

    writer.tell(verdict_of(context, body).facts())
    os._exit(0)
