# SPDX-License-Identifier: Apache-2.0
"""Runs the tool itself, as a user does: `./inv …` in a process of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def environment(config: Path | None = None) -> dict[str, str]:
    """The environment for a run of the tool: this one, with another manifest where one is given."""
    found = {key: value for key, value in os.environ.items() if key not in ("VEXCI_CONFIG", "GITHUB_ACTIONS")}
    if config is not None:
        found["VEXCI_CONFIG"] = str(config)
    return found


def inv(
    *words: str, config: Path | None = None, deadline: float = 280, stderr: int = subprocess.STDOUT
) -> subprocess.CompletedProcess[str]:
    """Run `./inv words…` to its end; both streams come back as one text unless `stderr` says otherwise."""
    return subprocess.run(
        [str(ROOT / "inv"), *words],
        env=environment(config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        timeout=deadline,
    )


def start(*words: str, config: Path | None = None, log: Path) -> subprocess.Popen[bytes]:
    """Start `./inv words…` in its own process group, its output in `log`."""
    with open(log, "wb") as file:
        return subprocess.Popen(
            [str(ROOT / "inv"), *words],
            env=environment(config),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
