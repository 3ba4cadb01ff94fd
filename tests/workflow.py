# SPDX-License-Identifier: Apache-2.0
"""Runs a workflow file as GitHub does: each job in a clean clone, its steps in order, outputs and kept files handed on.

Only the `run:` steps are run, by the very shell line that stands in the file. Of the actions, those that hand files from one job or
run to another are done here (upload-artifact, download-artifact, cache/restore, cache/save); checkout is the clone; caches of what can be
had again and publishing are none of a clone's business.
An expression that is not understood is an error, never empty.

`python -m tests.workflow FILE --state DIR` runs a whole workflow, or what `--job` names of it. What a job did is kept in DIR, so that after
an interruption the same call goes on with the job that was interrupted.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_OUTPUT = re.compile(r"^(\w+)<<(\S+)\n(.*?)\n\2$", re.MULTILINE | re.DOTALL)
_HANDLED = ("actions/upload-artifact", "actions/download-artifact", "actions/cache/restore", "actions/cache/save")
_ELSEWHERE: tuple[str, ...] = ("actions/checkout", "actions/cache", "github/codeql-action/upload-sarif", "actions/attest-build-provenance")
_ELSEWHERE += ("softprops/action-gh-release", "actions/upload-pages-artifact", "actions/deploy-pages")


@dataclass
class Ran:
    """One `run:` step that was run."""

    job: str
    command: str
    returncode: int
    output: str
    seconds: float


@dataclass
class Workflow:
    """A workflow of `project`, run in clones below `folder`. `facts` are expressions with their values: those of the event, such
    as `github.ref_name`, and outputs of actions that are not done here. `given` are folders, by their place in each clone, that are put
    there before the first step: compiled crates of others, say."""

    file: Path
    project: Path
    folder: Path
    facts: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Path] = field(default_factory=dict)

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
        clone = self.folder / called(name, row)
        shutil.rmtree(clone, ignore_errors=True)
        log = clone.with_name(f"{clone.name}.log")
        log.write_text("")
        depth = next((s.get("with", {}).get("fetch-depth", 1) for s in self.jobs[name]["steps"] if "checkout" in s.get("uses", "")), 1)
        words = ["--depth", str(depth)] if int(depth) else []
        subprocess.run(["git", "clone", "-q", *words, f"file://{self.project}", str(clone)], check=True)
        for place, source in self.given.items():
            subprocess.run(["cp", "-a", "-T", str(source), str(clone / place)], check=True)
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
        began = time.monotonic()
        with clone.with_name(f"{clone.name}.log").open("r+", errors="replace") as log:
            start = log.seek(0, os.SEEK_END)
            done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=clone, env=environment, stdout=log, stderr=log)
            log.seek(start)
            self.ran.append(Ran(job, step["run"], done.returncode, log.read(), time.monotonic() - began))
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

    def waits_for(self, name: str) -> list[str]:
        """The jobs that must have passed before this one; with `always()` or `!cancelled()` only those whose result is asked for."""
        condition, needs = str(self.jobs[name].get("if", "")), self.jobs[name].get("needs", [])
        if "always()" in condition or "!cancelled()" in condition:
            return re.findall(r"needs\.(\w+)\.result == 'success'", condition)
        return [needs] if isinstance(needs, str) else list(needs)


def called(job: str, row: Mapping[str, str]) -> str:
    """The name of a job, or of one row of its matrix, that can be a file's."""
    return "-".join([job, row.get("slug") or "-".join(row.values())]) if row else job


class Kept:
    """What the jobs of a workflow did, kept in its folder: one file for each row of a job, written when it has ended."""

    def __init__(self, flow: Workflow) -> None:
        self.flow = flow
        self.commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=flow.project, capture_output=True, text=True, check=True
        ).stdout.strip()
        (flow.folder / "done").mkdir(parents=True, exist_ok=True)
        self.done: dict[str, Any] = {file.stem: json.loads(file.read_text()) for file in (flow.folder / "done").glob("*.json")}
        for ended in self.done.values():
            if ended["commit"] != self.commit:
                raise SystemExit(f"{flow.folder} is of commit {ended['commit'][:12]}, the project of {self.commit[:12]}")
            if ended["outputs"]:
                flow.outputs[ended["job"]] = ended["outputs"]
        flow.kept = len(list((flow.folder / "cache").glob("*")))

    def rows(self) -> Iterator[tuple[str, dict[str, str], str]]:
        """Each row of each job that runs a command, and how it stands: passed, failed, to do, or what it waits for."""
        for job, steps in ((name, each["steps"]) for name, each in self.flow.jobs.items()):
            if not any("run" in step for step in steps):
                continue
            if missing := [needed for needed in self.flow.waits_for(job) if not self.passed(needed)]:
                yield job, {}, f"waits for {', '.join(missing)}"
                continue
            for row in self.flow.cells(job):
                yield job, row, self.state(called(job, row))

    def state(self, name: str) -> str:
        if name not in self.done:
            return "to do"
        return "failed" if any(step["returncode"] for step in self.done[name]["steps"]) else "passed"

    def passed(self, job: str) -> bool:
        """Every row of the job ran and passed."""
        if any(not self.passed(needed) for needed in self.flow.waits_for(job)):
            return False
        return all(self.state(called(job, row)) == "passed" for row in self.flow.cells(job))

    def run(self, job: str, row: Mapping[str, str]) -> str:
        """Run it and keep what it did. The clone of one that passed is removed."""
        named, name = {file for ended in self.done.values() for file in ended["artifacts"]}, called(job, row)
        named -= set(self.done.pop(name, {"artifacts": ()})["artifacts"])
        before = set()
        for folder in self.flow.artifacts.glob("*"):
            if folder.name in named:
                before.add(folder.name)
            else:
                shutil.rmtree(folder)  # of a run of this job that was interrupted, or is done again
        steps = [{what: value for what, value in asdict(ran).items() if what not in ("job", "output")} for ran in self.flow.run(job, row)]
        artifacts = sorted({folder.name for folder in self.flow.artifacts.glob("*")} - before)
        ended = {"job": job, "row": row, "commit": self.commit, "steps": steps, "artifacts": artifacts}
        self.done[name] = {**ended, "outputs": self.flow.outputs.get(job, {}), "given": sorted(self.flow.given)}
        file = self.flow.folder / "done" / f"{name}.json"
        file.with_suffix(".new").write_text(json.dumps(self.done[name], indent=2) + "\n")
        file.with_suffix(".new").replace(file)
        if self.state(name) == "passed":
            shutil.rmtree(self.flow.folder / name)
        return self.state(name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is left of a workflow; 0 where all that was asked for has passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.workflow", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="the workflow, such as .github/workflows/ci.yml")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where clones, artifacts, logs and results are kept")
    parser.add_argument("--job", action="append", default=[], metavar="NAME", help="only this job, or row of one as --list names it")
    parser.add_argument("--fact", action="append", default=[], metavar="EXPRESSION=VALUE", help="what an expression of the event is")
    parser.add_argument("--give", action="append", default=[], metavar="PLACE=FOLDER", help="copy FOLDER to PLACE in each clone")
    parser.add_argument("--again", action="store_true", help="run what failed again")
    parser.add_argument("--list", action="store_true", help="say how each job stands, and run nothing")
    asked = parser.parse_args(argv)
    facts, given = (dict(word.split("=", 1) for word in words) for words in (asked.fact, asked.give))
    project = asked.file.resolve().parents[2]
    flow = Workflow(asked.file, project, asked.state.resolve(), facts, {place: Path(folder) for place, folder in given.items()})
    kept = Kept(flow)
    outcomes = []
    for job, row, state in kept.rows():
        name = called(job, row)
        if asked.job and not {job, name} & set(asked.job):
            continue
        if not asked.list and (state == "to do" or (asked.again and state == "failed")):
            print(f"start       {name}", flush=True)
            state = kept.run(job, row)
        took = sum(step["seconds"] for step in kept.done[name]["steps"]) if name in kept.done else 0
        print(f"{state:11} {name}" + (f"  ({took:.0f} s)" if took else ""), flush=True)
        outcomes.append(state)
    return 0 if outcomes and set(outcomes) == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main())
