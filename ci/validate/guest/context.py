# SPDX-License-Identifier: Apache-2.0
"""What a case gets: the plan, the mount point, checks that name what they saw, and processes under a deadline."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from . import mounts
from .machine import mark, throwaway
from .stacks import state_of
from .telling import Writer


class Failed(Exception):
    """The product answered wrongly; the text says what was expected and what came."""


class Skipped(Exception):
    """The case cannot be run here; the text says why."""


class NotOffered(Exception):
    """The case need not run: its manifest says that the product does without what it needs, and the product itself has refused that;
    or the guest's own tool for it cannot work here."""


class Hung(Exception):
    """Something that must happen did not within the operation's deadline."""


@dataclass(frozen=True)
class Plan:
    """What the host asks for. Deadlines in seconds; `mount` and `file` are as in the manifest, already filled in."""

    suite: str
    artifact: str
    kind: str
    file: str
    module: str
    expected_id: str
    filesystem: str
    mount: tuple[str, ...]
    mountpoint: str
    work: str
    persistent: bool
    marker: str
    deadline: float
    operation_deadline: float
    only: tuple[str, ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    volume: str = ""
    check: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    fsync: str = "file"
    options: dict[str, str] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)
    others: tuple[dict[str, Any], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Plan:
        """A plan from its JSON text; unknown and missing keys are errors."""
        data: dict[str, Any] = json.loads(text)
        unknown = set(data) - {known.name for known in fields(cls)}
        if unknown:
            raise ValueError(f"the plan has unknown keys: {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return cls(**values)

    def wants(self, case: str) -> bool:
        """True where no filter is given or the case is named in it."""
        return not self.only or case in self.only

    @property
    def daemon_log(self) -> str:
        return os.path.join(self.work, "daemon.log")

    @property
    def daemon_status(self) -> str:
        return os.path.join(self.work, "daemon.json")


@dataclass(frozen=True)
class Ended:
    """A command that ended. `output` holds both streams."""

    code: int
    output: str


class Context:
    """One case's tools. Each blocking step is announced by `op`, which restarts the operation's deadline."""

    def __init__(self, plan: Plan, writer: Writer) -> None:
        self.plan = plan
        self.detail = ""
        self.operation = "start"
        self._writer = writer

    def op(self, text: str, watched: bool = False) -> None:
        """Say what is done next; `watched` where it keeps the operation deadline itself and can say more than that it was silent."""
        self.operation = text
        mark(f"operation {text}")  # on the console at once: where the kernel dies in it, the line for the host may be lost
        self._writer.tell({"operation": text, "watched": watched, "at": time.monotonic()}, at_once=False)

    def tell(self, message: dict[str, Any]) -> None:
        """Something that the host is waiting for; it is progress too."""
        self._writer.tell({"message": message})

    def found(self, case: str, verdict: str, detail: str = "", *, required: bool = True) -> None:
        """A case of its own that was found in what a program printed; it is told beside the one that runs."""
        self._writer.tell({"case": {"case": case, "verdict": verdict, "detail": detail, "seconds": 0.0, "required": required}})

    def keep(self, name: str, text: str) -> None:
        """A file for the record: what a program printed."""
        self._writer.tell({"file": {"name": name, "text": text}})

    def beside(self, plan: Plan) -> Context:
        """Tools for another mount in the same case; what is done there is told as here."""
        return Context(plan, self._writer)

    def path(self, *parts: str) -> str:
        """A path inside the mount."""
        return os.path.join(self.plan.mountpoint, *parts)

    def check(self, good: bool, message: str) -> None:
        """Fail with the message unless `good`."""
        if not good:
            raise Failed(message)

    def equal(self, what: str, seen: Any, expected: Any) -> None:
        """Fail unless equal, with both values (long ones cut)."""
        if seen != expected:
            raise Failed(f"{what}: expected {_short(expected)}, got {_short(seen)}")

    def refuses(self, what: str, action: Callable[[], Any], *codes: int) -> None:
        """The action must fail with one of these errno values."""
        names = " or ".join(errno.errorcode[code] for code in codes)
        try:
            action()
        except OSError as error:
            if error.errno in codes:
                return
            raise Failed(f"{what}: expected {names}, got {errno.errorcode.get(error.errno or 0, error.errno)}") from error
        raise Failed(f"{what}: expected {names}, but it succeeded")

    def prove_mount(self) -> None:
        """Fail unless the product's filesystem is what answers at the mount point (T1)."""
        self.op(f"look at {self.plan.mountpoint}")
        problem = mounts.problem(self.plan.mountpoint, self.plan.filesystem)
        if problem:
            raise Failed(f"not mounted: {problem}")

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Poll the condition; Hung with `what` at the operation deadline, before the parent's own, later one strikes."""
        self.op(f"wait until {what}", watched=True)
        limit = self.plan.operation_deadline
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                raise Hung(f"waited {limit:g} s in vain until {what}")
            time.sleep(0.02)

    def command(self, argv: list[str], *, most: int = 65536) -> Ended:
        """Run a command to its end; its output goes to a file, so nobody must drain a pipe. `most` bytes of it are read."""
        self.op(" ".join(argv))
        log = os.path.join(self.plan.work, "command.log")
        with open(log, "wb") as file:
            code = subprocess.call(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment(self.plan))
        with open(log, encoding="utf-8", errors="backslashreplace") as text:
            return Ended(code, text.read(most).strip())

    def must(self, argv: list[str]) -> str:
        """Run a command that must exit 0; returns its output."""
        ended = self.command(argv)
        if ended.code != 0:
            raise Failed(f"{' '.join(argv)}: exit {ended.code}: {ended.output or 'no output'}{kernel_says()}")
        return ended.output

    def drop_caches(self) -> None:
        """Make the kernel forget clean pages, dentries and inodes, so that a read asks the filesystem again."""
        if throwaway():
            self.op("drop caches")
            os.sync()
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
                file.write("3")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def environment(plan: Plan) -> dict[str, str]:
    """The environment of everything that a suite starts; the marker finds what it left behind."""
    return {**os.environ, "VEXCI_SUITE": plan.marker, "LC_ALL": "C"}


def kernel_says(lines: int = 3) -> str:
    """The last lines of the kernel's log, for errors that the kernel explains only there."""
    done = subprocess.run(["dmesg"], capture_output=True, text=True, errors="backslashreplace", timeout=10, check=False)
    tail = [line for line in done.stdout.splitlines() if "vexci: " not in line][-lines:]
    return f"; kernel log: {' | '.join(tail)}" if tail else ""


def gone(pid: int) -> bool:
    """True where no such process lives (a zombie does not live)."""
    return state_of(pid) in ("", "Z", "X")
