# SPDX-License-Identifier: Apache-2.0
"""What a killed tool left behind is released by the next start."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ci import leftovers
from tests.recordschema import schema

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
    pid, start, namespace = mine.split("-")
    assert leftovers.alive(mine) and not leftovers.alive(f"{pid}-{int(start) - 1}-{namespace}")
    assert leftovers.alive(f"{pid}-{start}"), "as records have it that are older than the namespace"


HOLDER = """
import signal, sys
from pathlib import Path
from ci import leftovers
with leftovers.entry("folder", "held", {"path": sys.argv[1]}):
    print("held", flush=True)
    signal.pause()
"""
NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]


@pytest.fixture
def namespace() -> list[str]:
    """What runs a command in a PID namespace of its own, as a container does."""
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("unshare makes no PID namespace here")
    return NAMESPACE


def test_a_tool_in_a_container_leaves_alone_what_living_tools_outside_hold(tmp_path: Path, namespace: list[str]) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    with leftovers.entry("folder", "held", {"path": str(folder)}):
        done = subprocess.run(
            [*namespace, sys.executable, "-c", "from ci import leftovers; print(leftovers.sweep())"], text=True, stdout=-1, check=True
        )
        assert done.stdout == "[]\n" and folder.is_dir()


def test_what_a_tool_in_a_container_holds_is_released_when_that_is_gone_and_not_before(tmp_path: Path, namespace: list[str]) -> None:
    if leftovers.owner_id().split("-")[2] != str(0xEFFFFFFC):
        pytest.skip("these tests run in a PID namespace themselves, from which others are not seen")
    folder = tmp_path / "held"
    folder.mkdir()
    holder = subprocess.Popen([*namespace, sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert leftovers.sweep() == [] and folder.is_dir()
    finally:
        holder.kill()
        holder.communicate()
    until = time.monotonic() + 10
    while folder.exists() and time.monotonic() < until:
        leftovers.sweep()
    assert not folder.exists()


def test_the_record_s_schema_takes_a_process_as_it_is_named_and_as_it_was() -> None:
    pattern = schema()["properties"]["process"]["pattern"]
    assert re.search(pattern, leftovers.owner_id())
    assert re.search(pattern, "12-3456") and not re.search(pattern, "12") and not re.search(pattern, "12-3-4-5")
