# SPDX-License-Identifier: Apache-2.0
"""What the agent in the guest has said so far: cases, the operation in progress, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ci.model import Case, Verdict


@dataclass
class Transcript:
    """Takes the agent's JSON lines as they arrive. What was said before a guest died stays known.

    `tell` is called with a sentence whenever a case begins, `ended` with each case at its end. `stray` are lines that are not the agent's.
    """

    tell: Callable[[str], None]
    ended: Callable[[Case], None] = lambda case: None
    planned: tuple[str, ...] = ()
    cases: list[Case] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    stray: list[str] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    current: str = ""
    operation: str = ""
    done: bool = False
    left: tuple[str, ...] = ()

    def take(self, line: str) -> None:
        """One line of the agent's standard output."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or "event" not in message:
            if line.strip():
                self.stray.append(line)
            return
        handler = getattr(self, f"_{message['event']}", None)
        if handler is None:
            self.stray.append(line)
        else:
            handler(message)

    @property
    def ran(self) -> int:
        """How many cases ran to a verdict; skipped ones did not."""
        return sum(case.verdict is not Verdict.SKIP for case in self.cases)

    @property
    def in_progress(self) -> str:
        """The case and the operation that had begun and not ended; empty where there is none."""
        if not self.current:
            return ""
        return f"{self.current}: {self.operation}" if self.operation else self.current

    def mark(self, during: str, operation: str) -> None:
        """What the console of a guest that died shows last (`case …`, and its operation): the agent tells its steps with a delay, and what
        it had not told yet died with it."""
        case = during.removeprefix("case ")
        if case in self.planned and all(case != known.id for known in self.cases):
            self.current, self.operation = case, operation or (self.operation if case == self.current else "")

    def close(self, verdict: Verdict, detail: str) -> None:
        """The guest was lost or stopped: the case in progress gets this verdict, the ones after it did not run."""
        if self.current:
            during = f" (during: {self.operation})" if self.operation else ""
            self.cases.append(Case(self.current, verdict, detail + during, 0.0))
            self.current = self.operation = ""
        known = {case.id for case in self.cases}
        self.cases += [Case(name, Verdict.SKIP, f"not run: {detail}", 0.0) for name in self.planned if name not in known]

    def _hello(self, message: dict[str, Any]) -> None:
        self.planned = tuple(message["cases"])

    def _begin(self, message: dict[str, Any]) -> None:
        self.current, self.operation = message["case"], ""
        self.tell(f"{len(self.cases) + 1}/{len(self.planned)} {self.current}")

    def _operation(self, message: dict[str, Any]) -> None:
        self.operation = message["operation"]

    def _beat(self, message: dict[str, Any]) -> None:
        self.tell(f"{message['case']}: {message['operation']} ({message['waiting']:.0f} s)")

    def _message(self, message: dict[str, Any]) -> None:
        self.messages.append(message["message"])

    def _end(self, message: dict[str, Any]) -> None:
        self._found(message)
        self.current = self.operation = ""

    def _found(self, message: dict[str, Any]) -> None:
        """A case with its verdict; the one that runs goes on."""
        required = message.get("required", True)
        self.cases.append(Case(message["case"], Verdict(message["verdict"]), message["detail"], message["seconds"], required))
        self.ended(self.cases[-1])

    def _file(self, message: dict[str, Any]) -> None:
        self.files[message["name"]] = message["text"]

    def _done(self, message: dict[str, Any]) -> None:
        self.done = True
        self.left = tuple(message["left"])
