# SPDX-License-Identifier: Apache-2.0
"""Runs cases one after another, each in a process of its own, each operation under a deadline.

A case that blocks in the kernel cannot stop this: its process is left behind, its stack is read, and the
verdict is `hang`. Everything is told in JSON lines on standard output as it happens, so that the host knows
the operation in progress even when the guest dies in the middle of it.

Events: hello, begin, operation, beat (one a second), found (a case in what a program printed), end, file, done. `end` and `found` carry
the verdict. Small cases that need no process each are members of a group (`groups.py`), which has one process for all of them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from .context import Context, Plan
from .machine import mark, opened
from .runner import Outcome, Runner, detach, emit, line, verdict_of
from .telling import Writer

_TAINT_DIED = 1 << 7
MODULE = "kernel-module"
DAEMON = "daemon"
REFERENCE = "reference"  # a file system of the guest's own kernel, which shows that the suite asks for what is right

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


@dataclass(frozen=True)
class GroupEntry:
    """Cases that one process runs. `body` gets the context and the members that are wanted, and yields the outcome of each."""

    id: str
    members: tuple[str, ...]
    body: Callable[[Context, tuple[str, ...]], Iterator[Outcome]]


class Table:
    """The cases of one suite in the order in which they are written."""

    def __init__(self) -> None:
        self.entries: list[CaseEntry | GroupEntry] = []

    def case(
        self, name: str, *, kinds: tuple[str, ...] = (MODULE, DAEMON), mounted: bool = True, vital: bool = False
    ) -> Callable[[Function], Function]:
        """Add the decorated function as the case `name`."""

        def add(function: Function) -> Function:
            self._append(CaseEntry(name, function, kinds, mounted, vital))
            return function

        return add

    def group(self, entry: GroupEntry) -> None:
        """Add a group; the mount is proven before its first member and after its last."""
        self._append(entry)

    def extend(self, other: Table) -> None:
        """Add all cases of another table, in its order."""
        for entry in other.entries:
            self._append(entry)

    def _append(self, entry: CaseEntry | GroupEntry) -> None:
        known = {name for each in self.entries for name in ids(each)}
        for name in ids(entry):
            if name in known:
                raise ValueError(f"two cases are called {name}")
            known.add(name)
        self.entries.append(entry)


def ids(entry: CaseEntry | GroupEntry) -> tuple[str, ...]:
    """The names of its cases."""
    return entry.members if isinstance(entry, GroupEntry) else (entry.id,)


def chosen(table: Table, plan: Plan) -> list[CaseEntry | GroupEntry]:
    """What of the table is for this product and is asked for; a group is asked for by its own name, too."""
    found: list[CaseEntry | GroupEntry] = []
    for entry in table.entries:
        if isinstance(entry, CaseEntry):
            found += [entry] if plan.kind in entry.kinds and plan.wants(entry.id) else []
            continue
        wanted = entry.members if plan.wants(entry.id) else tuple(name for name in entry.members if plan.wants(name))
        found += [replace(entry, members=wanted)] if wanted else []
    return found


def _died() -> bool:
    """True once the kernel has had an oops or a BUG (the taint D): what it does from then on proves nothing."""
    return bool(int(os.pread(opened("/proc/sys/kernel/tainted", os.O_RDONLY), 32, 0)) & _TAINT_DIED)


class Progress:
    """How far a suite is: its deadline, how many cases ran, and why no more of them do."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deadline = time.monotonic() + plan.deadline
        self.ran = 0
        self.stop = ""
        self._since = 0.0
        self._alive = True

    def begin(self, case: str, *, marked: bool = False) -> bool:
        """Tell that the case begins; or, where no more run, that it did not, and return False. `marked`: the kernel's log has it."""
        if not self.stop and time.monotonic() > self.deadline:
            self.stop = f"the suite's deadline of {self.plan.deadline:g} s was reached"
        if self.stop:
            emit("end", case=case, verdict="skip", detail=f"not run: {self.stop}", seconds=0.0)
            return False
        line("begin", case=case)
        if not marked:
            mark(f"case {case}")
        self._since, self._alive = time.monotonic(), not _died()
        return True

    def end(self, case: str, outcome: Outcome, *, vital: bool = False) -> None:
        """Tell how the case ended; a crash of the kernel outranks what it says itself."""
        self.ran += 1
        crashed = self._alive and _died()
        if crashed:
            detail = f"the kernel crashed (tainted D); the case itself: {outcome.verdict}, {outcome.detail}"
            outcome = Outcome("panic", detail, outcome.diagnosis)
        if outcome.diagnosis:
            emit("file", name=f"{case}.stacks.txt", text=outcome.diagnosis)
        seconds = round(time.monotonic() - self._since, 3)
        more = {"required": False} if outcome.absent else {}
        emit("end", case=case, verdict=outcome.verdict, detail=outcome.detail, seconds=seconds, **more)
        if crashed:
            self.stop = f"the kernel crashed in {case}"
        elif outcome.verdict == "hang":
            self.stop = f"{case} hung"
        elif outcome.verdict != "pass" and vital:
            self.stop = f"{case} did not pass"


def _child(entry: CaseEntry, plan: Plan, writer: Writer) -> None:
    """The case's own process: never returns."""
    detach()
    context = Context(plan, writer)

    def body() -> None:
        if entry.mounted:
            context.prove_mount()
        entry.function(context)
        if entry.mounted:
            context.prove_mount()

    writer.tell(verdict_of(context, body).facts())
    os._exit(0)


def run_suite(table: Table, plan: Plan) -> int:
    """Run every case that fits; returns how many ran. The order is the table's."""
    progress = Progress(plan)
    entries = chosen(table, plan)
    emit("hello", pid=os.getpid(), cases=[name for entry in entries for name in ids(entry)], python=sys.version.split()[0])
    for entry in entries:
        if isinstance(entry, GroupEntry):
            from . import groups

            groups.run(entry, progress)
        elif progress.begin(entry.id):
            body = partial(_child, entry, plan)
            progress.end(entry.id, Runner(entry.id, plan, progress.deadline, body).run(), vital=entry.vital)
    return progress.ran
