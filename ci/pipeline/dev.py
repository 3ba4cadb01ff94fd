# SPDX-License-Identifier: Apache-2.0
"""`./inv dev`: watches the artifacts' folders; on each save builds, verifies, restores a guest, deploys and runs the suite smoke.

The guest of the last round stays until the next one has begun, under the name `dev`, for `./inv vm.ssh`.
"""

from __future__ import annotations

import queue
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ci import console, process
from ci.errors import VexciError
from ci.model import Artifact, Verdict
from ci.pipeline import artifacts, guests, validating
from ci.pipeline.choice import Request, is_asked_for
from ci.pipeline.matrix import Filter
from ci.pipeline.pool import Pool
from ci.pipeline.session import Session

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

NAME = "dev"
SUITE = "smoke"  # what a save is answered with, within seconds
# An editor writes a file in several steps, and a checkout many files: a round begins when nothing changed for so long.
SETTLED_SECONDS = 0.15
_LOOK_SECONDS = 0.2
# What builds and editors write beside the sources.
_OUTPUT_FOLDERS = re.compile(r"target([A-Za-z0-9]{6})?|__pycache__")  # cargo makes `target` under another name first
_OUTPUT_SUFFIXES = {".o", ".ko", ".mod", ".cmd", ".swp", ".swx", ".tmp"}


class Saves:
    """What was saved below some folders, as it happens."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._queue: queue.SimpleQueue[tuple[float, Path]] = queue.SimpleQueue()

    @contextmanager
    def watched(self) -> Iterator[Saves]:
        """While the body runs, saves are noticed."""
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        observer = Observer()

        class Handler(FileSystemEventHandler):
            def on_any_event(handler, event: FileSystemEvent) -> None:
                if event.is_directory and event.event_type == "created":
                    below(Path(str(event.src_path)))
                self.notice(event)

        handler = Handler()

        def below(place: Path) -> None:
            """Watch a folder of sources with all that is in it; the thousand folders of a build are left alone."""
            if place.parent in self._folders and place.is_dir() and is_source(Path(place.name)):
                observer.schedule(handler, str(place), recursive=True)

        for folder in self._folders:
            observer.schedule(handler, str(folder), recursive=False)
            for place in folder.iterdir():
                below(place)
        observer.start()
        try:
            yield self
        finally:
            observer.stop()
            observer.join()

    def notice(self, event: FileSystemEvent) -> None:
        """Take an event that changes a source; looking at a file, and what builds write, is none."""
        if event.is_directory or event.event_type not in ("modified", "created", "deleted", "moved"):
            return
        for name in (str(event.src_path), str(event.dest_path)):
            path = Path(name)
            inside = [path.relative_to(folder) for folder in self._folders if name and path.is_relative_to(folder)]
            if any(is_source(relative) for relative in inside):
                self._queue.put((time.monotonic(), path))

    def next(self, seconds: float) -> tuple[float, set[Path]] | None:
        """When the first of the next saves was seen, and what was saved; None where nothing was within `seconds`."""
        try:
            first, path = self._queue.get(timeout=seconds)
        except queue.Empty:
            return None
        paths = {path}
        while True:
            try:
                paths.add(self._queue.get(timeout=SETTLED_SECONDS)[1])
            except queue.Empty:
                return first, paths


def is_source(path: Path) -> bool:
    """False for what builds and editors leave beside the sources; `path` is relative to the watched folder."""
    return not (
        any(_OUTPUT_FOLDERS.fullmatch(part) for part in path.parts)
        or path.suffix in _OUTPUT_SUFFIXES
        or any(part.startswith((".", "#")) for part in path.parts)  # cargo makes its folder under such a name, too
        or path.name.endswith("~")
        or path.name == "4913"  # vim tries with this name whether it may write here
    )


class Round:
    """One round after the other, each with a fresh guest.

    A round builds, verifies and tries what was saved; the rest stands as the last round left it. What did not pass is taken up again by
    every round until it does, so that a verdict is always one over everything.
    """

    def __init__(self, session: Session, *, require_kvm: bool, slots: int) -> None:
        self.session = session
        # Compilers and checkers run beside the guests: a guest with more processors than they leave it waits for each of its own.
        self.pool = Pool(session, require_kvm=require_kvm, slots=slots, name=NAME, beside=1)
        self._open = {spec.name for spec in session.manifest.artifacts}

    def run(self, changed: set[str], saved: float) -> Verdict:
        """Build, verify, restore, deploy, validate; says the verdict and the stages' times. `changed` are artifacts' names."""
        before = len(self.session.record.snapshot()["stages"])
        self._open |= changed
        # The last guest is let go of at once, and the next one comes up while the compilers run.
        self.pool.discard()
        kept = self._kept()
        with one_beside() as checker, one_beside() as beside:
            checker.submit(self._look_ahead)
            deployed = [beside.submit(_problem, lambda: guests.furnish(self.pool, kept))]

            def made(artifact: Artifact) -> None:
                deployed.append(beside.submit(_problem, lambda: guests.bring(self.pool, artifact)))

            problem = _problem(lambda: self._build(made))
            problem = next(filter(None, [problem, *(each.result() for each in deployed)]), None)
            if problem is not None:
                process.cancelled.set()  # nobody waits for the checkers any more
            else:
                # The checks of the files need nothing of the guest, so they run while the suites do.
                checked = beside.submit(_problem, self._verify)
                problem = _problem(self._validate)
                problem = checked.result() or problem
        stages = self.session.record.snapshot()["stages"][before:]
        times = ", ".join(f"{stage['name']} {stage['seconds']:.1f} s" for stage in stages)
        verdict = problem.verdict if problem else Verdict.PASS
        if problem is None:
            self._open.clear()
        console.verdict_line(verdict, str(problem) if problem else "everything passed", time.monotonic() - saved)
        console.line(f"            {times}; vm beside build, verify beside validate")
        return verdict

    def _kept(self) -> list[Artifact]:
        """What stands as the last round left it."""
        return [artifact for artifact in self.session.artifacts or () if artifact.name not in self._open]

    def _build(self, made: Callable[[Artifact], None]) -> None:
        kept = self._kept()
        self.session.artifacts = []
        try:
            artifacts.build(self.session, Filter(only=",".join(sorted(self._open)), kernel=self.pool.spec.kernel, dev=True), made=made)
        finally:
            self.session.artifacts = [*kept, *self.session.artifacts]

    def _look_ahead(self) -> None:
        """What this raises is raised again when the stage verify asks the same."""
        with process.gently():
            artifacts.look_ahead(self.session, self._open)

    def _verify(self) -> None:
        with process.gently():  # a file system in user space and who uses it need a processor each
            artifacts.verify(self.session, only=self._open)

    def _validate(self) -> None:
        defined = self.session.manifest.suites
        asked = SUITE if any(suite.name == SUITE for suite in defined) else ""
        for name in sorted(self._open):
            if any(name in suite.artifacts and is_asked_for(suite, asked) for suite in defined):
                validating.validate(self.pool, Request(asked, name, kernel=self.pool.spec.kernel))


@contextmanager
def one_beside() -> Iterator[Executor]:
    """One more thread; what ends the round, as Ctrl-C does, also ends the program that it waits for."""
    process.cancelled.clear()
    with ThreadPoolExecutor(1) as beside:
        try:
            yield beside
        except BaseException:
            process.cancelled.set()
            raise


def _problem(work: Callable[[], object]) -> VexciError | None:
    """What went wrong in a part of a round, said at once; None where nothing did."""
    try:
        work()
    except VexciError as error:
        console.error(error.message, where=error.where, hint=error.hint, verdict=error.verdict)
        return error
    return None


def run(session: Session, *, require_kvm: bool, slots: int, rounds: int = 0) -> None:
    """Watch and judge until Ctrl-C (or for so many rounds). The first round begins at once, with everything."""
    folders = {spec.name: spec.folder for spec in session.manifest.artifacts}
    with Saves(sorted(set(folders.values()))).watched() as saves:
        work = Round(session, require_kvm=require_kvm, slots=slots)
        with work.pool:
            work.pool.ready()
            verdict = work.run(set(), time.monotonic())
            count = 1
            while not rounds or count < rounds:
                shown = ", ".join(sorted({str(folder.relative_to(session.manifest.root)) for folder in folders.values()}))
                console.line(f"watching {shown}; ./inv vm.ssh enters the guest; Ctrl-C ends")
                saved = None
                while saved is None:
                    saved = saves.next(_LOOK_SECONDS)
                when, paths = saved
                console.line(f"saved: {', '.join(sorted(path.name for path in paths))}")
                changed = {name for name, folder in folders.items() if any(path.is_relative_to(folder) for path in paths)}
                verdict = work.run(changed, when)
                count += 1
    if rounds and not verdict.ok:
        raise SystemExit(1)
