# SPDX-License-Identifier: Apache-2.0
"""The fresh-machine proof judges rightly, and clones the working tree without touching the project's repository.

The proof itself takes minutes and root: `./inv test --fresh`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ci.errors import ProductFailure
from ci.process import Completed

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[1] / "fresh_machine.py"


@pytest.fixture(scope="module")
def proof() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fresh_machine", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ended(tmp_path: Path, text: str, code: int = 0) -> Completed:
    log = tmp_path / "log"
    log.write_text(text)
    return Completed(("./inv",), code, 1.0, log, log)


def test_a_failing_call_breaks_the_promise_and_shows_what_was_said(proof: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ProductFailure) as caught:
        proof.judge("first", ended(tmp_path, "vexci: making .venv\nmake: gcc: not found\n", 2))
    assert "gcc: not found" in caught.value.hint


def test_a_second_call_that_sets_something_up_breaks_it_too(proof: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ProductFailure, match="set something up again"):
        proof.judge("second", ended(tmp_path, "vexci: installing with apt-get: gcc\npass\n"))


def test_a_root_that_was_not_fresh_proves_nothing(proof: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ProductFailure, match="was not fresh"):
        proof.judge("first", ended(tmp_path, "pass\n"))


def test_what_is_expected_passes(proof: ModuleType, tmp_path: Path) -> None:
    proof.judge("first", ended(tmp_path, "vexci: making .venv\npass\n"))
    proof.judge("second", ended(tmp_path, "pass\n"))


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_clone_is_the_working_tree_and_the_repository_stays_as_it_is(
    proof: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q", "-b", "main")
    for name, text in {"kept": "old", "deleted": "gone", ".gitignore": "ignored\n"}.items():
        (project / name).write_text(text)
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "first")
    (project / "kept").write_text("new")
    (project / "deleted").unlink()
    (project / "ignored").write_text("secret")
    script = project / "folder" / "run"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    before = git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD")

    monkeypatch.setattr(proof, "PROJECT", project)
    scratch = tmp_path / "scratch"
    (scratch / "root/root").mkdir(parents=True)
    proof.clone_into(scratch / "root", scratch)

    clone = scratch / "root/root/project"
    assert (clone / "kept").read_text() == "new"
    assert not (clone / "deleted").exists() and not (clone / "ignored").exists()
    assert (clone / "folder/run").stat().st_mode & 0o111, "an executable stays one"
    assert git(clone, "status", "--porcelain") == ""
    assert (git(project, "status", "--porcelain"), git(project, "rev-parse", "HEAD")) == before


def test_without_root_it_says_so_and_tries_nothing(tmp_path: Path) -> None:
    ask = f"import os, runpy, sys; os.geteuid = lambda: 1; sys.argv = ['x', '--log', {str(tmp_path / 'log')!r}]; "
    done = subprocess.run(
        [sys.executable, "-c", f"{ask}runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "takes root" in done.stderr and "sudo" in done.stderr
