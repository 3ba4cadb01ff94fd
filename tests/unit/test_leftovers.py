# SPDX-License-Identifier: Apache-2.0
"""What a killed tool left behind is released by the next start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ci import leftovers

pytestmark = pytest.mark.unit

OWNER = """
import os, signal, subprocess, sys
from pathlib import Path
from ci import leftovers
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True, stdout=subprocess.DEVNULL)
folder = Path(sys.argv[1]); folder.mkdir()
with leftovers.process(child.pid), leftovers.entry("folder", "x", {"path": str(folder)}):
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))


def test_the_processes_and_folders_of_a_killed_tool_are_released_by_the_next_start(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OWNER, str(tmp_path / "half-made")], stdout=subprocess.PIPE, check=False)
    child = int(done.stdout)
    assert done.returncode == -9 and psutil.pid_exists(child) and (tmp_path / "half-made").is_dir()
    said = leftovers.sweep()
    assert len(said) == 2 and not (tmp_path / "half-made").exists()
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert leftovers.sweep() == []


def test_what_a_living_tool_holds_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    with leftovers.entry("folder", "held", {"path": str(folder)}):
        assert leftovers.sweep() == []
        assert folder.is_dir()


def test_the_last_act_of_a_tool_releases_what_it_still_holds(tmp_path: Path) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    with leftovers.entry("folder", "held", {"path": str(folder)}):
        assert len(leftovers.sweep(own=True)) == 1
    assert not folder.exists()


def test_a_reused_pid_is_not_taken_for_the_owner() -> None:
    mine = leftovers.owner_id()
    pid, start = mine.split("-")
    assert leftovers.alive(mine) and not leftovers.alive(f"{pid}-{int(start) - 1}")
