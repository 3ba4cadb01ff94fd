# SPDX-License-Identifier: Apache-2.0
"""A server out of a committed compose file: which container engine answers on this machine, or why none does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ci.bench.system import System
from ci.process import Limits, run, scratch_file

ENGINES = ("docker", "podman")
COMPOSE = "{compose}"
ANSWER_SECONDS = 20.0
FETCH_SECONDS = 900.0
_NEEDED = {"QDRANT_PORT": "1", "QDRANT_STORAGE": "/nowhere"}  # a compose file is read as a whole, whatever is asked of it


def found(system: System, *, path: str | None = None) -> System:
    """The system with its compose command filled in, its image fetched; or with the reason in `absent`, and the way out."""
    assert system.compose is not None
    command, reason = answering(path=path)
    if not reason:
        fetched = run(
            [*command, "--file", system.compose, "pull", "--quiet"],
            limits=Limits(FETCH_SECONDS),
            stderr=(errors := scratch_file("pull")),
            env={**os.environ, **_NEEDED},
        )
        reason = "" if fetched.ok else f"its image cannot be fetched: {_last(errors)}"
    if reason:
        way = f"give one that runs already: --server {system.name}=http://127.0.0.1:PORT"
        return replace(system, absent=f"{reason}; start a container engine with compose, or {way}")
    words = (*command, "--file", str(system.compose), "--project-name", "vexci-{port}")
    return replace(system, mount=_filled(system.mount, words), after=tuple(_filled(each, words) for each in system.after))


def answering(*, path: str | None = None) -> tuple[tuple[str, ...], str]:
    """(the compose command, "") of the first engine that answers; or ((), why none does)."""
    said = []
    for name in ENGINES:
        program = shutil.which(name, path=path)
        if program is None:
            continue
        reason = _refuses([program, "info"]) or _refuses([program, "compose", "version"])
        if not reason:
            return (program, "compose"), ""
        said.append(f"{name}: {reason}")
    return (), "; ".join(said) or f"there is no container engine ({', '.join(ENGINES)})"


def _refuses(argv: Sequence[str]) -> str:
    """Its last words where it does not end with 0; empty where it does."""
    done = run(argv, limits=Limits(ANSWER_SECONDS), stderr=(errors := scratch_file("engine")))
    return "" if done.ok else _last(errors) or done.how


def _last(file: Path) -> str:
    lines = [line.strip() for line in file.read_text(errors="backslashreplace").splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""


def _filled(words: tuple[str, ...], command: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for word in words for part in (command if word == COMPOSE else (word,)))
