# SPDX-License-Identifier: Apache-2.0
"""What a stuck guest is doing: stacks through the keyboard (works while SSH is dead), then through a second connection.

Every source has a deadline of its own, and a source that fails is named in the index; the rest is still gathered.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ci.errors import VexciError
from ci.vm import console
from ci.vm.channel import Command, Expired, Lost
from ci.vm.link import PortLink

if TYPE_CHECKING:
    from ci.vm.machine import Machine

# Blocked tasks, what each CPU does, all tasks; in this order, for the last one is long.
_SYSRQ_KEYS = "wlt"
_SETTLED_SECONDS = 1.0
_SYSRQ_SECONDS = 15.0
_LOOK_SECONDS = 20.0
_CORE_SECONDS = 180.0
# Reading /proc does not touch the file system that hangs. `cmdline` is left out: it can block on a stuck memory map.
# Few processes: under TCG each one started costs tens of milliseconds.
_LOOK = r"""
# Those of fuse_req that wait for an answer; looking at the list asks nothing of the daemon.
echo "== FUSE connections"
control=/sys/fs/fuse/connections
[ ! -d $control ] || grep -qs " $control " /proc/mounts || mount -t fusectl fusectl $control
for connection in $control/*; do
    [ -r $connection/waiting ] && echo "${connection##*/}: $(cat $connection/waiting) waiting"
done
echo "== blocked tasks"
for status in $(grep -ls '^State:[[:space:]]*D' /proc/[0-9]*/task/[0-9]*/status); do
    task=${status%/status}
    echo "-- $task $(cat $task/comm)  wchan $(cat $task/wchan)"
    cat $task/stack
done
echo "== processes: /proc/PID/stat"
cat /proc/[0-9]*/stat
echo "== kernel stacks of all processes: /proc/PID/stack"
grep -s . /proc/[0-9]*/stack
echo "== mounts"
cat /proc/self/mountinfo
echo "== memory"
cat /proc/meminfo
"""


def gather(machine: Machine, folder: Path) -> tuple[Path, ...]:
    """Fill `folder`; returns its files, index.txt first."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.txt"
    state = "QEMU runs" if machine.alive() else "QEMU has ended"
    head = f"guest {machine.name}, kernel {machine.kernel}, accelerator {machine.accelerator.name}: {state}"
    before = console.tail(machine.console)  # what it said by itself, before it is asked for stacks
    index.write_text(f"{head}\nwhat was gathered, in {folder}:\n")
    files = [index]
    sources: tuple[tuple[str, str, Callable[[Machine, Path], None]], ...] = (
        ("sysrq.txt", "the kernel's answer to sysrq w, l, t: blocked tasks, each CPU, all tasks", _stacks),
        ("tasks.txt", "FUSE connections that wait, blocked tasks, kernel stacks, processes, mounts, memory", _tasks),
        ("console.log", "the console from the first byte", _console),
        ("qemu.log", "QEMU's own log", _qemu),
        *([("memory.core", "the guest's memory, for crash or drgn with the kernel's vmlinux", _core)] if machine.core else []),
    )
    for name, what, source in sources:
        path = folder / name
        try:
            source(machine, path)
            note = what if path.exists() else f"there is none ({what})"
        except (VexciError, Lost, Expired, OSError) as error:
            note = f"not to be had: {error}"
        with open(index, "a") as file:
            file.write(f"  {name}: {note}\n")
        if path.exists():
            files.append(path)
    with open(index, "a") as file:
        file.write(f"the console's last lines before that:\n{before}\n")
    return tuple(files)


def _stacks(machine: Machine, path: Path) -> None:
    """What the kernel prints at sysrq w, l and t; waits until the console has been quiet for a second."""
    if not machine.alive():
        raise Lost("QEMU has ended")
    follower = console.Follower(machine.console, machine.console.stat().st_size)
    machine.sysrq(_SYSRQ_KEYS)
    text, moved, end = "", time.monotonic(), time.monotonic() + _SYSRQ_SECONDS
    while time.monotonic() < end and time.monotonic() - moved < _SETTLED_SECONDS:
        if added := follower.new():
            text, moved = text + added, time.monotonic()
        time.sleep(0.05)
    path.write_text(text)
    if not text:
        raise Lost(f"the kernel printed nothing within {_SETTLED_SECONDS:g} s: it does not serve its keyboard any more")


def _tasks(machine: Machine, path: Path) -> None:
    """Blocked tasks with their kernel stacks, FUSE requests that wait, mounts; beside the command that hangs, and where the agent
    in the guest is silent over SSH."""
    if not machine.alive():
        raise Lost("QEMU has ended")
    if isinstance(machine.link, PortLink):
        try:
            result = machine.link.command(["sh", "-c", _LOOK]).wait(deadline=_LOOK_SECONDS, silence=None, watch=lambda: None)
            path.write_text(result.stdout + result.stderr)
            return
        except (Lost, Expired):
            pass  # SSH has a process of its own
    connection = machine.second_connection()
    if connection is None or connection.transport is None:
        raise Lost("SSH does not answer")
    try:
        command = Command(connection.transport, ["sh", "-c", _LOOK])
        result = command.wait(deadline=_LOOK_SECONDS, silence=None, watch=lambda: None)
    finally:
        connection.close()
    path.write_text(result.stdout + result.stderr)


def _core(machine: Machine, path: Path) -> None:
    if not machine.alive():
        raise Lost("QEMU has ended")
    machine.dump(path, deadline=_CORE_SECONDS)


def _console(machine: Machine, path: Path) -> None:
    shutil.copyfile(machine.console, path)


def _qemu(machine: Machine, path: Path) -> None:
    for log in (machine.facts.libvirt_root / "log" / "qemu").glob("*.log"):
        shutil.copyfile(log, path)
