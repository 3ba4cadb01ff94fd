# SPDX-License-Identifier: Apache-2.0
"""Which accelerator guests get. KVM counts only where a real kernel was seen to run under it.

That /dev/kvm exists, opens and makes a virtual CPU proves nothing: QEMU may then abort, or stay paused for ever with an
internal error (failure mode M1).
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError
from ci.model import Accelerator
from ci.vm import console
from ci.vm.qmp import Monitor

DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 15.0
_POLL_SECONDS = 0.05
_VERSION = "1"
_BANNER = "Linux version "
_STUCK = ("internal-error", "paused", "guest-panicked", "io-error")


def accelerator(kernel: Path, *, require_kvm: bool = False, refresh: bool = False, say: Callable[[str], None]) -> Accelerator:
    """KVM if `kernel` really runs under it on this machine, else TCG; the reason says what was observed.

    The observation is kept per host kernel, QEMU and CPU model; `refresh` makes it again. With `require_kvm`
    anything but KVM is an InfrastructureError.
    """
    works, reason = _observe(kernel, refresh, say)
    if not works and require_kvm:
        raise InfrastructureError(f"KVM is required and does not work: {reason}", hint="without --require-kvm guests run under TCG, slower")
    chosen = Accelerator("kvm" if works else "tcg", reason)
    say(f"accelerator: {chosen.name} ({chosen.reason})")
    return chosen


def remembered() -> Accelerator | None:
    """The newest answer of a real boot that the cache holds for this machine; None where none was tried yet."""
    found = sorted((store.cache_dir() / "accelerator").glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        return None
    known = json.loads(found[-1].read_text())
    return Accelerator("kvm" if known["works"] else "tcg", f"{known['reason']} (observed {known['when']})")


def _observe(kernel: Path, refresh: bool, say: Callable[[str], None]) -> tuple[bool, str]:
    if not DEVICE.exists():
        return False, f"{DEVICE} does not exist"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False, f"{DEVICE} may not be opened by this user (usermod -aG kvm USER, then log in again)"
    key = store.sha256_text(_VERSION, platform.release(), _qemu_version(), cpu_model())
    path = store.cache_dir() / "accelerator" / f"{key[:32]}.json"
    if path.is_file() and not refresh:
        known = json.loads(path.read_text())
        return bool(known["works"]), f"{known['reason']} (observed {known['when']})"
    say("trying a real boot under KVM")
    works, reason = probe(kernel, "kvm", "host")
    store.atomic_write(path, json.dumps({"works": works, "reason": reason, "when": store.now()}) + "\n")
    return works, reason


def probe(kernel: Path, accelerator: str, cpu: str, *, deadline: float = PROBE_SECONDS) -> tuple[bool, str]:
    """Boot `kernel` without any disk and see whether it prints its banner and ends in its panic for want of a root.

    Returns the answer and a sentence with what was seen. QEMU is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="vexci-probe-") as name:
        folder = Path(name)
        serial, log, monitor = folder / "serial", folder / "qemu.log", folder / "qmp"
        argv: list[str | Path] = [qemu_program(), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        argv += ["-accel", accelerator, "-cpu", cpu, "-m", "256", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"]
        argv += ["-serial", f"file:{serial}", "-qmp", f"unix:{monitor},server=on,wait=off"]
        begin = time.monotonic()
        with process.started(argv, stdout=log) as qemu:
            while not process.wait_exit(qemu, _POLL_SECONDS):
                state = _state(monitor)
                if state in _STUCK:
                    return False, f"QEMU stopped the guest: {state}" + _words(log)
                if time.monotonic() - begin > deadline:
                    how_far = "stopped after its banner" if _BANNER in console.text(serial) else "printed nothing"
                    return False, f"QEMU starts, but the kernel {how_far} within {deadline:g} s"
        seen = console.text(serial)
        if qemu.returncode != 0:
            return False, f"QEMU ended: {process.describe_returncode(qemu.returncode)}" + _words(log)
        if _BANNER not in seen or console.panic(seen) is None:
            return False, "QEMU ended, but the kernel's banner and its panic for want of a root were not seen"
        return True, f"a real boot under {accelerator.upper()} ran to the kernel's search for its root in {time.monotonic() - begin:.1f} s"


def _state(monitor: Path) -> str:
    """QEMU's run state; empty while it does not answer (it starts, or ends)."""
    try:
        with Monitor(monitor) as qmp:
            return qmp.status()
    except OSError:
        return ""


def _words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="backslashreplace").splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""


def qemu_program() -> Path:
    """QEMU for x86-64, or a UsageError that says how to get it."""
    return Path(process.find_program("qemu-system-x86_64", hint="apt-get install qemu-system-x86"))


def _qemu_version() -> str:
    return process.output([qemu_program(), "--version"]).splitlines()[0]


def cpu_model() -> str:
    """The host's processor, as it names itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
