# SPDX-License-Identifier: Apache-2.0
"""Loads, starts, mounts, unmounts and unloads the product, and proves each of these."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from typing import Any

from . import mounts
from .context import Context, Failed, Hung, Plan, environment, gone
from .machine import throwaway

LOG_TAIL = 500
KMEMLEAK = "/sys/kernel/debug/kmemleak"
KMEMLEAK_AGE = 5.5  # seconds; it takes nothing that is younger than 5 s for leaked (MSECS_MIN_AGE of mm/kmemleak.c)


def loaded(module: str) -> bool:
    """True where the kernel lists the module."""
    return os.path.isdir(f"/sys/module/{module}")


def identity(module: str) -> str:
    """srcversion and build id of the loaded module, in the words of ModuleIds in ci/identity.py."""
    source, note = _bytes(module, "srcversion").decode("ascii").strip(), _bytes(module, "notes/.note.gnu.build-id")
    size = int.from_bytes(note[4:8], "little")  # the section holds one note: sizes of name and value, type, "GNU", value
    return f"srcversion {source or '(none)'}, build id {note[16 : 16 + size].hex() or '(none)'}"


def _bytes(module: str, name: str) -> bytes:
    try:
        with open(f"/sys/module/{module}/{name}", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def load(t: Context) -> None:
    """insmod, and look at what is loaded now."""
    plan = t.plan
    t.check(throwaway(), "nothing is ever loaded into the kernel of a machine that is not a throwaway guest")
    t.must(["insmod", plan.file])
    t.check(loaded(plan.module), f"insmod {plan.file} exited 0, but /sys/module/{plan.module} does not exist")
    with open("/proc/filesystems", encoding="ascii") as file:
        types = [line.split()[-1] for line in file if line.strip()]
    t.check(plan.filesystem in types, f"/proc/filesystems does not list {plan.filesystem} after insmod {plan.file}")


def load_afresh(t: Context) -> None:
    """Load it, after what deploy or another suite left is unloaded: a suite starts from nothing."""
    if loaded(t.plan.module):
        unload(t)
    load(t)


def ensure_loaded(t: Context) -> None:
    """Load it where it is not loaded yet."""
    if not loaded(t.plan.module):
        load(t)


def unload(t: Context) -> None:
    """rmmod, and see that the module is gone (K6)."""
    module = t.plan.module
    with open(f"/sys/module/{module}/refcnt", encoding="ascii") as file:
        count = int(file.read())
    t.check(count == 0, f"the reference count of {module} is {count} with nothing mounted: it can never be unloaded")
    place = _place(module)
    t.must(["rmmod", module])
    t.check(not loaded(module), f"rmmod {module} exited 0, but /sys/module/{module} is still there")
    _scan_for_leaks(t, place)


def _place(module: str) -> range:
    """The addresses that a loaded module takes (proc(5), /proc/modules)."""
    with open("/proc/modules", encoding="ascii") as file:
        words = next(words for words in map(str.split, file) if words[0] == module)
    begin = int(words[5], 16)
    return range(begin, begin + int(words[1]))


def _scan_for_leaks(t: Context, place: range) -> None:
    """Let a kernel that has kmemleak look for memory that nobody can reach any more; what it finds it says in its log (K6).

    Two scans: an object counts only where it is the same in both (Documentation/dev-tools/kmemleak.rst). `place` is where the module was:
    the kernel has no names for these addresses any more.
    """
    if not os.path.exists(KMEMLEAK):
        return
    since = time.monotonic()
    t.until(f"what {t.plan.module} has left is old enough for kmemleak", lambda: time.monotonic() - since > KMEMLEAK_AGE)
    for number in (1, 2):
        t.op(f"scan {number} of 2 for leaked memory")
        with open(KMEMLEAK, "w", encoding="ascii") as file:
            file.write("scan")
    with open(KMEMLEAK, encoding="utf-8", errors="backslashreplace") as file:
        leaks = re.sub("0x[0-9a-f]{16}", lambda word: _named(t.plan.module, place, word[0]), file.read())
    if leaks:
        t.keep("kmemleak.txt", leaks)
    t.check(f"{t.plan.module}+0x" not in leaks, f"memory of {t.plan.module} has leaked: {leaks[:1000]}")


def _named(module: str, place: range, word: str) -> str:
    """An address of a kernel's report: one in the module by its distance from the module's begin."""
    address = int(word, 16)
    return f"{module}+{address - place.start:#x}" if address in place else word


def mount(t: Context) -> None:
    """Mount by the manifest's own command, then prove it (T1)."""
    os.makedirs(t.plan.mountpoint, exist_ok=True)
    if t.plan.prepare and not os.path.exists(t.plan.volume):
        for command in t.plan.prepare:
            t.must(list(command))
    if t.plan.kind == "daemon":
        _start_daemon(t)
    else:
        t.must(list(t.plan.mount))
    t.prove_mount()


def unmount(t: Context) -> None:
    """umount; mountinfo must not list it any more, and a daemon must then exit 0 (and be gone)."""
    pid = daemon_pid(t.plan) if t.plan.kind == "daemon" else 0
    t.must(["umount", t.plan.mountpoint])
    t.check(mounts.at(t.plan.mountpoint) is None, f"umount exited 0, but mountinfo still lists {t.plan.mountpoint}")
    if pid:
        t.until(f"the daemon {pid} has ended after umount", lambda: "code" in status(t.plan))
        code = status(t.plan)["code"]
        t.check(code == 0, f"the daemon ended with {describe(code)} after umount, expected exit 0{log_tail(t.plan)}")
        t.check(gone(pid), f"the daemon's process {pid} is still there after it was said to have ended")


def unmount_checked(t: Context) -> None:
    """Unmount, and let the manifest's check find nothing on the volume."""
    unmount(t)
    if t.plan.check:
        t.must(list(t.plan.check))


def describe(code: int) -> str:
    """`exit N`, or the name of the signal."""
    return f"exit {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def status(plan: Plan) -> dict[str, Any]:
    """What the keeper wrote: `pid`, and `code` once the daemon has ended; empty before it has started."""
    try:
        with open(plan.daemon_status, encoding="ascii") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return {}


def daemon_pid(plan: Plan) -> int:
    """The daemon's process id."""
    pid = status(plan).get("pid")
    if pid is None:
        raise Failed("no daemon was started")
    return int(pid)


def log_tail(plan: Plan) -> str:
    """The end of the daemon's log in words."""
    try:
        with open(plan.daemon_log, encoding="utf-8", errors="backslashreplace") as file:
            text = file.read()[-LOG_TAIL:].strip()
    except FileNotFoundError:
        return "; it has no log"
    return f"; its log ends: {text}" if text else "; its log is empty"


def _start_daemon(t: Context) -> None:
    """Start it below a keeper that outlives this case and notes how it ended."""
    plan = t.plan
    for leftover in (plan.daemon_status, plan.daemon_log):
        if os.path.exists(leftover):
            os.unlink(leftover)
    t.op(f"start {' '.join(plan.mount)}")
    _keep_apart(plan)
    t.until(f"{plan.mount[0]} has started", lambda: bool(status(plan)))
    facts = status(plan)
    if "error" in facts:
        raise Failed(f"{plan.mount[0]} could not be started: {facts['error']}")
    try:
        t.until(
            f"the daemon {facts['pid']} ({plan.mount[0]}) has mounted something at {plan.mountpoint}",
            lambda: mounts.at(plan.mountpoint) is not None or "code" in status(plan),
        )
    except Hung as hung:
        raise Hung(f"{hung}{log_tail(plan)}") from hung
    if "code" in status(plan):
        raise Failed(f"{plan.mount[0]} ended with {describe(status(plan)['code'])} instead of serving the mount{log_tail(plan)}")


def _keep_apart(plan: Plan) -> None:
    """Keep the daemon in a process of its own session: a fork of this one, for another Python takes a second to start under emulation."""
    if os.fork() == 0:
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the case's own pipe among them: its end is what the agent waits for
            _keep(plan)
        finally:
            os._exit(0)  # whatever happened: the case goes on in the other process alone


def _keep(plan: Plan) -> None:
    """Be the daemon's parent: note its id, wait, note how it ended. Its output goes to a file (P2)."""
    with open(plan.daemon_log, "ab") as output:
        try:
            process = subprocess.Popen(plan.mount, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment(plan))
        except OSError as error:
            _note(plan.daemon_status, {"error": str(error)})
            return
    _note(plan.daemon_status, {"pid": process.pid})
    code = process.wait()
    _note(plan.daemon_status, {"pid": process.pid, "code": code, "ended": time.time()})


def _note(path: str, facts: dict[str, Any]) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="ascii") as file:
        json.dump(facts, file)
    os.replace(temporary, path)


def file_sha256(path: str) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
