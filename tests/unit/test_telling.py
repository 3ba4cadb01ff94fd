# SPDX-License-Identifier: Apache-2.0
"""What a case's process tells its parent: in order, whole, and promptly where it cannot wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from ci.validate.guest import telling

pytestmark = pytest.mark.unit
LONG = 5.0


class Child:
    """A forked process that tells what `body` says, and its parent's view of it."""

    def __init__(self, body: Callable[[telling.Writer], None]) -> None:
        self.reader, self.writer = telling.pair()
        self.pid = os.fork()
        if self.pid == 0:
            self.reader.close()
            body(self.writer)
            os._exit(0)
        self.process = os.pidfd_open(self.pid)
        self.waits: list[float] = []  # seconds of each

    def wait(self) -> list[dict[str, object]]:
        begin = time.monotonic()
        self.reader.wait(self.process, LONG)
        self.waits.append(time.monotonic() - begin)
        return self.reader.heard()

    def end(self) -> list[dict[str, object]]:
        """Everything that it tells until its end."""
        said: list[dict[str, object]] = []
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            said += self.wait()
        said += self.reader.heard()
        for each in (self.reader, self.writer):
            each.close()
        os.close(self.process)
        return said


def steps(count: int, padding: str = "") -> Callable[[telling.Writer], None]:
    def body(writer: telling.Writer) -> None:
        for number in range(count):
            writer.tell({"n": number, "padding": padding}, at_once=False)

    return body


def test_steps_wait_for_the_end_and_come_in_order() -> None:
    child = Child(steps(100))
    assert [each["n"] for each in child.end()] == list(range(100))
    assert len(child.waits) == 1, "nobody was woken for a step"


def test_what_cannot_wait_is_heard_before_the_end_with_the_steps_before_it() -> None:
    hold, release = os.pipe()

    def body(writer: telling.Writer) -> None:
        writer.tell({"n": 1}, at_once=False)
        writer.tell({"n": 2})
        os.read(hold, 1)  # the case goes on with something else

    child = Child(body)
    assert child.wait() == [{"n": 1}, {"n": 2}] and child.waits[0] < LONG / 2
    os.write(release, b"x")
    assert child.end() == []
    os.close(hold)
    os.close(release)


def test_what_is_longer_than_a_pipe_arrives_whole_and_nobody_waits_for_the_clock() -> None:
    text = "x" * 300_000
    child = Child(lambda writer: writer.tell({"text": text}))
    assert child.end() == [{"text": text}] and max(child.waits) < LONG / 2


def test_many_steps_do_not_fill_the_pipe_until_the_clock_strikes() -> None:
    child = Child(steps(5000, "y" * 200))
    assert [each["n"] for each in child.end()] == list(range(5000)) and max(child.waits) < LONG / 2


def test_an_unfinished_line_waits_for_its_end() -> None:
    lines, lines_end = os.pipe()
    bell, bell_end = os.pipe()
    reader = telling.Reader(lines, bell)
    os.write(lines_end, b'{"n": 1}\n{"n"')
    assert reader.heard() == [{"n": 1}]
    os.write(lines_end, b": 2}\n")
    assert reader.heard() == [{"n": 2}]
    for descriptor in (lines, lines_end, bell, bell_end):
        os.close(descriptor)
