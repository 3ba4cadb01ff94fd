# SPDX-License-Identifier: Apache-2.0
"""The jobs of a workflow run one by one in clean clones, and go on after an interruption with what is left."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import workflow

pytestmark = pytest.mark.unit

# Each row of `cell` notes that it ran, and fails where a file beside the project says so.
FLOW = """
jobs:
  matrix:
    outputs:
      cells: ${{ steps.cells.outputs.cells }}
    steps:
      - uses: actions/checkout@0
      - id: cells
        run: cat cells > "$GITHUB_OUTPUT"
  build:
    needs: matrix
    steps:
      - uses: actions/cache@0
  cell:
    needs: [matrix, build]
    if: ${{ !cancelled() && needs.matrix.result == 'success' }}
    strategy:
      matrix: ${{ fromJSON(needs.matrix.outputs.cells) }}
    steps:
      - uses: actions/checkout@0
      - env:
          CELL: ${{ matrix.cell }}
          NOTES: ${{ github.notes }}
        run: echo "$CELL" >> "$NOTES/ran"; mkdir .runs; echo "$CELL" > .runs/record; git status --short; test ! -e "$NOTES/broken-$CELL"
      - if: always()
        uses: actions/upload-artifact@0
        with: {name: "runs-${{ matrix.slug }}", path: .runs, if-no-files-found: error}
  verdict:
    needs: [matrix, cell]
    if: always() && needs.matrix.result == 'success'
    steps:
      - uses: actions/download-artifact@0
        with: {pattern: runs-*, path: records}
      - run: cat records/runs-*/record
  make:
    needs: [verdict, cell]
    steps:
      - run: cat given/crate
  publish:
    needs: make
    steps:
      - uses: actions/deploy-pages@0
"""
ROWS = {"include": [{"cell": "a:1", "slug": "a-1"}, {"cell": "b:2", "slug": "b-2"}]}


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    file = project / ".github/workflows/ci.yml"
    file.parent.mkdir(parents=True)
    file.write_text(FLOW)
    (project / "cells").write_text(f"cells<<EOF\n{json.dumps(ROWS)}\nEOF\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        git(project, *words)
    (tmp_path / "crates").mkdir()
    (tmp_path / "crates/crate").write_text("compiled")
    return file


def git(project: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words], cwd=project, check=True)


def run(flow: Path, *words: str) -> int:
    top = flow.parents[3]
    facts = ["--fact", f"github.notes={top}", "--give", f"given={top}/crates"]
    return workflow.main([str(flow), "--state", str(top / "state"), *facts, *words])


def ran(flow: Path) -> list[str]:
    return (flow.parents[3] / "ran").read_text().split()


def test_a_whole_workflow_runs_job_by_job_and_is_not_run_twice(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = flow.parents[3] / "state"
    assert run(flow) == 0
    assert ran(flow) == ["a:1", "b:2"]
    assert (state / "verdict.log").read_text() == "a:1\nb:2\n" and (state / "make.log").read_text() == "compiled"
    ended = json.loads((state / "done/make.json").read_text())
    assert [step["command"] for step in ended["steps"]] == ["cat given/crate"] and ended["given"] == ["given"]
    assert not [path for path in state.iterdir() if (path / ".git").exists()], "the clones of what passed are removed"
    capsys.readouterr()
    assert run(flow) == 0 and ran(flow) == ["a:1", "b:2"]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["passed", name] for name in ("matrix", "cell-a-1", "cell-b-2", "verdict", "make")
    ]


def test_a_job_that_was_interrupted_is_run_again_and_the_others_are_not(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    action = workflow.Workflow._action

    def interrupted(self: workflow.Workflow, job: str, step: dict[str, object], clone: Path, row: dict[str, str]) -> None:
        action(self, job, step, clone, row)
        if row.get("slug") == "b-2" and "upload" in str(step["uses"]):
            raise KeyboardInterrupt

    monkeypatch.setattr(workflow.Workflow, "_action", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(flow)
    monkeypatch.setattr(workflow.Workflow, "_action", action)
    assert run(flow) == 0 and ran(flow) == ["a:1", "b:2", "b:2"]


def test_what_failed_keeps_its_clone_and_its_files_and_is_run_again_only_when_asked(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, state = flow.parents[3] / "broken-a:1", flow.parents[3] / "state"
    broken.touch()
    assert run(flow) == 1
    assert "waits for cell" in capsys.readouterr().out, "a job that needs a failed one does not run"
    assert (state / "cell-a-1/.git").is_dir() and (state / "artifacts/runs-a-1/record").is_file()
    broken.unlink()
    assert run(flow) == 1 and ran(flow) == ["a:1", "b:2"]
    assert run(flow, "--again", "--job", "cell-a-1") == 0 and ran(flow) == ["a:1", "b:2", "a:1"]
    assert run(flow) == 0 and not (state / "cell-a-1").exists()


def test_one_job_or_row_is_run_by_its_name(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(flow, "--job", "cell-b-2") == 1, "nothing is known of its rows before the matrix has run"
    assert run(flow, "--job", "matrix", "--job", "cell-b-2") == 0 and ran(flow) == ["b:2"]
    capsys.readouterr()
    assert run(flow, "--list") == 1
    assert "to do       cell-a-1" in capsys.readouterr().out and ran(flow) == ["b:2"]


def test_results_of_another_commit_are_not_taken(flow: Path) -> None:
    assert run(flow, "--job", "matrix") == 0
    git(flow.parents[2], "commit", "-q", "--allow-empty", "-m", "two")
    with pytest.raises(SystemExit, match="is of commit"):
        run(flow)
