# SPDX-License-Identifier: Apache-2.0
"""What Ctrl-C, SIGTERM and SIGHUP do while processes are started: they never get lost, and never come between a birth and its note."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ci.errors import Interrupted


class Signals:
    """Turns signals into Interrupted, but never between the birth of a process and our note of it."""

    def __init__(self) -> None:
        self._held = 0
        self._waiting = ""
        self._ending = False

    def take_over(self) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrive)

    def ignore_from_now(self) -> None:
        """The tool is ending and cleans up: a second Ctrl-C must not stop that."""
        self._ending = True

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        if self._ending:
            return
        if self._held:
            self._waiting = signal.Signals(number).name
            return
        self._ending = True
        raise Interrupted(signal.Signals(number).name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let a signal wait until the body has ended. Signals reach the main thread alone, so elsewhere there is nothing to hold."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._waiting and not self._held:
            self._ending = True
            raise Interrupted(self._waiting)


signals = Signals()
# Set while the tool ends what its other threads run; they see it within POLL_SECONDS.
cancelled = threading.Event()
