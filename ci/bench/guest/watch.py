# SPDX-License-Identifier: Apache-2.0
"""Waits for a process or a condition and tells apart slow and stuck.

Progress is a log that grows, or CPU time of the process trees that are watched. Where neither is seen for `silence`
seconds, it is a hang. A tree that uses less than 2 % of one CPU counts as idle: fio's main thread, for one, wakes ten
times a second to look at jobs that hang, and must not pass for progress.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ci import procfs

IDLE_SHARE = 0.02
KILL_SECONDS = 5.0
LOG_LIMIT = 64 << 20
LOG_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Limits:
    """Seconds: the longest time in all, and the longest time without progress."""

    deadline: float
    silence: float

    @property
    def interval(self) -> float:
        """Seconds between two looks at all processes. These cost CPU time that the measurement wants, so they are seldom."""
        return max(0.05, min(2.0, self.silence / 4, self.deadline / 4))


class Stuck(Exception):
    """What is watched must be ended; `verdict` is hang, or fail where it is anything but silent."""

    def __init__(self, message: str, verdict: str = "hang") -> None:
        super().__init__(message)
        self.verdict = verdict


@dataclass
class Watch:
    """One wait. `leaders` are the pids whose trees count, `logs` the files whose growth counts."""

    what: str
    limits: Limits
    leaders: list[int]
    logs: list[Path]
    beat: Callable[[str], None]
    _begin: float = field(default_factory=time.monotonic)
    _moved: float = field(default_factory=time.monotonic)
    _log: int = -1
    _cpu: float = 0.0

    def wait(self, done: Callable[[float], bool]) -> None:
        """Wait until `done(timeout)` is true; raises Stuck with the sentence that says what is wrong."""
        look = time.monotonic() + self.limits.interval
        while not done(min(self.limits.interval, LOG_LOOK_SECONDS)):
            log = sum(path.stat().st_size for path in self.logs if path.exists())
            if log > LOG_LIMIT:
                raise Stuck(f"{self.what} flooded its log with {log >> 20} MiB", "fail")
            if time.monotonic() >= look:
                self._look(log)
                look = time.monotonic() + self.limits.interval

    def _look(self, log: int) -> None:
        now = time.monotonic()
        cpu = sum(stat.cpu for stat in procfs.members(self.leaders))
        self.beat(f"heartbeat {self.what} {now - self._begin:.1f} s log={log} cpu={cpu:.2f}")
        about = "; its log is empty" if log == 0 else ""
        if now - self._begin > self.limits.deadline:
            raise Stuck(f"{self.what} did not end within {self.limits.deadline:g} s{about}")
        if log != self._log or abs(cpu - self._cpu) > IDLE_SHARE * self.limits.silence:
            self._log, self._cpu, self._moved = log, cpu, now
        elif now - self._moved > self.limits.silence:
            raise Stuck(f"{self.what} made no progress for {self.limits.silence:g} s (no log growth, no CPU time){about}")


def start(argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own, its output in a file that nobody has to drain. Raises OSError."""
    with open(log, "ab") as output:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd="/")


def ended(process: subprocess.Popen[bytes]) -> Callable[[float], bool]:
    """A condition for `Watch.wait`: the process has ended. Sleeps in the kernel, without waking in between."""
    handle = os.pidfd_open(process.pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)

    def done(timeout: float) -> bool:
        if not poller.poll(timeout * 1000):
            return False
        os.close(handle)
        process.wait()
        return True

    return done


def kill(leaders: Sequence[int]) -> list[str]:
    """SIGKILL to the whole trees; returns a description of each process that survives it (uninterruptible sleep)."""
    victims = procfs.members(leaders)
    for stat in victims:
        try:
            os.kill(stat.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended first
    end = time.monotonic() + KILL_SECONDS
    while True:
        alive = [s for s in procfs.members(v.pid for v in victims) if s.state not in "ZX"]
        if not alive or time.monotonic() > end:
            return [f"pid {s.pid} ({s.comm}) is in state {s.state} and cannot be killed" for s in alive]
        time.sleep(0.02)
