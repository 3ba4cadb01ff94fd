# SPDX-License-Identifier: Apache-2.0
"""A hang leaves what a person needs to understand it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci import procfs
from ci.diagnose import diagnose
from ci.errors import Hang
from ci.process import Limits, run, started

pytestmark = pytest.mark.unit


def test_a_process_that_hangs_silently_is_diagnosed_before_it_is_killed(tmp_path: Path) -> None:
    code = "import subprocess; subprocess.run(['sleep', '1000'])"
    with pytest.raises(Hang) as hang:
        run(
            [sys.executable, "-c", code],
            limits=Limits(60, silence=0.5),
            log=tmp_path / "log",
            diagnose=lambda p: diagnose(p, tmp_path / "d"),
        )
    names = [path.name for path in hang.value.evidence]
    assert names[0] == "index.txt"
    index = hang.value.evidence[0].read_text()
    assert "sleep" in index
    assert f"{tmp_path / 'log'}:\n<the log is empty>" in index
    text = "\n".join(path.read_text() for path in hang.value.evidence)
    assert "cmdline: sleep 1000" in text
    assert "file descriptors:" in text
    if os.geteuid() == 0:
        assert "do_wait" in text or "nanosleep" in text, "kernel stacks"
    if shutil.which("gdb"):
        assert any(name.startswith("gdb-") for name in names)


def test_a_process_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with started(["sleep", "1000"], stdout=tmp_path / "log") as child:
        process = psutil.Process(child.pid)
    files = diagnose(process, tmp_path / "d")
    assert "is alive" in files[0].read_text()


def test_what_left_the_session_is_still_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import subprocess,time; subprocess.Popen(['sleep','1000'], start_new_session=True); print('up', flush=True); time.sleep(1000)"
    with started([sys.executable, "-c", code], stdout=log) as child:
        assert child.poll() is None
        while not log.read_text():
            assert child.poll() is None
        assert "sleep" in {stat.comm for stat in procfs.members([child.pid])}


@given(st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=("Cs",)), min_size=1, max_size=15))
def test_a_process_name_cannot_confuse_the_reader(name: str) -> None:
    tail = " S 1 7 9 0 -1 4194560 1 2 3 4 100 200 0 50 20 0 1 0 1 1 1"
    stat = procfs.parse_stat(f"42 ({name}){tail}")
    assert (stat.pid, stat.comm, stat.state, stat.parent, stat.session) == (42, name, "S", 1, 9)
    assert stat.cpu == pytest.approx(350 / os.sysconf("SC_CLK_TCK"))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert procfs.read(tmp_path / "missing") == "<No such file or directory>"
    assert procfs.tail(tmp_path / "missing") == "<No such file or directory>"


def test_a_read_that_blocks_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "READ_SECONDS", 0.1)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert procfs.read(fifo) == "<no answer within 0.1 s>"
    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))  # lets the reader's thread end
