# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and kill -9 at several moments: nothing is left behind, and the record tells the truth."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import recordschema, tool

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("project")]

BUILDING = "start       vexfs-kernel"
BOOTING = "start       guest default-1"
VALIDATING = "start       smoke on vexfs-kernel"
DEADLINE = 200.0


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of this test's own, short because UNIX sockets live in it."""
    folder = Path(tempfile.mkdtemp(prefix="vxi-", dir="/tmp"))
    monkeypatch.setenv("VEXCI_STATE", str(folder))
    yield folder
    for process in holders(folder):
        process.kill()
    shutil.rmtree(folder)


def holders(state: Path) -> list[psutil.Process]:
    """The processes whose command line names the state folder: QEMU with its sockets there."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(state) in word for word in process.info["cmdline"] or []):
            found.append(process)
    return found


def wait_for(text: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + DEADLINE
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, f"ended before '{text}':\n{log.read_text()}"
        assert time.monotonic() < end, f"'{text}' was not seen:\n{log.read_text()}"
        time.sleep(0.05)


def left_behind(state: Path) -> list[str]:
    """Everything that should not be there: processes, guests, notes of things to release, mounts."""
    found = [" ".join(process.cmdline())[:200] for process in holders(state)]
    for name in ("g", "owners"):
        found += [str(path) for path in (state / name).glob("*")]
    return found + [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(state) in line]


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Send the signal as a terminal would (to the whole group) or as a manager would (to the tool alone)."""
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return process.wait(60)


@pytest.mark.parametrize(
    ("moment", "number"),
    [(BUILDING, signal.SIGINT), (BOOTING, signal.SIGINT), (VALIDATING, signal.SIGINT), (BOOTING, signal.SIGTERM)],
    ids=["ctrl-c while building", "ctrl-c while booting", "ctrl-c in a suite", "sigterm while booting"],
)
def test_an_interrupted_run_leaves_nothing_behind(state: Path, tmp_path: Path, moment: str, number: signal.Signals) -> None:
    log = tmp_path / "log"
    process = tool.start("validate", log=log)
    wait_for(moment, log, process)
    assert stop(process, number) == 130, log.read_text()
    assert left_behind(state) == []
    record = recordschema.latest(tool.ROOT)
    assert record["verdict"] == "interrupted" and number.name in record["detail"]
    assert record["stages"][-1]["verdict"] in ("interrupted", "skip")


def test_after_a_kill_the_record_is_truthful_and_the_next_start_cleans_up(state: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = tool.start("validate", log=log)
    wait_for(BOOTING, log, process)
    wait_for_guest(state, process)
    process.kill()
    process.wait(20)
    assert recordschema.latest(tool.ROOT)["verdict"] == "running"
    assert left_behind(state) != []
    listed = tool.inv("runs", "--last=1")
    assert "interrupted" in listed.stdout and "left behind" in listed.stdout, listed.stdout
    assert left_behind(state) == []


def wait_for_guest(state: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + DEADLINE
    while not holders(state):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
