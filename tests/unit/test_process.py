# SPDX-License-Identifier: Apache-2.0
"""Processes end by themselves, or are diagnosed and ended with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ci import process
from ci.errors import Hang, InfrastructureError, Interrupted, UsageError
from ci.process import Limits

pytestmark = pytest.mark.unit

WAITS_FOR_EVER = [sys.executable, "-c", "import signal; signal.pause()"]


def test_output_goes_to_the_log_and_the_exit_code_is_reported(tmp_path: Path) -> None:
    done = process.run([sys.executable, "-c", "print('seen'); raise SystemExit(3)"], limits=Limits(20), log=tmp_path / "log")
    assert (done.returncode, done.how, done.text()) == (3, "exit 3", "seen\n")


def test_the_signal_that_ended_a_process_is_named(tmp_path: Path) -> None:
    done = process.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], limits=Limits(20), log=tmp_path / "log")
    assert done.how == "killed by SIGSEGV"


def test_a_program_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'no-such-program' is not installed"):
        process.run(["no-such-program"], limits=Limits(1), log=tmp_path / "log")


def test_the_end_of_a_process_is_seen_at_once_and_a_limit_is_kept(tmp_path: Path) -> None:
    with process.started(WAITS_FOR_EVER, stdout=tmp_path / "log") as child:
        assert not process.wait_exit(child, 0.01)
        child.kill()
        assert process.wait_exit(child, 20) and child.returncode == -signal.SIGKILL
        assert process.wait_exit(child, 0)


def test_a_deadline_ends_the_whole_tree_and_says_that_the_log_is_empty(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"""
import subprocess
p = subprocess.Popen({WAITS_FOR_EVER!r}, start_new_session=True)
open({str(child)!r}, "w").write(str(p.pid))
p.wait()
"""
    with pytest.raises(Hang, match=r"did not end within 2 s and was killed; its log is empty"):
        process.run([sys.executable, "-c", script], limits=Limits(2), log=tmp_path / "log")
    assert not psutil.pid_exists(int(child.read_text()))


def test_silence_without_cpu_use_is_a_hang_and_is_diagnosed_before_the_kill(tmp_path: Path) -> None:
    seen: list[str] = []

    def diagnose(running: psutil.Process) -> tuple[Path, ...]:
        seen.append(running.status())
        (tmp_path / "stacks").write_text("…")
        return (tmp_path / "stacks",)

    with pytest.raises(Hang, match="made no progress for 1 s") as caught:
        process.run(WAITS_FOR_EVER, limits=Limits(60, silence=1), log=tmp_path / "log", diagnose=diagnose)
    assert seen == [psutil.STATUS_SLEEPING]
    assert tmp_path / "stacks" in caught.value.evidence


def test_cpu_use_without_output_is_progress(tmp_path: Path) -> None:
    busy = "import time; end=time.monotonic()+4.5\nwhile time.monotonic()<end: pass"
    assert process.run([sys.executable, "-c", busy], limits=Limits(60, silence=2), log=tmp_path / "log").ok


def test_a_log_that_floods_the_disk_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="flooded its log"):
        process.run(["yes"], limits=Limits(60, log_bytes=1 << 20), log=tmp_path / "log")


def test_what_the_leader_leaves_behind_is_ended_too(tmp_path: Path) -> None:
    script = f"import subprocess; print(subprocess.Popen({WAITS_FOR_EVER!r}).pid)"
    done = process.run([sys.executable, "-c", script], limits=Limits(20), log=tmp_path / "log")
    psutil.wait_procs([p for p in psutil.process_iter() if p.pid == int(done.text())], timeout=5)
    assert not psutil.pid_exists(int(done.text())) or psutil.Process(int(done.text())).status() == psutil.STATUS_ZOMBIE


def test_an_interrupt_in_the_middle_ends_the_process(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(_: float) -> None:
        pids.extend(p.pid for p in psutil.Process().children())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(WAITS_FOR_EVER, limits=Limits(60), log=tmp_path / "log", progress=interrupt)
    assert pids and not any(psutil.pid_exists(pid) for pid in pids)


def test_short_commands_that_fail_speak_for_themselves() -> None:
    with pytest.raises(InfrastructureError, match="exit 1: of no use"):
        process.output([sys.executable, "-c", "import sys; sys.exit('of no use')"])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"the folder {os.fspath(tmp_path)}/gone does not exist"):
        process.run(["true"], limits=Limits(1), log=tmp_path / "log", cwd=tmp_path / "gone")


def test_a_signal_between_the_birth_of_a_process_and_our_note_of_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = process.Signals()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(process, "signals", signals)
    born = subprocess.Popen

    def interrupted_at_birth(*args: object, **kwargs: object) -> object:
        child = born(*args, **kwargs)  # type: ignore[call-overload]
        os.kill(os.getpid(), signal.SIGTERM)
        return child

    monkeypatch.setattr(subprocess, "Popen", interrupted_at_birth)
    before = set(psutil.Process().children())
    signals.take_over()
    try:
        with pytest.raises(Interrupted, match="SIGTERM"):
            process.run(WAITS_FOR_EVER, limits=Limits(60), log=tmp_path / "log")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    assert set(psutil.Process().children()) <= before


def test_what_gives_way_is_nice_itself_and_as_a_session(tmp_path: Path) -> None:
    with process.gently(), process.started(["sleep", "30"], stdout=tmp_path / "log") as child:
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        group = Path(f"/proc/{child.pid}/autogroup")
        assert not group.exists() or group.read_text().endswith(" nice 19\n")
    with process.started(["sleep", "30"], stdout=tmp_path / "log") as child:
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0)
