# SPDX-License-Identifier: Apache-2.0
"""One invocation of the tool: its manifest, its record, its signals, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from functools import cached_property
from pathlib import Path
from typing import Any

from ci import config, console, github, host, leftovers, process, revision, store
from ci import vm as _vm  # noqa: F401  (knows how guests that a killed run left behind are released)
from ci.errors import Hang, VexciError
from ci.manifest import Manifest
from ci.model import EXIT_CODES, Artifact, KernelTarget, Verdict
from ci.reader import ConfigError
from ci.record import Record


class Session:
    """What the tasks of one invocation (`./inv build verify`) share."""

    def __init__(self, requested: list[str]) -> None:
        self.requested = requested
        self.json = False
        self.artifacts: list[Artifact] | None = None
        self.known: list[dict[str, str]] = []  # builds that failed as the manifest expects
        self.release = False  # whether what is verified is to be released
        self.kernels: dict[str, KernelTarget] = {}
        self._verdict: Verdict | None = None
        self._detail = ""

    @cached_property
    def manifest(self) -> Manifest:
        """The validated manifest; nothing is started where it has a mistake."""
        return config.read(config.manifest_path())

    @cached_property
    def revision(self) -> revision.Revision:
        """The commit of the manifest's tree."""
        return revision.read(self.manifest.root)

    @cached_property
    def record(self) -> Record:
        """The record, begun by the first task that does work."""
        return Record(self.manifest.root, self.manifest.project, self.requested, self.revision, host.facts())

    @property
    def working(self) -> bool:
        """True where a record has been begun."""
        return "record" in self.__dict__

    def begin(self) -> None:
        """Take over the signals, and release what a killed run left behind."""
        process.signals.take_over()
        for sentence in leftovers.sweep():
            console.note(sentence)

    def fail(self, error: BaseException) -> int:
        """Report what ended a task; returns the exit code. Remembers it for the record."""
        if isinstance(error, ConfigError):
            for problem in error.problems:
                message = f"{problem.key}: {problem.message}" if problem.key else problem.message
                console.error(message, where=f"{error.path}:{problem.line}", verdict=error.verdict)
        if isinstance(error, OSError) and error.errno in (*store.FULL, errno.EROFS):
            error = store.disk_error(error, Path(error.filename or self.manifest.root))
        elif isinstance(error, OSError) and "manifest" in self.__dict__:
            error = store.in_the_way(error, store.cache_dir(), self.manifest.root / ".build") or error
        if isinstance(error, Hang) and error.evidence and error.evidence[0].name == "index.txt":
            console.line(error.evidence[0].read_text())
        if isinstance(error, VexciError):
            self._set(error.verdict, str(error))
            console.error(error.message, where=error.where, hint=error.hint, verdict=error.verdict)
        elif console.reader_gone(error):
            # Nobody reads on ('| head'). What is still to be said goes nowhere; the record says the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._set(Verdict.INTERRUPTED, "interrupted: nobody reads the output any more")
        elif isinstance(error, KeyboardInterrupt):
            name = str(error.args[0]) if error.args else "SIGINT"
            self._set(Verdict.INTERRUPTED, f"interrupted by {name}")
            console.error(f"by {name}; what was started has been stopped", verdict=Verdict.INTERRUPTED)
        else:
            self._set(Verdict.INFRA, f"a bug in the tool: {type(error).__name__}: {error}")
            console.line("".join(traceback.format_exception(error)))
            console.error("this is a bug in vexci; the traceback above belongs into its report", verdict=Verdict.INFRA)
        assert self._verdict is not None
        return EXIT_CODES[self._verdict]

    def _set(self, verdict: Verdict, detail: str) -> None:
        self._verdict, self._detail = verdict, detail

    def finish(self) -> None:
        """Release what is still held, close the record, say how it ended. Called once, when the tool exits."""
        process.signals.ignore_from_now()
        for sentence in leftovers.sweep(own=True):
            console.note(sentence)
        if not self.working:
            return
        try:
            final = self.record.finish(self._verdict, self._detail)
        except OSError as error:  # the disk is full: what stands on it is the record as it was before
            trouble = store.disk_error(error, self.record.run.path)
            console.error(f"the end of this run could not be recorded: {trouble.message}", hint=trouble.hint, verdict=trouble.verdict)
            return
        data = self.record.snapshot()
        self._tell_others(data)
        place = self.record.run.path.relative_to(self.manifest.root)
        console.verdict_line(final, f"{data['command'].removeprefix('./inv ')}: {place}/record.json", data["seconds"])
        if self.json:
            json.dump(data, sys.stdout, indent=2)
            print()

    def _tell_others(self, data: dict[str, Any]) -> None:
        """Findings in the form that other programs read; on GitHub also the summary of the workflow's run, and annotations."""
        from ci.report import sarif

        findings = sarif.render(data)
        if findings:
            store.atomic_write(self.record.run.path / "findings.sarif", findings)
        if console.on_github():
            from ci.report import markdown
            from ci.report.view import view

            github.annotate(data)
            github.summary(markdown.render(view(data, self.record.run.path)))
