# SPDX-License-Identifier: Apache-2.0
"""The agent's commands: `run PLAN.json` runs a suite, `work OPTIONS` is the crash suite's workload, `differ …` the guest's part of
the suite differential."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from . import mounts
from .context import Plan
from .engine import Table, run_suite
from .machine import mark, throwaway
from .runner import emit
from .stacks import members

# Each a module, with TABLE or table(plan).
SUITES = ("smoke", "crash", "power", "faults", "stress", "posix", "vectors", "pjdfstest", "ltp", "xfstests", "ktap")
LOG_LIMIT = 256 << 10
CLEANUP_SECONDS = 3.0


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0 where the suite was run to its end, whatever the verdicts."""
    os.environ["VEXCI_AGENT"] = str(Path(sys.argv[0]).absolute())
    if arguments[:1] == ["run"] and len(arguments) == 2:
        return _run(Plan.parse(Path(arguments[1]).read_text(encoding="utf-8")))
    if arguments[:1] == ["work"] and len(arguments) == 2:
        from . import worker

        return worker.work(arguments[1])
    if arguments[:1] == ["differ"]:
        from . import differ

        return differ.main(arguments[1:])
    sys.stderr.write("usage: agent run PLAN | agent work OPTIONS | agent differ STEP REQUEST\n")
    return 2


def _run(plan: Plan) -> int:
    os.makedirs(plan.work, exist_ok=True)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _unlimit_kernel_log()
    mark(f"suite {plan.suite} on {plan.artifact} begins")
    ran = 0
    try:
        ran = run_suite(_table(plan), plan)
    finally:
        _send_daemon_log(plan)
        left = _clean_up(plan)
    mark(f"suite {plan.suite} on {plan.artifact} ended")
    emit("done", ran=ran, left=left)
    return 0


def _table(plan: Plan) -> Table:
    """The suite's cases. Its module is loaded here: a suite need not wait for the code of the others."""
    if plan.suite not in SUITES:
        raise ValueError(f"the agent has no suite '{plan.suite}'")
    module = importlib.import_module(f".{plan.suite}", __package__)
    found: Table = module.TABLE if hasattr(module, "TABLE") else module.table(plan)
    return found


def _unlimit_kernel_log() -> None:
    """Let our own marks through; the kernel would drop all but ten in five seconds."""
    if not throwaway():
        return
    with suppress(OSError):  # fixed on the kernel's command line, or not ours: the marks are a help, not evidence
        Path("/proc/sys/kernel/printk_devkmsg").write_text("on\n")


def _send_daemon_log(plan: Plan) -> None:
    log = Path(plan.daemon_log)
    if not log.exists():
        return
    size = log.stat().st_size
    with log.open("rb") as file:
        file.seek(max(0, size - LOG_LIMIT))
        emit("file", name="daemon.log", text=file.read().decode(errors="backslashreplace"))


def _clean_up(plan: Plan) -> list[str]:
    """Leave nothing mounted or running; returns what could not be removed.

    The daemon ends first: a hung FUSE mount answers again once nobody serves it. The unmount is lazy, because
    it must not block on what a case left behind.
    """
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + CLEANUP_SECONDS
        for pid in _others(plan):
            with suppress(ProcessLookupError):  # it ended between the look and the signal
                os.kill(pid, signal_number)
        while _others(plan) and time.monotonic() < end:
            time.sleep(0.05)
    for _ in range(4):
        if mounts.at(plan.mountpoint) is None:
            break
        pid = os.spawnlp(os.P_NOWAIT, "umount", "umount", "--lazy", plan.mountpoint)
        end = time.monotonic() + CLEANUP_SECONDS
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < end:
            time.sleep(0.02)
    with suppress(FileNotFoundError):  # there is a volume only where the product is mounted from one
        os.unlink(plan.volume)
    left = [f"process {pid}" for pid in _others(plan)]
    if mounts.at(plan.mountpoint) is not None:
        left.append(f"mount {plan.mountpoint}")
    return left


def _others(plan: Plan) -> list[int]:
    return [pid for pid in members(plan.marker) if pid != os.getpid()]
