# SPDX-License-Identifier: Apache-2.0
"""`./inv bisect` once for real: a small repository with a module of the zoo, whose commits are built, deployed and tried in guests."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import recordschema, tool, zoo_project
from tests.unit.test_bisect import git

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(1800)]

MANIFEST = zoo_project.manifest("""\
  smoke: {artifacts: [small], minimum: 20, deadline: 120, operation_deadline: 15}
""")
SOURCE = '#define ZOO_DEFECT GOOD\n#include "zoofs.c"\n'


def repository(root: Path) -> list[str]:
    """Five commits, of which the third cannot be built, and from the fourth on a rename does nothing."""
    folder = root / "kernel"
    folder.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    shutil.copy(tool.ROOT / "tests/zoo/kernel/zoofs.c", folder)
    (folder / "Kbuild").write_text("obj-m := zoo_good.o\n")
    (root / "vexci.yaml").write_text(MANIFEST)
    (root / ".gitignore").write_text(".runs/\n.build/\n.vexci/\n")
    commits = []
    lost = SOURCE.replace("GOOD", "RENAME_LOST")
    for subject, text in (
        ("Begin", SOURCE),
        ("Say more", SOURCE + "/* more */\n"),
        ("Break the build", SOURCE + "nonsense;\n"),
        ("Lose renames", lost),
        ("Say even more", lost + "/* more */\n"),
    ):
        (folder / "zoo_good.c").write_text(text)
        git(root, "add", "--all")
        git(root, "commit", "-q", "-m", subject)
        commits.append(git(root, "rev-parse", "HEAD"))
    return commits


def test_the_commit_that_lost_renames_is_found_and_those_that_cannot_be_built_are_named_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "small"
    commits = repository(root)
    words = ("bisect", "--good", commits[0], "--bad", "main", "--suite", "smoke", "--test", "rename-file")
    done = tool.inv(*words, config=root / "vexci.yaml", deadline=1500)
    record = recordschema.latest(root)
    (stage,) = (each for each in record["stages"] if each["name"] == "bisect")
    trials = {trial["commit"]: trial for trial in stage["results"]["trials"]}
    # The third cannot be built, so that it may be what broke it, too: both are named, and nothing is claimed.
    assert done.returncode == 1, done.stdout
    assert set(stage["results"]["candidates"]) == {commits[2], commits[3]}
    assert trials[commits[2]]["reason"].startswith("build: ")
    assert trials[commits[3]]["word"] == "bad" and "rename-old: expected ENOENT, but it succeeded" in trials[commits[3]]["reason"]
    assert trials[commits[1]]["word"] == "good"
    # Without that commit in between the answer is one.
    done = tool.inv("bisect", "--good", commits[2], *words[3:], config=root / "vexci.yaml", deadline=1500)
    assert done.returncode == 1 and "could not be judged: build: " in done.stdout
    git(root, "checkout", "-q", "-b", "mended", commits[1])
    git(root, "cherry-pick", "-X", "theirs", commits[3])
    first = git(root, "rev-parse", "HEAD")
    git(root, "cherry-pick", "-X", "theirs", commits[4])
    done = tool.inv(*words[:3], "--bad", "HEAD", *words[5:], config=root / "vexci.yaml", deadline=1500)
    assert done.returncode == 0, done.stdout
    assert f"first bad commit: {first} Lose renames" in done.stdout
    record = recordschema.latest(root)
    (stage,) = (each for each in record["stages"] if each["name"] == "bisect")
    kept = root / ".runs" / record["id"] / stage["results"]["first_bad"]["record"]
    assert json.loads((kept / "record.json").read_text())["commit"] == first
    assert list(kept.glob("validate/smoke-small-*/agent.jsonl"))
    assert git(root, "worktree", "list").count("\n") == 0


def test_ctrl_c_in_mid_build_leaves_no_worktree_and_no_guest(tmp_path: Path) -> None:
    root = tmp_path / "small"
    commits = repository(root)
    log = tmp_path / "log"
    words = ("bisect", "--good", commits[0], "--bad", "main", "--suite", "smoke")
    started = tool.start(*words, config=root / "vexci.yaml", log=log)
    try:
        end = time.monotonic() + 240
        while not list((root / ".runs").glob("*/bisect/*.log")) or "start " not in _asked(root):
            assert time.monotonic() < end and started.poll() is None, log.read_text()
            time.sleep(0.1)
        started.send_signal(signal.SIGINT)
        assert started.wait(60) == 130, log.read_text()
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()
    assert git(root, "worktree", "list").count("\n") == 0
    assert recordschema.latest(root)["verdict"] == "interrupted"
    left = subprocess.run(["pgrep", "-f", f"guest=.*{root.name}.*vexci-commit"], capture_output=True, text=True)
    assert left.stdout == ""


def _asked(root: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in (root / ".runs").glob("*/bisect/*.log"))
