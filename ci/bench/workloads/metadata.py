# SPDX-License-Identifier: Apache-2.0
"""The loops of ci/bench/guest that are timed step by step: metadata operations, and trees of small files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ci.bench.workloads.metric import Metric, Setting
from ci.errors import ProductFailure, UsageError

_MOST = {"files": 1_000_000, "size": 1 << 20, "threads": 64, "seed": 1 << 31}
_LEAST = {"files": 1, "size": 0, "threads": 1, "seed": 0}


class Steps:
    """A command of the payload that times `steps` and counts their operations; `defaults` are its options, whole numbers all."""

    def __init__(self, command: str, steps: tuple[str, ...], unit: str, defaults: Mapping[str, str]) -> None:
        self.name, self.steps, self.unit, self.defaults = command, steps, unit, dict(defaults)
        self.raw = f"{command}.json"

    def options(self, given: Mapping[str, str]) -> dict[str, str]:
        options = {**self.defaults, **given}
        for name, value in options.items():
            if name not in self.defaults:
                raise UsageError(f"the {self.name} option '{name}' is not known", hint=f"options: {', '.join(self.defaults)}")
            if not value.isdecimal() or not _LEAST[name] <= int(value) <= _MOST[name]:
                raise UsageError(f"{name}={value}: expected a whole number from {_LEAST[name]} to {_MOST[name]}")
        return options

    def metrics(self, options: Mapping[str, str]) -> tuple[Metric, ...]:
        return tuple(Metric(step, self.unit) for step in self.steps)

    def command(self, options: Mapping[str, str], setting: Setting) -> list[str]:
        words = [setting.python, setting.payload, self.name, "--directory", setting.directory, "--output", setting.output]
        words += [word for name in self.defaults for word in (f"--{name}", options[name])]
        return [*words, "--slowed"] if setting.slowed else words

    def values(self, path: Path, options: Mapping[str, str]) -> dict[str, float]:
        try:
            steps = json.loads(path.read_text())["steps"]
            counts = {step: (int(steps[step]["operations"]), int(steps[step]["nanoseconds"])) for step in self.steps}
        except (ValueError, KeyError, TypeError) as error:
            raise ProductFailure(f"the {self.name} loop left no readable result: {error}", evidence=(path,)) from error
        for step, (operations, nanoseconds) in counts.items():
            if operations <= 0 or nanoseconds <= 0:
                raise ProductFailure(f"{step}: {operations} operations in {nanoseconds} ns is not a measurement", evidence=(path,))
        return {step: operations * 1e9 / nanoseconds for step, (operations, nanoseconds) in counts.items()}

    def absent(self, path: Path) -> dict[str, str]:
        return {}

    def dimensions(self, options: Mapping[str, str], metric: Metric, facts: Mapping[str, str]) -> dict[str, str]:
        return {}


METADATA = Steps(
    "metadata", ("create", "stat", "readdir", "rename", "unlink"), "operations/s", {"files": "300", "size": "1024", "threads": "1"}
)
TREE = Steps("tree", ("unpack", "walk", "read", "remove"), "files/s", {"files": "300", "threads": "1", "seed": "7"})
