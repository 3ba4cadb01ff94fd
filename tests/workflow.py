# SPDX-License-Identifier: Apache-2.0
"""Runs a workflow file as GitHub does: each job in a clean clone, its steps in order, outputs and kept files handed on.

Only the `run:` steps are run, by the very shell line that stands in the file. Of the actions, those that hand files from one job or
run to another are done here (upload-artifact, download-artifact, cache/restore, cache/save); checkout is the clone; caches of what can be
had again and publishing are none of a clone's business.
An expression that is not understood is an error, never empty.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_OUTPUT = re.compile(r"^(\w+)<<(\S+)\n(.*?)\n\2$", re.MULTILINE | re.DOTALL)
_HANDLED = ("actions/upload-artifact", "actions/download-artifact", "actions/cache/restore", "actions/cache/save")
_ELSEWHERE = ("actions/checkout", "actions/cache", "github/codeql-action/upload-sarif", "actions/attest-build-provenance")
_ELSEWHERE += ("softprops/action-gh-release", "actions/upload-pages-artifact", "actions/deploy-pages")


@dataclass
class Ran:
    """One `run:` step that was run."""

    job: str
    command: str
    returncode: int
    output: str


@dataclass
class Workflow:
    """A workflow of `project`, run in clones below `folder`. `facts` are expressions with their values: those of the event, such
    as `github.ref_name`, and outputs of actions that are not done here."""

    file: Path
    project: Path
    folder: Path
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs: dict[str, Any] = yaml.safe_load(self.file.read_text())["jobs"]
        self.outputs: dict[str, dict[str, str]] = {}
        self.ran: list[Ran] = []
        self.artifacts = self.folder / "artifacts"
        self.kept = 0

    def cells(self, name: str) -> list[dict[str, str]]:
        """What the job's matrix expands to; one empty row where it has none."""
        strategy = self.jobs[name].get("strategy")
        if strategy is None:
            return [{}]
        text = self.fill(strategy["matrix"], name, {})
        rows: list[dict[str, str]] = json.loads(text)["include"]
        return rows

    def run(self, name: str, row: Mapping[str, str] | None = None) -> list[Ran]:
        """Run a job's steps in a clone of its own, until one fails; `if: always()` steps run then too."""
        row = row or {}
        clone = self.folder / f"{name}-{len(self.ran)}"
        depth = next((s["with"].get("fetch-depth", 1) for s in self.jobs[name]["steps"] if "checkout" in s.get("uses", "")), 1)
        words = ["--depth", str(depth)] if int(depth) else []
        subprocess.run(["git", "clone", "-q", *words, f"file://{self.project}", str(clone)], check=True)
        before = len(self.ran)
        steps: dict[str, dict[str, str]] = {}
        for step in self.jobs[name]["steps"]:
            failed = any(ran.returncode for ran in self.ran[before:])
            if failed and "always()" not in str(step.get("if", "")):
                continue
            if "run" in step:
                steps[step.get("id", "")] = self._step(name, step, clone, row)
            else:
                self._action(name, step, clone, row)
        for key, text in self.jobs[name].get("outputs", {}).items():
            match = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) \}\}", text)
            assert match is not None, text
            self.outputs.setdefault(name, {})[key] = steps[match[1]].get(match[2], "")
        return self.ran[before:]

    def _step(self, job: str, step: Mapping[str, Any], clone: Path, row: Mapping[str, str]) -> dict[str, str]:
        files = {name: clone.parent / f"{clone.name}.{name}" for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        given = {key: self.fill(str(value), job, row) for key, value in step.get("env", {}).items()}
        names = {name: str(file) for name, file in files.items()}
        environment = {**os.environ, "GITHUB_ACTIONS": "true", "CI": "true", **names, **given}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=clone, env=environment, capture_output=True, text=True)
        self.ran.append(Ran(job, step["run"], done.returncode, done.stdout + done.stderr))
        return {name: value for name, _, value in _OUTPUT.findall(files["GITHUB_OUTPUT"].read_text())}

    def _action(self, job: str, step: Mapping[str, Any], clone: Path, row: Mapping[str, str]) -> None:
        action = step["uses"].partition("@")[0]
        given = {key: self.fill(str(value), job, row) for key, value in step.get("with", {}).items()}
        if action == _HANDLED[0]:
            source, target = clone / given["path"], self.artifacts / given["name"]
            assert not target.exists(), f"two jobs keep files as {given['name']}"
            if source.is_file():
                target.mkdir(parents=True)
                shutil.copy(source, target)
            elif source.exists():
                shutil.copytree(source, target)  # the action follows links too
            else:
                assert given["if-no-files-found"] != "error", f"{job}: {given['path']} is not there"
        elif action == _HANDLED[1]:
            if "name" in given:
                shutil.copytree(self.artifacts / given["name"], clone / given["path"], dirs_exist_ok=True)
            for each in self._kept(given["pattern"]) if "pattern" in given else ():
                shutil.copytree(each, clone / given["path"] / each.name)
        elif action == _HANDLED[2]:
            # The newest of what was kept under a key that begins so; `restore-keys` alone, for its own key is of this run.
            if (self.folder / "cache").is_dir() and (kept := self.newest(given["restore-keys"])):
                shutil.copytree(kept, clone / given["path"])
        elif action == _HANDLED[3]:
            self.kept += 1
            shutil.copytree(clone / given["path"], self.folder / "cache" / f"{given['key'].partition('-')[0]}-{self.kept:04}")
        else:
            assert action in _ELSEWHERE, f"{action} is not known here"

    def newest(self, begin: str) -> Path:
        """What was kept last under a key that begins so."""
        return max((self.folder / "cache").glob(f"{begin}*"))

    def _kept(self, pattern: str) -> Iterator[Path]:
        yield from (each for each in sorted(self.artifacts.iterdir()) if fnmatch.fnmatch(each.name, pattern))

    def fill(self, text: str, job: str, row: Mapping[str, str]) -> str:
        """The text with its expressions replaced."""
        return _EXPRESSION.sub(lambda match: self._value(match[1], job, row), text)

    def _value(self, expression: str, job: str, row: Mapping[str, str]) -> str:
        if expression in self.facts:
            return self.facts[expression]
        if match := re.fullmatch(r"matrix\.(\w+)", expression):
            return row[match[1]]
        if match := re.fullmatch(r"(?:fromJSON\()?needs\.(\w+)\.outputs\.(\w+)\)?", expression):
            assert match[1] in self.jobs[job]["needs"], f"{job} does not wait for {match[1]}"
            return self.outputs[match[1]][match[2]]
        if expression.startswith("hashFiles("):
            return "hash"
        raise AssertionError(f"{job}: the expression '{expression}' is not understood")
