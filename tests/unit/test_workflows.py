# SPDX-License-Identifier: Apache-2.0
"""What GitHub runs is what a person can run, with no more rights than it needs; and the hygiene of every file."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.y*ml"))
# Put together here, so that this file does not hold what it forbids.
CONTINUE = "continue-on-" + "error"
FORBIDDEN = ["|| " + "true", CONTINUE, "TO" + "DO", "FIX" + "ME", "XX" + "X"]
# The kernel's own rule: what is linked into it says so. Everything else is Apache.
KERNEL_CODE = (
    "kernel/",
    "tests/zoo/kernel",
    "tests/zoo/module/",
    "tests/zoo/modules/",
    "examples/adopting/driver/",
    "examples/adopting/legacy/",
)
# A hint to the user names the habit that this test forbids; one of TAP's own directives is such a word.
QUOTING = {"ci/build/stamp.py", "ci/validate/guest/results.py", "tests/unit/test_results.py"}
WITHOUT_SPDX = re.compile(r"(^|/)(LICENSE|\.gitignore|Cargo\.lock)$|^LICENSES/|\.(md|txt|json|golden|log)$|^\.ci/.*\.txt$")


def steps() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            found += [(f"{path.name}:{name}", step) for step in job["steps"]]
    return found


def project_files() -> list[str]:
    """Every file that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    return [name for name in listed.split("\0") if name and (PROJECT / name).is_file()]


def text_of(name: str) -> str | None:
    data = (PROJECT / name).read_bytes()
    return None if b"\0" in data else data.decode(errors="replace")


@functools.lru_cache(maxsize=1)
def tasks() -> set[str]:
    """What `./inv --list` has."""
    import tasks as project

    return {*project.ns.task_names, *(alias for task in project.ns.task_names for alias in project.ns.task_names[task])}


# More than reading is for a job whose whole purpose it is, and each one has its reason here.
RIGHTS = {
    "security-events": "shows findings in the code",
    "id-token": "shows sigstore which workflow of which commit signs",
    "attestations": "keeps what sigstore signed with the repository",
    "pages": "publishes the site of all nights",
}
# The only job that may change anything in the repository: it makes the release of a tag.
PUBLISHES = ("release.yml", "publish")


class TestWorkflows:
    def test_there_is_one(self) -> None:
        assert WORKFLOWS and steps()

    def test_every_command_is_one_that_a_person_runs(self) -> None:
        commands = [(where, step["run"]) for where, step in steps() if "run" in step]
        assert commands
        for where, command in commands:
            words = shlex.split(command)
            assert words[0] == "./inv" and "\n" not in command.strip(), f"{where}: {command}"
            assert words[1] in tasks(), f"{where}: {words[1]} is no task"

    def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(self) -> None:
        lines = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
        assert lines
        for line in lines:
            assert re.search(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line

    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
    def test_it_may_read_and_nothing_more(self, path: Path) -> None:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            own = job.get("permissions", {"contents": "read"})
            writing = {right for right, kind in own.items() if kind == "write"}
            allowed = {*RIGHTS, *(["contents"] if (path.name, name) == PUBLISHES else [])}
            assert writing <= allowed and own["contents"] in ("read", "write"), f"{name} asks for rights of its own"
            if writing & {"contents", "id-token", "attestations", "pages"}:
                assert not [step for step in job["steps"] if "run" in step or "checkout" in step["uses"]], (
                    f"{name} runs the repository's code"
                )
            assert 0 < job["timeout-minutes"] <= 90, f"{name} may run for ever"
        assert "pull_request_target" not in path.read_text(), "that runs strangers' code with our rights"

    def test_the_checkout_leaves_no_token_behind(self) -> None:
        for where, step in steps():
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, where

    def test_run_records_are_kept_also_after_a_failure(self) -> None:
        kept = [step for _, step in steps() if "actions/upload-artifact" in step.get("uses", "")]
        assert kept
        releases = [step for step in kept if step["with"]["name"] in ("release", "signature")]
        assert [(step["with"]["path"], step["with"]["if-no-files-found"], "if" in step) for step in releases] == [
            ("dist/release", "error", False),
            ("${{ steps.attest.outputs.bundle-path }}", "error", False),
        ]
        for step in (step for step in kept if step not in releases):
            assert step["if"] == "always()" and step["with"]["path"] == ".runs", step
            assert step["with"]["include-hidden-files"] is True, "without it the action leaves out what lies below a dot"

    def test_what_is_brought_into_a_clone_does_not_make_it_dirty(self) -> None:
        brought = set()
        for path in WORKFLOWS:
            for job in yaml.safe_load(path.read_text())["jobs"].values():
                actions = [step for step in job["steps"] if "uses" in step]
                if any("actions/checkout" in step["uses"] for step in actions):
                    names = ("download-artifact", "actions/cache/restore")
                    brought |= {step["with"]["path"] for step in actions if any(name in step["uses"] for name in names)}
        assert brought >= {"records", "site"}
        for place in brought:
            argv = ["git", "check-ignore", "-q", f"{place}/x"]
            assert subprocess.run(argv, cwd=PROJECT).returncode == 0, f"git does not ignore {place}/"

    def test_no_step_only_talks_or_hides_a_failure(self) -> None:
        for where, step in steps():
            assert "uses" in step or "run" in step, where
            words = shlex.split(step.get("run", "./inv"))
            assert not {";", "&&", "||", "|", "echo", "true", "exit"} & set(words), f"{where}: {step['run']}"
            assert CONTINUE not in step, where
        for path in WORKFLOWS:
            for name, job in yaml.safe_load(path.read_text())["jobs"].items():
                assert CONTINUE not in job, f"{path.name}:{name}"

    def test_caches_are_keyed_by_what_they_hold(self) -> None:
        cached = [step for _, step in steps() if "actions/cache" in step.get("uses", "")]
        assert cached
        keys = {step["with"]["key"] for step in cached if "hashFiles(" in step["with"]["key"]}
        handed_on = set()
        for step in cached:
            if "actions/cache/restore" in step["uses"]:  # the newest of what an earlier night kept, whatever it holds
                handed_on.add((step["with"]["restore-keys"], step["with"]["path"]))
                continue
            assert "hashFiles(" in step["with"]["key"], step
            assert step["with"].get("restore-keys", step["with"]["key"]) in keys, "another job's, of the same contents"
            if "actions/cache/save" in step["uses"]:
                assert (step["with"]["key"].partition("$")[0], step["with"]["path"]) in handed_on, "nobody takes it"
        assert handed_on == {("baselines-", ".vexci/baselines"), ("site-", "site")}

    def test_the_cells_of_the_night_find_the_kernel_that_a_job_before_them_has_built(self) -> None:
        jobs = yaml.safe_load((PROJECT / ".github/workflows/nightly.yml").read_text())["jobs"]
        caches = {
            name: next(step["with"] for step in jobs[name]["steps"] if "actions/cache@" in step.get("uses", ""))
            for name in ("build", "cell")
        }
        assert "build" in jobs["cell"]["needs"] and caches["cell"]["path"] == caches["build"]["path"]
        assert caches["cell"]["restore-keys"] == caches["build"]["key"]

    def test_the_night_publishes_a_site_that_holds_the_nights_before(self) -> None:
        jobs = yaml.safe_load((PROJECT / ".github/workflows/nightly.yml").read_text())["jobs"]
        names = [step.get("uses", step.get("run", "")).partition("@")[0] for step in jobs["site"]["steps"]]
        order = ["actions/cache/restore", "actions/download-artifact", "./inv report --site site --records records --newest 400"]
        order += ["actions/cache/save", "actions/upload-pages-artifact"]
        assert [name for name in names if name in order] == order
        assert jobs["publish"]["needs"] == "site" and jobs["publish"]["environment"]["name"] == "github-pages"
        kept = {step["with"]["name"] for job in jobs.values() for step in job["steps"] if "upload-artifact" in step.get("uses", "")}
        assert {"night-merged", "night-bench"} <= kept

    @pytest.mark.parametrize(
        "linter",
        [
            ["zizmor", "--offline", "--no-progress", "--persona", "regular"],
            ["actionlint", "-shellcheck=", "-pyflakes="],
            ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ],
        ids=lambda words: words[0],
    )
    def test_linters_find_nothing(self, linter: list[str]) -> None:
        program = Path(sys.executable).with_name(linter[0])
        done = subprocess.run([program, *linter[1:], *WORKFLOWS], cwd=PROJECT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_a_linter_would_see_a_mistake(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.yml"
        bad.write_text(WORKFLOWS[0].read_text().replace("runs-on: ubuntu-24.04", "runs-on: ubuntu-24.04\n    runs_on: x", 1))
        program = Path(sys.executable).with_name("actionlint")
        done = subprocess.run([program, "-shellcheck=", bad], cwd=PROJECT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "runs_on" in done.stdout

    def test_a_release_takes_nothing_from_a_cache(self) -> None:
        text = (PROJECT / ".github/workflows/release.yml").read_text()
        assert "actions/cache" not in text and 'tags: ["v[0-9]*"]' in text

    def test_a_pull_request_runs_smoke_and_posix_in_shards(self) -> None:
        jobs = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())["jobs"]
        (step,) = [step for step in jobs["matrix"]["steps"] if "run" in step]
        assert step["env"]["SUITES"].split(",") == ["smoke", "posix"] and "--shards 2" in step["run"] and "--changed-since" in step["run"]
        assert "matrix.shard" in jobs["cell"]["name"]

    def test_nothing_of_a_stranger_s_text_reaches_a_command(self) -> None:
        for where, step in steps():
            assert "${{" not in step.get("run", ""), where


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    run = PROJECT / ".ci/run"
    assert os.access(run, os.X_OK)
    commands = [line for line in run.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "exec ./inv test"
    assert "./inv test" in (PROJECT / "README.md").read_text()


class TestEveryFile:
    def test_it_names_its_licence(self) -> None:
        wrong = []
        for name in project_files():
            text = text_of(name)
            if text is None or not text or WITHOUT_SPDX.search(name):
                continue
            expected = "GPL-2.0" if name.startswith(KERNEL_CODE) else "Apache-2.0"
            head = "\n".join(text.splitlines()[:5])
            found = re.search(r"SPDX-License-Identifier: (.+?)(?: \*/| -->)?$", head, re.MULTILINE)
            if not found:
                wrong.append(f"{name}: no SPDX line")
            elif not found.group(1).startswith(expected):
                wrong.append(f"{name}: {found.group(1)} where {expected} is expected")
        assert not wrong, "\n".join(wrong)

    def test_nothing_is_left_for_later_and_no_failure_is_hidden(self) -> None:
        wrong = []
        for name in project_files():
            text = text_of(name)
            if text is None or name in QUOTING or name.startswith(("LICENSES/", "tests/zoo/", "docs/failure-modes.md")):
                continue
            wrong += [
                f"{name}:{number}: {line.strip()[:100]}"
                for number, line in enumerate(text.splitlines(), 1)
                if any(re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", line) for word in FORBIDDEN)
            ]
        assert not wrong, "\n".join(wrong)

    def test_no_file_is_too_long_to_read(self) -> None:
        modules = [name for name in project_files() if name.startswith("ci/") and name.endswith(".py")]
        lines = {name: len((PROJECT / name).read_text().splitlines()) for name in modules}
        assert not {name: count for name, count in lines.items() if count >= 400}


def test_the_gitlab_example_is_one_that_gitlab_reads(tmp_path: Path) -> None:
    text = (PROJECT / "docs/ci.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example is not None
    file = tmp_path / ".gitlab-ci.yml"
    file.write_text(example[1])
    program = Path(sys.executable).with_name("check-jsonschema")
    argv = [program, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", file]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = re.findall(r'"(\./inv [\w.]+)', example[1])
    assert len(commands) == 3 and {command.split()[1] for command in commands} <= tasks()


def test_every_test_is_found_where_only_the_quick_ones_run() -> None:
    """The job `unit` has not what starts guests: a module of tests that imports it at its top fails the job before any test."""
    names = re.compile(r"^(?:import|from) (libvirt|pycdlib)\b", re.MULTILINE)
    found = {path.name for path in (PROJECT / "tests").rglob("*.py") if names.search(path.read_text())}
    assert not found
