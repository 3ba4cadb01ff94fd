# SPDX-License-Identifier: Apache-2.0
"""Memory snapshots: a guest that has booted once is kept, warm and idle, and later guests begin where it stood.

A snapshot is a folder in the cache, whole or absent, named by the hash of everything that it depends on. The memory is the very
file that the first guest ran in; a restored guest maps it privately, so that nothing is copied and two guests
share what neither has written. No key of any project is in it: it is made with keys that are thrown away.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ci import leftovers, process, store
from ci.errors import InfrastructureError
from ci.manifest import MachineSpec
from ci.model import Accelerator
from ci.vm import console, disks, door, inside, registry
from ci.vm.accel import cpu_model, qemu_program
from ci.vm.agent import __file__ as libvirt_side
from ci.vm.boot import Boot, Provision
from ci.vm.channel import Lost, Running
from ci.vm.domain import DomainFacts, domain_xml
from ci.vm.driver import PRIVATE
from ci.vm.link import PortLink, SshLink
from ci.vm.machine import Machine
from ci.vm.port import Port, Refused
from ci.vm.start import Starter, Warm, overlay

Say = Callable[[str], None]

FOLDER = "snapshots"
# A change here makes every snapshot anew.
_VERSION = "3"
_FILES = ("memory", "state", "root.qcow2", "overlay.qcow2", "seed.tar", "console.log")
_STEP_SECONDS = 60.0
_CLOCK_SECONDS = 0.5
_CLOCK_ERROR = 0.02
_UPTIME_STEP = 0.02  # /proc/uptime counts hundredths
_PIECE = 64 << 10
_SHM = Path("/dev/shm")
_SPARE_MIB = 512
_ZEROS = bytes(_PIECE)
# What nearly every run does first, so that it is in the guest's page cache and need not be read from its disk.
_WARM_UP = "true; python3 -c 'import json, os, subprocess, zipfile'; sha256sum /bin/true; cat /proc/self/mountinfo; sync"


class NotKept(InfrastructureError):
    """The guest booted, but no snapshot could be made of it; a cold boot serves as well."""


def key(spec: MachineSpec, boot: Boot, accelerator: Accelerator) -> str:
    """The hash of everything that a snapshot depends on; a change of any of it gives another key."""
    nowhere = Path("/")
    facts = DomainFacts(
        name="",
        uuid="",
        memory=spec.memory,
        cpus=spec.cpus,
        accelerator=accelerator.name,
        emulator=qemu_program(),
        kernel=boot.kernel.absolute(),
        initrd=boot.initrd.absolute(),
        command_line=boot.command_line,
        root=nowhere,
        modules=boot.modules.absolute(),
        seed=nowhere,
        port=0,
        console_socket=nowhere,
        console_log=nowhere,
        port_socket=nowhere,
        generation="",
        mail=nowhere,
        disks=disks.empty(),
        ram=nowhere,
        incoming=True,
    )
    given = [str(boot.provision)] if boot.provision else []
    inputs = (boot.kernel, boot.initrd, boot.modules, boot.disk, qemu_program().resolve())
    code = [Path(module).read_text() for module in (inside.__file__, libvirt_side)]
    machine = (os.uname().release, cpu_model(), os.uname().machine)
    return store.sha256_text(_VERSION, domain_xml(facts), *map(_stamp, inputs), *code, _WARM_UP, *given, *machine)[:32]


def _stamp(path: Path) -> str:
    info = path.stat()
    return f"{path.absolute()} {info.st_size} {info.st_mtime_ns}"


def refusal(spec: MachineSpec) -> str:
    """Why guests of this machine cannot be restored from memory; empty where they can."""
    if spec.uri != PRIVATE:
        return f"memory snapshots need the private libvirt driver, not {spec.uri}"
    return ""


def ensure(spec: MachineSpec, boot: Boot, accelerator: Accelerator, say: Say) -> Warm:
    """The snapshot for this machine, made now where there is none or the one there is is damaged.

    Two processes that want the same make it once. Raises NotKept where it cannot be made; what keeps the
    guest from booting is raised as it is.
    """
    name = key(spec, boot, accelerator)
    folder = store.cache_dir() / FOLDER / name
    damage = _damage(folder) if folder.is_dir() else ""
    if damage:
        say(f"the memory snapshot {name[:12]} is damaged and is made again: {damage}")
        discard(folder)

    def make(temporary: Path) -> None:
        say("making a memory snapshot: one boot, then later guests begin from it")
        _make(spec, boot, accelerator, temporary, folder, say)

    store.cached(FOLDER, name, make)
    return _warm(folder)


def discard(folder: Path) -> None:
    """Remove a snapshot. Guests that were restored from it go on: they hold its files open."""
    doomed = folder.with_name(f".doomed-{folder.name[:16]}-{os.getpid()}")
    with leftovers.entry("folder", doomed.name, {"path": str(doomed)}):
        try:
            os.rename(folder, doomed)
        except FileNotFoundError:
            return  # another process was quicker
        shutil.rmtree(doomed)


def _warm(folder: Path) -> Warm:
    return Warm(
        ram=folder / "memory",
        state=folder / "state",
        overlay=folder / "overlay.qcow2",
        seed=folder / "seed.tar",
        console=folder / "console.log",
    )


def _make(spec: MachineSpec, boot: Boot, accelerator: Accelerator, folder: Path, final: Path, say: Say) -> None:
    with ExitStack() as stack:
        scratch = folder / "keys"
        ram = stack.enter_context(_quick_folder(spec, folder)) / "memory"
        starter = Starter(spec, boot, accelerator, scratch, "snapshot", folder / "evidence", say, keep=folder, ram=ram)
        stack.enter_context(leftovers.entry("guest", starter.id, {"id": starter.id, "uuid": starter.uuid}))
        stack.callback(registry.remove, starter.id, starter.uuid)
        machine = starter.start(folder / "console.log", None)
        stack.callback(machine.close)
        try:
            _save(machine, folder, boot.provision)
            copy_sparse(ram, folder / "memory")
        except (Lost, Refused, InfrastructureError) as error:
            raise NotKept(f"no memory snapshot can be made of this guest: {error}", hint=console.tail(folder / "console.log")) from error
    shutil.rmtree(scratch)
    shutil.rmtree(folder / "evidence", ignore_errors=True)
    size = str((boot.disk.stat().st_size + 511) // 512 * 512)
    overlay(folder / "overlay.qcow2", final / "root.qcow2", "qcow2", size)
    _seal(folder, machine.boot_seconds)


@contextmanager
def _quick_folder(spec: MachineSpec, folder: Path) -> Iterator[Path]:
    """A place for the memory of the guest that is to be kept. On a disk, each page that it dirties would be written out, and the
    guest would wait for that; so this is in the host's memory where there is room for it."""
    fits = _SHM.is_dir() and shutil.disk_usage(_SHM).free >> 20 > spec.memory + _SPARE_MIB
    place = Path(tempfile.mkdtemp(prefix="vexci-", dir=_SHM if fits else folder))
    with leftovers.entry("folder", place.name, {"path": str(place)}):
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file; what is zero becomes a hole."""
    with open(source, "rb") as old, open(target, "wb") as new:
        os.fchmod(new.fileno(), 0o600)
        new.truncate(os.fstat(old.fileno()).st_size)
        for place, data in _pieces(old.fileno()):
            os.pwrite(new.fileno(), data, place)


def _pieces(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Offset and content of what is not zero in a file, in pieces."""
    place = 0
    while True:
        try:
            place = os.lseek(descriptor, place, os.SEEK_DATA) // _PIECE * _PIECE
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data behind this place
                return
            raise
        data = os.pread(descriptor, _PIECE, place)
        if data != _ZEROS[: len(data)]:
            yield place, data
        place += _PIECE


def _save(machine: Machine, folder: Path, provision: Provision | None) -> None:
    """From a guest that answers over SSH to its state on disk, and its end."""
    assert isinstance(machine.link, SshLink)
    if provision is not None:
        _provide(machine, provision)
    port = door.start_agent(machine.link, machine.facts.port_socket, deadline=_STEP_SECONDS)
    try:
        _run(port, ["sh", "-c", _WARM_UP])
        _check_clock(port)
        machine.close()  # no login is part of what is kept
        _run(port, ["sh", "-c", "until [ -z \"$(ss -Htn state established '( sport = 22 )')\" ]; do sleep 0.1; done; sync"])
        machine.save(folder / "state")
    finally:
        port.close()


def _provide(machine: Machine, provision: Provision) -> None:
    local = process.scratch_file("provision")
    local.write_bytes(provision.data)
    machine.put(local, provision.path)
    machine.run(list(provision.argv), deadline=_STEP_SECONDS, check=True)


def _check_clock(port: Port) -> None:
    """Refuse a guest whose clock does not run as fast as ours: each guest of the snapshot would have it so."""
    one = _uptime(port)
    time.sleep(_CLOCK_SECONDS)  # what is measured: how far the guest's clock gets in a while
    two = _uptime(port)
    passed = two[1] - one[1]
    if not clock_fits(passed, least=two[0] - one[2], most=two[2] - one[0]):
        raise Refused(
            f"its clock runs wrong: {passed:.2f} s passed there while {two[0] - one[2]:.2f} to {two[2] - one[0]:.2f} s passed here"
        )


def clock_fits(passed: float, *, least: float, most: float) -> bool:
    """Whether seconds that `passed` in a guest can be the time between `least` and `most` that passed on the host."""
    return least * (1 - _CLOCK_ERROR) - _UPTIME_STEP <= passed <= most * (1 + _CLOCK_ERROR) + _UPTIME_STEP


def _uptime(port: Port) -> tuple[float, float, float]:
    """The host's time before, the guest's, and the host's afterwards, in seconds."""
    before = time.monotonic()
    words = _run(port, ["cat", "/proc/uptime"])
    return before, float(words.split()[0]), time.monotonic()


def _run(port: Port, argv: list[str]) -> str:
    command: Running = PortLink(port).command(argv)
    result = command.wait(deadline=_STEP_SECONDS, silence=None, watch=lambda: None)
    if not result.ok:
        raise Refused(f"'{argv[-1]}': {result.stderr.strip()[-200:]}")
    return result.stdout


def _seal(folder: Path, seconds: float) -> None:
    """Write down what belongs to the snapshot, after everything is on the disk."""
    for name in _FILES:
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
    hashes = {name: digest(folder / name) for name in _FILES}
    facts = {"made": store.now(), "boot_seconds": round(seconds, 2), "files": hashes}
    store.atomic_write(folder / "facts.json", json.dumps(facts, indent=1) + "\n")
    _note_verified(folder)


def digest(path: Path) -> str:
    """SHA-256 over size and content; what is zero is passed over, so that the holes of a memory file cost nothing."""
    import hashlib

    found = hashlib.sha256(str(path.stat().st_size).encode())
    with open(path, "rb") as file:
        for place, data in _pieces(file.fileno()):
            found.update(f" {place}:".encode() + data)
    return found.hexdigest()


def _damage(folder: Path) -> str:
    """What is wrong with a snapshot; empty where it is whole. Hashes are read again where a file may have changed since:
    another size, time or inode, or another boot of the host, before which a write may have been lost."""
    try:
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
        if _verified(folder) == _identities(folder):
            return ""
        for name, expected in facts["files"].items():
            if digest(folder / name) != expected:
                return f"{name} is not what was saved"
        _note_verified(folder)
    except (OSError, ValueError, KeyError) as error:
        return str(error) or type(error).__name__
    return ""


def _identities(folder: Path) -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    rows = {name: (folder / name).stat() for name in _FILES}
    return {"boot": boot, **{name: [i.st_size, i.st_mtime_ns, i.st_ctime_ns, i.st_ino] for name, i in rows.items()}}


def _verified(folder: Path) -> dict[str, Any]:
    path = folder / "verified.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _note_verified(folder: Path) -> None:
    store.atomic_write(folder / "verified.json", json.dumps(_identities(folder)) + "\n")
