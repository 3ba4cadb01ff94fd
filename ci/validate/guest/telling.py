# SPDX-License-Identifier: Apache-2.0
"""What a case's process tells the agent, its parent: lines of JSON through a pipe, and a bell for what cannot wait.

A step need not be heard at once: the kernel's log has it already, and the parent looks ten times a second. On one emulated processor
each time that the parent is woken takes milliseconds from the case that it listens to, as long as the case itself needs for a step.
"""

from __future__ import annotations

import json
import os
import select
from functools import cache
from typing import Any

_AT_ONCE_BYTES = 16 << 10  # a quarter of a pipe: nobody has to wait until there is room in it
_BLOCK = 1 << 16


class Writer:
    """The case's end. Forked processes may share it: each line is written as a whole as far as a pipe does so (4 KiB)."""

    def __init__(self, lines: int, bell: int) -> None:
        self._lines, self._bell = lines, bell
        self._unheard = 0

    def tell(self, message: dict[str, Any], *, at_once: bool = True) -> None:
        """Say it; with `at_once` the parent is woken."""
        data = json.dumps(message).encode() + b"\n"
        for start in range(0, len(data), _AT_ONCE_BYTES):
            part = data[start : start + _AT_ONCE_BYTES]
            while part:  # a pipe may take a part of what is long
                taken = os.write(self._lines, part)
                self._unheard, part = self._unheard + taken, part[taken:]
            if self._unheard >= _AT_ONCE_BYTES:
                self._ring()
        if at_once:
            self._ring()

    def close(self) -> None:
        """The parent's copy. It stays open as long as the parent listens: that the child has ended is seen by the process, not the pipe."""
        os.close(self._lines)
        os.close(self._bell)

    def _ring(self) -> None:
        os.write(self._bell, b"!")
        self._unheard = 0


class Reader:
    """The parent's end, for one child `pid`."""

    def __init__(self, lines: int, bell: int) -> None:
        self._lines, self._bell = lines, bell
        self._rest = b""
        os.set_blocking(lines, False)
        os.set_blocking(bell, False)

    def wait(self, child: int, seconds: float) -> None:
        """Until the bell rings, the process of the pidfd `child` ends, or the time is over."""
        ready, _, _ = select.select([self._bell, child], [], [], seconds)
        if self._bell in ready:
            os.read(self._bell, _BLOCK)

    def heard(self) -> list[dict[str, Any]]:
        """Everything that was told since the last look, whole lines only."""
        while data := self._read():
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Also the child's copy, so that it does not wait for a reader that is itself."""
        os.close(self._lines)
        os.close(self._bell)

    def _read(self) -> bytes:
        try:
            return os.read(self._lines, _BLOCK)
        except BlockingIOError:
            return b""  # nothing yet; or a process that the case left behind holds the pipe open


def pair() -> tuple[Reader, Writer]:
    """Both ends of a new pipe."""
    lines, lines_end = os.pipe()
    bell, bell_end = os.pipe()
    return Reader(lines, bell), Writer(lines_end, bell_end)


@cache
def nowhere() -> Writer:
    """A writer that nobody listens to."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    return Writer(nothing, nothing)
