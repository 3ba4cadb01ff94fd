# SPDX-License-Identifier: Apache-2.0
"""Commands that never return: what is gathered by itself, and that a guest that froze is found out before the deadline."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ci import store
from ci.errors import Hang
from ci.vm import heart
from ci.vm.guest import guest
from tests.vm_guest import SPEC, TCG, boot

pytestmark = pytest.mark.integration
# A FUSE file system whose daemon never answers, not even that it is there.
SILENT_FUSE = """
import ctypes, os, subprocess, time
os.makedirs("/mnt/silent", exist_ok=True)
subprocess.run(["modprobe", "fuse"], check=True)
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
assert ctypes.CDLL(None).mount(b"silent", b"/mnt/silent", b"fuse", 0, options) == 0
if os.fork() == 0:
    os.setsid()
    for stream in (0, 1, 2):
        os.close(stream)
    time.sleep(1000)
"""


def test_what_hangs_is_diagnosed_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store.RunFolder(tmp_path)
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print, warm=True) as machine:
        machine.run(["python3", "-c", SILENT_FUSE], deadline=60, check=True)
        machine.core = True
        with pytest.raises(Hang, match="no end within 3 s in the guest: ls /mnt/silent") as error:
            machine.run(["ls", "/mnt/silent"], deadline=3)
        files = {path.name: path for path in error.value.evidence}
        assert next(iter(files)) == "index.txt"
        index = files["index.txt"].read_text()
        print(index)
        assert all(f"  {name}: " in index for name in files if name != "index.txt") and str(files["index.txt"].parent) in index
        tasks = files["tasks.txt"].read_text()
        (waiting,) = (line for line in tasks.splitlines() if line.endswith(" waiting"))
        assert int(waiting.split()[1]) >= 1
        assert "fuse" in tasks.partition("== kernel stacks of all processes")[2]
        assert "Show Blocked State" in files["sysrq.txt"].read_text() and "task:ls" in files["sysrq.txt"].read_text()
        with open(files["memory.core"], "rb") as core:
            assert core.read(8).strip(b"\0") in (b"KDUMP", b"\x7fELF\x02\x01\x01", b"makedump")
        machine.run(["true"], deadline=20, check=True)

        # The agent is stopped, as if the guest had frozen: no deadline is near, but there is no sign of life.
        machine.core = False
        monkeypatch.setitem(heart.SILENCE_SECONDS, "tcg", 8.0)
        machine._heart = heart.Heart(machine.link, "tcg")
        begin = time.monotonic()
        with pytest.raises(Hang, match=r"no sign of life for \d+ s during: sh -c") as frozen:
            machine.run(["sh", "-c", "kill -STOP $(pgrep -f vexci-agent.py); sleep 1000"], deadline=900)
        assert time.monotonic() - begin < 120
        assert any(path.name == "tasks.txt" for path in frozen.value.evidence), "over SSH, which has a process of its own"
