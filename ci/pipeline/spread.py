# SPDX-License-Identifier: Apache-2.0
"""`./inv ci.farm`: the cells of the matrix on all machines with slots, and their records as one verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ci import console
from ci.errors import InfrastructureError, UsageError
from ci.model import Verdict
from ci.pipeline import farm, hosts
from ci.pipeline.cells import Cell
from ci.pipeline.hosts import Host
from ci.pipeline.session import Session
from ci.pipeline.threads import run_all
from ci.report import merge as merging
from ci.report.merge import Found

MOST_TRIES = 2  # of a cell that the machine spoilt; what was seen of the product is never tried again


@dataclass
class Work:
    """The cells that wait, and what has come back. All of it is under `lock`."""

    waiting: list[Cell]
    tries: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, object]] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    problems: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Cell | None:
        """The next cell; None where there is none, or where something has gone wrong that concerns all."""
        with self.lock:
            return self.waiting.pop(0) if self.waiting and not self.problems else None

    def again(self, cell: Cell) -> bool:
        """Put it back, at most so often; True where it is tried again."""
        with self.lock:
            count = self.tries[cell.name] = self.tries.get(cell.name, 1) + 1
            if count <= MOST_TRIES:
                self.waiting.insert(0, cell)
            return count <= MOST_TRIES


def run(session: Session, *, kernel: str, suite: str, shards: int, changed_since: str, fresh: bool, machine: str) -> None:
    """Distribute, fetch, merge. A cell that no machine could run has no record, and fails the merge."""
    manifest = session.manifest
    names = [spec.name for spec in manifest.machines if spec.slots]
    unknown = [name for name in machine.split(",") if name and name not in names]
    if unknown or not names:
        hint = f"machines with slots: {', '.join(names) or 'none'}; 'slots: N' below 'machines:' in vexci.yaml makes one"
        raise UsageError(f"the machine '{unknown[0]}' has no slots" if unknown else "no machine has slots", hint=hint)
    chosen = [spec for spec in manifest.machines if spec.slots and (not machine or spec.name in machine.split(","))]
    there = hosts.hosts(chosen, manifest.project)
    revision = session.revision
    if revision.dirty or revision.commit == "unknown":
        raise UsageError("the tree differs from its commit, and only a commit travels to other machines", hint="commit the changes")
    if not (manifest.root / "inv").is_file():
        raise UsageError(
            f"{manifest.root} has no ./inv: the machines of a farm run that of the commit", hint="run the farm in the tool's own tree"
        )
    todo = farm.chosen(session, kernel=kernel, suite=suite, shards=shards, changed_since=changed_since, fresh=fresh)
    work = Work(list(todo))
    folder = session.record.run.file(farm.SHARDS, "x").parent
    with session.record.stage("farm") as stage, console.group("farm"):
        stage.results.update(machines={host.name: host.slots for host in there}, cells=work.rows, lost=work.lost)
        if todo:
            _all(there, work, manifest.root, revision.commit, folder, session.record.run.file("farm", "x").parent, manifest.project)
        stage.detail = f"{len(work.rows)} runs of {len(todo)} cells on {len(there)} machines"
        for name, why in work.lost.items():
            console.verdict_line(Verdict.INFRA, f"{name}: {why}")
        if todo and len(work.lost) == len(there):
            raise InfrastructureError(f"no machine is left: {next(iter(work.lost.values()))}", hint="the verdict needs every cell")
    own = Found(session.record.run.path, session.record.snapshot())
    farm.join(session, [own, *(merging.collect([folder]) if work.rows else [])])


def _all(there: Sequence[Host], work: Work, root: Path, commit: str, folder: Path, logs: Path, project: str) -> None:
    """One thread for each slot; Ctrl-C, and what is no machine's fault, end them all."""

    def slot(host: Host, number: int, ready: threading.Event) -> None:
        try:
            _slot(host, number, ready, work, commit, folder, logs)
        except BaseException as error:
            work.problems.append(error)

    def first(host: Host, ready: threading.Event) -> None:
        try:
            host.push(root, commit, project)
        except hosts.Lost as error:
            work.lost[host.name] = str(error)
        except BaseException as error:
            work.problems.append(error)
        finally:
            ready.set()

    threads = []
    for host in there:
        ready = threading.Event()
        threads.append(threading.Thread(target=first, args=(host, ready), name=f"{host.name}-push"))
        threads += [threading.Thread(target=slot, args=(host, n, ready), name=f"{host.name}-{n}") for n in range(1, host.slots + 1)]
    run_all(threads, work.problems)
    if work.problems:
        raise work.problems[0]


def _slot(host: Host, number: int, ready: threading.Event, work: Work, commit: str, folder: Path, logs: Path) -> None:
    ready.wait()
    while host.name not in work.lost and (cell := work.take()) is not None:
        begin = time.monotonic()
        log = logs / f"{cell.slug}-{host.name}-{work.tries.get(cell.name, 1)}.log"
        try:
            at = host.run(cell.name, number, commit, folder, log)
        except hosts.Lost as error:
            work.lost[host.name] = str(error)
            with work.lock:
                work.waiting.insert(0, cell)  # it did not run: that is no try
            return
        record = merging.collect([at])[0]
        seconds = round(time.monotonic() - begin, 3)
        row = {"cell": cell.name, "machine": host.name, "slot": number, "seconds": seconds, "record": record.record["id"]}
        with work.lock:
            work.rows.append({**row, "verdict": record.verdict.value})
        console.verdict_line(record.verdict, f"{cell.name} on {host.name}", seconds)
        if record.verdict in (Verdict.INFRA, Verdict.INTERRUPTED):
            work.again(cell)
