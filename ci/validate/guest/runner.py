# SPDX-License-Identifier: Apache-2.0
"""The parent's view of a process that runs a case, or a group of them: it listens, keeps the deadlines, and judges how it ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from . import telling
from .context import Context, Failed, Hung, NotOffered, Plan, Skipped
from .stacks import kill_group, members, stacks

BEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
REAP_SECONDS = 3.0
WATCHED_FACTOR = 2  # of the operation deadline, where the case itself keeps that deadline (Context.until)


def emit(event: str, **facts: Any) -> None:
    """One JSON line for the host."""
    line(event, **facts)
    sys.stdout.flush()


def line(event: str, **facts: Any) -> None:
    """The same, which goes with the next that is emitted: what takes it to the host is woken once for both."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")


@dataclass
class Outcome:
    """How one case ended. `absent`: skipped, because the product does not offer what it needs, as its manifest says."""

    verdict: str
    detail: str
    diagnosis: str = ""
    absent: bool = False

    def facts(self) -> dict[str, Any]:
        """As one message of the process that ran it."""
        return asdict(self)


def detach() -> None:
    """Let a case's process go of the agent's streams: were it stuck for ever, the agent's end would not reach the host."""
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def verdict_of(context: Context, body: Callable[[], None]) -> Outcome:
    """Run a case's body, and say how it ended."""
    try:
        body()
    except Failed as failure:
        return Outcome("fail", str(failure))
    except NotOffered as absent:
        return Outcome("skip", str(absent), absent=True)
    except Skipped as skipped:
        return Outcome("skip", str(skipped))
    except Hung as hung:
        return Outcome("hang", str(hung), stacks([os.getpid(), *members(context.plan.marker)]))
    except OSError as error:
        return Outcome("fail", f"{context.operation}: {error}")
    except BaseException:  # a bug in a case must be told, not lost with the forked process
        return Outcome("infra", f"the case itself is broken: {traceback.format_exc()}")
    return Outcome("pass", context.detail)


class Runner:
    """Runs `body` (which gets the writer and never returns) as the process of the case `case`."""

    def __init__(self, case: str, plan: Plan, deadline: float, body: Callable[[telling.Writer], None]) -> None:
        self._case = case
        self._plan = plan
        self._body = body
        self._deadline = deadline
        self._operation = "start"
        self._since = time.monotonic()
        self._limit = plan.operation_deadline
        self._end: dict[str, Any] | None = None

    def run(self) -> Outcome:
        """Fork, listen, judge."""
        reader, writer = telling.pair()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            reader.close()
            self._body(writer)
        child = os.pidfd_open(pid)
        try:
            return self._listen(pid, child, reader)
        finally:
            reader.close()
            writer.close()
            os.close(child)

    def _listen(self, pid: int, child: int, reader: telling.Reader) -> Outcome:
        beat = time.monotonic()
        while True:
            reader.wait(child, POLL_SECONDS)
            done, status = os.waitpid(pid, os.WNOHANG)
            for message in reader.heard():  # of one that has ended: all that it said before
                self._hear(message)
            if done:
                return self._judge(status)
            sys.stdout.flush()
            now = time.monotonic()
            if now - beat >= BEAT_SECONDS:
                beat = now
                self._beat(now)
            if now - self._since > self._limit or now > self._deadline:
                return self._hang(pid, now)

    def _hear(self, message: dict[str, Any]) -> None:
        if "operation" in message:
            self._operation, self._since = message["operation"], message["at"]
            # Who waits under the same deadline himself says more of it: he is given the time to.
            self._limit = self._plan.operation_deadline * (WATCHED_FACTOR if message.get("watched") else 1)
            line("operation", case=self._case, operation=self._operation)
        elif "case" in message:
            emit("found", **message["case"])
        elif "file" in message:
            emit("file", **message["file"])
        elif "message" in message:
            self._since = time.monotonic()
            emit("message", message=message["message"])
        else:
            self._end = message

    def _judge(self, status: int) -> Outcome:
        if self._end is not None and status == 0:
            return Outcome(**self._end)
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return Outcome("fail", f"the test process was killed by {name} during: {self._operation}")
        return Outcome("fail", f"the test process ended with status {os.WEXITSTATUS(status)} during: {self._operation}")

    def _beat(self, now: float) -> None:
        emit("beat", case=self._case, operation=self._operation, waiting=round(now - self._since, 1))

    def _hang(self, pid: int, now: float) -> Outcome:
        waited = now - self._since
        self._beat(now)  # what follows takes a while where the machine is busy: the host must not take that for silence
        where = stacks([pid, *members(self._plan.marker)])
        kill_group(pid)
        stuck = not _reaped(pid)
        limit = "operation" if waited > self._limit else "suite"
        state = "; it cannot even be killed (uninterruptible sleep)" if stuck else ""
        return Outcome("hang", f"no return from: {self._operation} (waited {waited:.0f} s, {limit} deadline){state}", where)


def _reaped(pid: int) -> bool:
    """True once the killed process is gone; False where it sits in uninterruptible sleep."""
    end = time.monotonic() + REAP_SECONDS
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    return False
