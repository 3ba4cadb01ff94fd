# SPDX-License-Identifier: Apache-2.0
"""The metadata loop of ci/bench/guest/metadata.py: operations a second of each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ci.bench.workloads.metric import Metric, Setting
from ci.errors import ProductFailure, UsageError

STEPS = ("create", "stat", "readdir", "rename", "unlink")
DEFAULTS = {"files": "300", "size": "1024", "threads": "1"}
_MOST = {"files": 1_000_000, "size": 1 << 20, "threads": 64}
_LEAST = {"files": 1, "size": 0, "threads": 1}


class Metadata:
    """`files` small files of `size` bytes each, by each of `threads` processes in a folder of its own."""

    raw = "metadata.json"

    def options(self, given: Mapping[str, str]) -> dict[str, str]:
        options = {**DEFAULTS, **given}
        for name, value in options.items():
            if name not in DEFAULTS:
                raise UsageError(f"the metadata option '{name}' is not known", hint=f"options: {', '.join(DEFAULTS)}")
            if not value.isdecimal() or not _LEAST[name] <= int(value) <= _MOST[name]:
                raise UsageError(f"{name}={value}: expected a whole number from {_LEAST[name]} to {_MOST[name]}")
        return options

    def metrics(self, options: Mapping[str, str]) -> tuple[Metric, ...]:
        return tuple(Metric(step, "operations/s") for step in STEPS)

    def command(self, options: Mapping[str, str], setting: Setting) -> list[str]:
        words = [setting.python, setting.payload, "metadata", "--directory", setting.directory, "--output", setting.output]
        words += ["--files", options["files"], "--size", options["size"], "--threads", options["threads"]]
        return [*words, "--slowed"] if setting.slowed else words

    def values(self, path: Path, options: Mapping[str, str]) -> dict[str, float]:
        try:
            steps = json.loads(path.read_text())["steps"]
            counts = {step: (int(steps[step]["operations"]), int(steps[step]["nanoseconds"])) for step in STEPS}
        except (ValueError, KeyError, TypeError) as error:
            raise ProductFailure(f"the metadata loop left no readable result: {error}", evidence=(path,)) from error
        for step, (operations, nanoseconds) in counts.items():
            if operations <= 0 or nanoseconds <= 0:
                raise ProductFailure(f"{step}: {operations} operations in {nanoseconds} ns is not a measurement", evidence=(path,))
        return {step: operations * 1e9 / nanoseconds for step, (operations, nanoseconds) in counts.items()}

    def absent(self, path: Path) -> dict[str, str]:
        return {}

    def dimensions(self, options: Mapping[str, str], metric: Metric, facts: Mapping[str, str]) -> dict[str, str]:
        return {}
