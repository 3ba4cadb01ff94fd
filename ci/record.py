# SPDX-License-Identifier: Apache-2.0
"""The run record of one invocation: begun as `running`, replaced as a whole whenever a stage ends.

docs/record.md describes every field and holds the JSON schema.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ci import console, leftovers, store
from ci.errors import VexciError
from ci.model import SCHEMA_VERSION, Accelerator, Artifact, Check, Evidence, StageResult, Verdict, worst
from ci.revision import Revision
from ci.store import RunFolder


def plain(value: Any) -> Any:
    """Dataclasses, enums, tuples and paths as JSON knows them."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain(item) for key, item in asdict(value).items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return value


@dataclass
class Stage:
    """A stage while it runs. `verdict` None at the end means pass, or the worst of `checks`."""

    name: str
    required: bool = True
    verdict: Verdict | None = None
    detail: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)


class Record:
    """The record and its folder. Every change is on disk when the method returns."""

    def __init__(self, root: Path, project: str, requested: list[str], revision: Revision, host: dict[str, Any]) -> None:
        self.run = RunFolder(root)
        self.root = root
        self._begin = time.monotonic()
        self._stages: list[StageResult] = []
        self._running: str | None = None
        self._lock = threading.RLock()  # guests in several slots end their stages when they like
        self._data: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "id": self.run.id,
            "project": project,
            "command": shlex.join(["./inv", *sys.argv[1:]]),
            "argv": sys.argv[1:],
            "requested": requested,
            "verdict": Verdict.RUNNING.value,
            "detail": "",
            "started": store.now(),
            "ended": None,
            "seconds": None,
            "process": leftovers.owner_id(),
            "commit": revision.commit,
            "dirty": revision.dirty,
            "host": host,
            "accelerator": None,
            "artifacts": [],
            "stages": [],
            "reproduce": "reproduce.sh",
        }
        self._write_reproducer()
        self._write()

    def _write_reproducer(self) -> None:
        commit = self._data["commit"]
        lines = ["#!/bin/sh", "# Repeats this run. Needs a clone of the project in the current folder.", "set -eu"]
        if commit != "unknown":
            lines.append(f"git checkout --detach {commit}")
        if self._data["dirty"]:
            lines.append("echo 'note: the tree of the recorded run differed from its commit' >&2")
        config = os.environ.get("VEXCI_CONFIG")
        prefix = f"VEXCI_CONFIG={shlex.quote(config)} " if config else ""
        lines.append(f"exec env {prefix}{self._data['command']}" if prefix else f"exec {self._data['command']}")
        path = self.run.path / "reproduce.sh"
        store.atomic_write(path, "\n".join(lines) + "\n")
        path.chmod(0o755)

    def _write(self) -> None:
        with self._lock:
            self._data["stages"] = plain(self._stages)
            self._data["running"] = self._running
            self.run.write_record(self._data)

    def snapshot(self) -> dict[str, Any]:
        """The record as it stands."""
        copied: dict[str, Any] = plain(self._data)
        return copied

    def set_artifacts(self, artifacts: list[Artifact]) -> None:
        self._data["artifacts"] = plain(artifacts)

    def set_accelerator(self, accelerator: Accelerator) -> None:
        self._data["accelerator"] = plain(accelerator)

    @contextmanager
    def stage(self, name: str, *, required: bool = True) -> Iterator[Stage]:
        """One stage: timed, its verdict kept whatever way it ends."""
        stage = Stage(name, required)
        started, begin = store.now(), time.monotonic()
        self._running = name
        self._write()
        try:
            yield stage
        except VexciError as error:
            stage.verdict = error.verdict
            stage.detail = str(error)
            stage.evidence += [self.run.evidence("log", path) for path in error.evidence if path.is_file()]
            raise
        except KeyboardInterrupt as error:
            kept = f"; {stage.detail}" if stage.detail else ""
            stage.verdict, stage.detail = Verdict.INTERRUPTED, f"interrupted by {error.args[0] if error.args else 'SIGINT'}{kept}"
            raise
        except BaseException as error:
            if console.reader_gone(error):
                stage.verdict, stage.detail = Verdict.INTERRUPTED, "interrupted: nobody reads the output any more"
            else:
                stage.verdict, stage.detail = Verdict.INFRA, f"a bug in the tool: {type(error).__name__}: {error}"
            raise
        finally:
            self._running = None
            self._end(stage, started, time.monotonic() - begin)

    def _end(self, stage: Stage, started: str, seconds: float) -> None:
        verdict = stage.verdict
        if verdict is None:
            required = [check.verdict for check in stage.checks if check.required]
            verdict = worst(required) if stage.checks else Verdict.PASS
        self._stages.append(
            StageResult(
                stage.name,
                verdict,
                stage.detail,
                started,
                round(seconds, 3),
                plain(stage.results),
                tuple(stage.checks),
                tuple(stage.evidence),
                stage.required,
            )
        )
        self._write()

    def skip(self, name: str, reason: str, *, required: bool = True) -> None:
        """Say that a stage did not run, and why."""
        self._stages.append(StageResult(name, Verdict.SKIP, reason, store.now(), 0.0, required=required))
        self._write()

    def verdict_of(self, name: str) -> Verdict | None:
        """The verdict of a stage that has ended (of the last of that name)."""
        return next((s.verdict for s in reversed(self._stages) if s.name == name), None)

    def preview(self, verdict: Verdict | None, detail: str) -> dict[str, Any]:
        """The record as it would read if the run ended now: what a report is made of."""
        final = verdict if verdict is not None else worst([s.verdict for s in self._stages if s.required])
        closed = {"verdict": final.value, "detail": detail, "ended": store.now(), "running": None}
        return {**self.snapshot(), **closed, "seconds": round(time.monotonic() - self._begin, 3)}

    def finish(self, verdict: Verdict | None, detail: str) -> Verdict:
        """Close the record. Without a verdict it is the worst of the required stages."""
        for name in self._data["requested"]:
            if self.verdict_of(name) is None and verdict is not None and not verdict.ok:
                self.skip(name, f"not reached: {detail}")
        final = verdict if verdict is not None else worst([s.verdict for s in self._stages if s.required])
        self._data.update(verdict=final.value, detail=detail, ended=store.now(), seconds=round(time.monotonic() - self._begin, 3))
        self._write()
        return final
