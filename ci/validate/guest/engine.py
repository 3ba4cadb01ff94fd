# SPDX-License-Identifier: Apache-2.0
"""Runs cases one after another, each in a process of its own, each operation under a deadline.

A case that blocks in the kernel cannot stop this: its process is left behind, its stack is read, and the
verdict is `hang`. Everything is told in JSON lines on standard output as it happens, so that the host knows
the operation in progress even when the guest dies in the middle of it.

Events: hello, begin, operation, beat (one a second), end, file, done. `end` carries the verdict.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .context import Context, Failed, Hung, Plan, Skipped
from .machine import mark
from .stacks import kill_group, members, stacks

BEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
REAP_SECONDS = 3.0
WATCHED_FACTOR = 2  # of the operation deadline, where the case itself keeps that deadline (Context.until)
_TAINT_DIED = 1 << 7
MODULE = "kernel-module"
DAEMON = "daemon"

Function = Callable[[Context], None]


@dataclass(frozen=True)
class CaseEntry:
    """A row of a suite's table. `mounted`: the mount must be proven before and after.

    A failed `vital` case makes every later one meaningless.
    """

    id: str
    function: Function
    kinds: tuple[str, ...]
    mounted: bool
    vital: bool


class Table:
    """The cases of one suite in the order in which they are written."""

    def __init__(self) -> None:
        self.entries: list[CaseEntry] = []

    def case(
        self, name: str, *, kinds: tuple[str, ...] = (MODULE, DAEMON), mounted: bool = True, vital: bool = False
    ) -> Callable[[Function], Function]:
        """Add the decorated function as the case `name`."""

        def add(function: Function) -> Function:
            self._append(CaseEntry(name, function, kinds, mounted, vital))
            return function

        return add

    def extend(self, other: Table) -> None:
        """Add all cases of another table, in its order."""
        for entry in other.entries:
            self._append(entry)

    def _append(self, entry: CaseEntry) -> None:
        if any(known.id == entry.id for known in self.entries):
            raise ValueError(f"two cases are called {entry.id}")
        self.entries.append(entry)


def emit(event: str, **facts: Any) -> None:
    """One JSON line for the host."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


@dataclass
class Outcome:
    """How one case ended."""

    verdict: str
    detail: str
    diagnosis: str = ""


class _Runner:
    """The parent's view of one case's process."""

    def __init__(self, entry: CaseEntry, plan: Plan, deadline: float) -> None:
        self._entry = entry
        self._plan = plan
        self._deadline = deadline
        self._operation = "start"
        self._since = time.monotonic()
        self._limit = plan.operation_deadline
        self._buffer = b""
        self._end: dict[str, Any] | None = None

    def run(self) -> Outcome:
        """Fork, listen, judge."""
        reader, writer = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _child(self._entry, self._plan, writer)
        os.close(writer)
        try:
            return self._listen(pid, reader)
        finally:
            os.close(reader)

    def _listen(self, pid: int, reader: int) -> Outcome:
        beat = time.monotonic()
        ended = False
        while True:
            ready, _, _ = select.select([reader], [], [], POLL_SECONDS)
            if ready:
                data = os.read(reader, 65536)
                self._take(data)
                ended = ended or not data
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._drain(reader)
                return self._judge(status)
            now = time.monotonic()
            if now - beat >= BEAT_SECONDS:
                beat = now
                emit("beat", case=self._entry.id, operation=self._operation, waiting=round(now - self._since, 1))
            if now - self._since > self._limit or now > self._deadline:
                return self._hang(pid, now)
            if ended:
                time.sleep(0.005)  # the pipe is closed and the process is about to be gone: do not spin

    def _drain(self, reader: int) -> None:
        os.set_blocking(reader, False)
        while True:
            try:
                data = os.read(reader, 65536)
            except BlockingIOError:
                return  # a process that the case left behind holds the pipe open
            if not data:
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "operation" in message:
                self._operation, self._since = message["operation"], time.monotonic()
                # Who waits under the same deadline himself says more of it: he is given the time to.
                self._limit = self._plan.operation_deadline * (WATCHED_FACTOR if message.get("watched") else 1)
                emit("operation", case=self._entry.id, operation=self._operation)
            elif "message" in message:
                self._since = time.monotonic()
                emit("message", message=message["message"])
            else:
                self._end = message

    def _judge(self, status: int) -> Outcome:
        if self._end is not None and status == 0:
            return Outcome(self._end["verdict"], self._end["detail"], self._end.get("diagnosis", ""))
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            return Outcome("fail", f"the test process was killed by {name} during: {self._operation}")
        return Outcome("fail", f"the test process ended with status {os.WEXITSTATUS(status)} during: {self._operation}")

    def _hang(self, pid: int, now: float) -> Outcome:
        waited = now - self._since
        where = stacks([pid, *members(self._plan.marker)])
        kill_group(pid)
        stuck = not _reaped(pid)
        limit = "operation" if waited > self._limit else "suite"
        state = "; it cannot even be killed (uninterruptible sleep)" if stuck else ""
        return Outcome("hang", f"no return from: {self._operation} (waited {waited:.0f} s, {limit} deadline){state}", where)


def _died() -> bool:
    """True once the kernel has had an oops or a BUG (the taint D): what it does from then on proves nothing."""
    with open("/proc/sys/kernel/tainted", encoding="ascii") as file:
        return bool(int(file.read()) & _TAINT_DIED)


def _reaped(pid: int) -> bool:
    """True once the killed process is gone; False where it sits in uninterruptible sleep."""
    end = time.monotonic() + REAP_SECONDS
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    return False


def _child(entry: CaseEntry, plan: Plan, writer: int) -> None:
    """The case's own process: never returns. It lets go of the agent's streams: were it stuck for ever, the agent's
    end would not reach the host."""
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    context = Context(plan, writer)
    end: dict[str, Any]
    try:
        if entry.mounted:
            context.prove_mount()
        entry.function(context)
        if entry.mounted:
            context.prove_mount()
        end = {"verdict": "pass", "detail": context.detail}
    except Failed as failure:
        end = {"verdict": "fail", "detail": str(failure)}
    except Skipped as skipped:
        end = {"verdict": "skip", "detail": str(skipped)}
    except Hung as hung:
        end = {"verdict": "hang", "detail": str(hung), "diagnosis": stacks([os.getpid(), *members(plan.marker)])}
    except OSError as error:
        end = {"verdict": "fail", "detail": f"{context.operation}: {error}"}
    except BaseException:  # a bug in a case must be told, not lost with the forked process
        end = {"verdict": "infra", "detail": f"the case itself is broken: {traceback.format_exc()}"}
    os.write(writer, json.dumps(end).encode() + b"\n")
    os._exit(0)


def run_suite(table: Table, plan: Plan) -> int:
    """Run every case that fits; returns how many ran. The order is the table's."""
    begin = time.monotonic()
    deadline = begin + plan.deadline
    stop = ""
    ran = 0
    chosen = [entry for entry in table.entries if plan.kind in entry.kinds and plan.wants(entry.id)]
    emit("hello", pid=os.getpid(), cases=[entry.id for entry in chosen], python=sys.version.split()[0])
    for entry in chosen:
        if not stop and time.monotonic() > deadline:
            stop = f"the suite's deadline of {plan.deadline:g} s was reached"
        if stop:
            emit("end", case=entry.id, verdict="skip", detail=f"not run: {stop}", seconds=0.0)
            continue
        emit("begin", case=entry.id)
        mark(f"case {entry.id}")
        started, alive = time.monotonic(), not _died()
        outcome = _Runner(entry, plan, deadline).run()
        ran += 1
        crashed = alive and _died()
        if crashed:
            outcome = Outcome(
                "panic", f"the kernel crashed (tainted D); the case itself: {outcome.verdict}, {outcome.detail}", outcome.diagnosis
            )
        if outcome.diagnosis:
            emit("file", name=f"{entry.id}.stacks.txt", text=outcome.diagnosis)
        emit("end", case=entry.id, verdict=outcome.verdict, detail=outcome.detail, seconds=round(time.monotonic() - started, 3))
        if crashed:
            stop = f"the kernel crashed in {entry.id}"
        elif outcome.verdict == "hang":
            stop = f"{entry.id} hung"
        elif outcome.verdict != "pass" and entry.vital:
            stop = f"{entry.id} did not pass"
    return ran
