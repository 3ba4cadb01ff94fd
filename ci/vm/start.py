# SPDX-License-Identifier: Apache-2.0
"""Starts one guest: checks the host, makes its disks, has libvirt start QEMU or restore it, waits until it answers."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ci import leftovers, process, store
from ci.errors import Hang, InfrastructureError
from ci.manifest import MachineSpec
from ci.model import Accelerator
from ci.vm import console, disks, mail, nocloud, registry, seed
from ci.vm.accel import qemu_program
from ci.vm.boot import Boot
from ci.vm.channel import Expired, Lost
from ci.vm.connect import HOST
from ci.vm.disks import Disk
from ci.vm.domain import DomainFacts, domain_xml
from ci.vm.door import Door, become
from ci.vm.driver import Driver, driver, keep_capabilities, overlooked, prepare
from ci.vm.keys import Keys, guest_keys
from ci.vm.link import PortLink, SshLink
from ci.vm.machine import Machine
from ci.vm.port import Refused
from ci.vm.registry import GuestFacts
from ci.vm.ticks import host_khz
from ci.vm.wait import BOOT_SECONDS, wait_for_ssh

Say = Callable[[str], None]
Create = Callable[[Driver, Path], dict[str, Any]]

# From the start of QEMU to the agent's answer, on a busy host, by accelerator.
RESTORE_SECONDS = {"kvm": 15.0, "tcg": 30.0}
_PORT_TRIES = 5
_DISK_SECONDS = 15.0
_SPARE_MEMORY_MIB = 192  # QEMU itself, with TCG's translation buffer partly used
_SPARE_DISK_MIB = 512
# Debian allows only some SysRq keys; without this the stacks of a hang could not be had.
_EXTRA_COMMAND_LINE = "sysrq_always_enabled"


@dataclass(frozen=True)
class Warm:
    """Where a memory snapshot lies. `overlay` is an empty overlay over its disk, to be copied for each guest."""

    ram: Path
    state: Path
    overlay: Path
    seed: Path
    console: Path


class Starter:
    """What has to happen, in order, until a guest answers. Undoing is the caller's: everything is in one folder.

    `given` are disks of the host's for the first slots (ci/vm/disks.py), which are the caller's to make and to keep.
    With `keep`, a folder, the guest's disk and seed are made there and its memory in the file `ram`, so that they can become
    a snapshot.
    """

    def __init__(
        self,
        spec: MachineSpec,
        boot: Boot,
        accelerator: Accelerator,
        root: Path,
        name: str,
        evidence: Path,
        say: Say,
        keep: Path | None = None,
        ram: Path | None = None,
        given: Sequence[Disk] = (),
    ) -> None:
        self.id = secrets.token_hex(4)
        self.uuid = str(uuid.uuid4())
        self.folder = registry.folder_of(self.id)
        self.name = name
        self._spec = spec
        self._boot = boot
        self._accelerator = accelerator
        self._root = root
        self._evidence = evidence
        self._say = say
        self._keep = keep
        self._ram = ram
        self._given = tuple(given)
        self._slots: tuple[Disk, ...] = ()
        self._warm: Warm | None = None

    def rescued(self, files: tuple[Path, ...]) -> tuple[Path, ...]:
        """Evidence that lies in the guest's folder, copied out before the folder goes."""
        self._evidence.mkdir(parents=True, exist_ok=True)
        return tuple(Path(shutil.copy(f, self._evidence)) if f.is_relative_to(self.folder) else f for f in files)

    def start(self, console_log: Path, boot_deadline: float | None) -> Machine:
        """Boot it."""
        begin = time.monotonic()
        facts, keys, own = self._made(console_log, lambda own, xml: own.ask("create", xml=str(xml)))
        self._say(f"booting {facts.name} under {facts.accelerator}")
        deadline = boot_deadline if boot_deadline is not None else self._boot_seconds()
        try:
            connection = wait_for_ssh(facts, keys, deadline=deadline, failed=self._boot.failed)
            link = SshLink(connection, facts.port, keys)
            if self._boot.cloud:
                nocloud.finished(link, facts.name, deadline=deadline)
        except InfrastructureError as error:
            error.evidence = (*error.evidence, *self._qemu_log())
            raise
        seconds = time.monotonic() - begin
        self._say(f"{facts.name} answers {seconds:.1f} s after it was asked for")
        return Machine(facts, keys, own, link, self._evidence, seconds)

    def _boot_seconds(self) -> float:
        return BOOT_SECONDS[self._accelerator.name] * self._boot.patience * (nocloud.PATIENCE if self._boot.cloud else 1)

    def restore(self, warm: Warm, console_log: Path) -> Machine:
        """Bring it up from a snapshot. Raises InfrastructureError where the snapshot, or this machine, does not give it."""
        begin = time.monotonic()
        self._warm = warm
        patience = RESTORE_SECONDS[self._accelerator.name] * self._boot.patience
        door = Door(self.folder / "port.sock", patience)

        def create(own: Driver, xml: Path) -> dict[str, Any]:
            door.watch()
            sizes = {disks.target(slot): disk.path.stat().st_size for slot, disk in enumerate(self._given)}
            return own.ask("restore", xml=str(xml), file=str(warm.state), socket=str(self.folder / "state.sock"), resized=sizes)

        try:
            facts, keys, own = self._made(console_log, create)
            files = seed.identity(keys, hostname=self.name, machine_id=self.uuid.replace("-", ""))
            port = door.enter(patience)
            become(port, files, self.name, deadline=patience)
            self._know_disks(PortLink(port))
        except (Lost, Refused) as error:
            message = f"the guest {self.name} was restored, but does not answer: {error}"
            raise InfrastructureError(message, hint=console.tail(console_log), evidence=self._qemu_log()) from error
        finally:
            door.close()
        seconds = time.monotonic() - begin
        self._say(f"{facts.name} answers {seconds:.2f} s after it was asked for, restored from memory")
        return Machine(facts, keys, own, PortLink(port), self._evidence, seconds, restored=True)

    def _know_disks(self, link: PortLink) -> None:
        """Wait until a restored guest knows the size of the disks that it was given."""
        for slot, disk in enumerate(self._given):
            argv = disks.find_argv(slot, disk.path.stat().st_size)
            try:
                link.command(argv).wait(deadline=_DISK_SECONDS, silence=None, watch=lambda: None)
            except Expired as error:
                raise Lost(f"its kernel does not see the disk {disk.path}: {error}") from error

    def _made(self, console_log: Path, create: Create) -> tuple[GuestFacts, Keys, Driver]:
        """Everything up to a QEMU that runs."""
        self._check_host()
        try:
            self.folder.mkdir(mode=0o700, parents=True)
            keys = guest_keys(self._root, self.folder / "keys")
            console_log.parent.mkdir(parents=True, exist_ok=True)
            console_log.unlink(missing_ok=True)
            own = driver(self._spec.uri, registry.libvirt_root_of(self.id))
            self._disks(keys, console_log)
            prepare(own)
            facts = self._create(own, self._facts(console_log), create)
            keep_capabilities(own)
        except OSError as error:
            raise store.disk_error(error, self.folder) from error
        except Hang as error:  # a program of the host that did not end; not the product's
            raise InfrastructureError(error.message, evidence=error.evidence) from error
        return facts, keys, own

    def _check_host(self) -> None:
        """Refuse before the first side effect what would fail in the middle."""
        available = psutil.virtual_memory().available >> 20
        if available < self._spec.memory + _SPARE_MEMORY_MIB:
            raise InfrastructureError(
                f"the guest {self.name} needs {self._spec.memory} MiB of memory, and the host has {available} MiB left",
                hint="end other guests (./inv vm.list), or give the machine less memory in vexci.yaml",
            )
        place = leftovers.state_dir()
        free = shutil.disk_usage(place).free >> 20
        if free < _SPARE_DISK_MIB:
            raise InfrastructureError(
                f"the disk is nearly full at {place}: {free} MiB left, a guest needs {_SPARE_DISK_MIB} MiB",
                hint="free space, or set VEXCI_STATE to another folder",
            )
        for file in (self._boot.kernel, self._boot.initrd, self._boot.modules, self._boot.disk):
            if not file.is_file():
                raise InfrastructureError(f"{file} is not there any more", hint="./inv image.build makes it again")

    @property
    def _place(self) -> Path:
        """Where the guest's own disks lie."""
        return self._keep or self.folder

    def _disks(self, keys: Keys, console_log: Path) -> None:
        self._slots = disks.filled(self._given, self.folder)
        mail.make(self.folder)
        if self._warm is not None:
            shutil.copyfile(self._warm.overlay, self.folder / "root.qcow2")
            shutil.copyfile(self._warm.console, console_log)  # the boot that this guest has behind it
            return
        overlay(self._place / "root.qcow2", self._boot.disk.absolute(), "raw")
        if self._boot.cloud:
            nocloud.write(self._place / "seed.tar", keys, hostname=self.name, instance=self.uuid)
        else:
            seed.write(self._place / "seed.tar", seed.identity(keys, hostname=self.name, machine_id=self.uuid.replace("-", "")))
        if self._ram is not None:
            with open(self._ram, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.truncate(self._spec.memory << 20)

    def _facts(self, console_log: Path) -> GuestFacts:
        return GuestFacts(
            id=self.id,
            name=self.name,
            uuid=self.uuid,
            uri=self._spec.uri,
            port=0,
            qemu="",
            owner=leftovers.owner_id(),
            project=str(self._root),
            kept=False,
            console=str(console_log.absolute()),
            image=self._boot.image or self._spec.image,
            kernel=self._boot.release or self._spec.kernel,
            accelerator=self._accelerator.name,
            accelerator_reason=self._accelerator.reason,
            started=store.now(),
            restored=self._warm is not None,
        )

    def _create(self, own: Driver, facts: GuestFacts, create: Create) -> GuestFacts:
        """Have QEMU started; another port where the chosen one was taken in the meantime."""
        xml = self.folder / "domain.xml"
        for _ in range(_PORT_TRIES):
            facts = replace(facts, port=_free_port())
            facts.write()
            xml.write_text(domain_xml(self._domain(facts)))
            try:
                create(own, xml)
                break
            except InfrastructureError as error:
                failure = error
                if "Could not set up host forwarding" not in error.message:
                    raise self._not_started(error) from error
        else:
            raise InfrastructureError(f"no free port on {HOST} in {_PORT_TRIES} tries: {failure.message}")
        running = registry.qemu_processes(self.uuid)
        if not running:
            raise self._not_started(InfrastructureError("QEMU ended at once"))
        try:
            facts = replace(facts, qemu=leftovers.owner_id(running[0].pid))
        except psutil.NoSuchProcess as error:
            raise self._not_started(InfrastructureError("QEMU ended at once")) from error
        facts.write()
        return facts

    def _not_started(self, error: InfrastructureError) -> InfrastructureError:
        logs = self._qemu_log()
        lines = [line for log in logs for line in log.read_text(errors="backslashreplace").splitlines()]
        words = [line for line in lines if "qemu-system" in line and ": -" in line]
        said = f": {words[-1].strip()}" if words else ""
        return InfrastructureError(f"the guest {self.name} could not be started: {error.message}{said}", hint=error.hint, evidence=logs)

    def _qemu_log(self) -> tuple[Path, ...]:
        """QEMU's own log, copied out of the folder that goes away."""
        copies = []
        for log in (registry.libvirt_root_of(self.id) / "log" / "qemu").glob("*.log"):
            self._evidence.mkdir(parents=True, exist_ok=True)
            copies.append(Path(shutil.copyfile(log, self._evidence / "qemu.log")))
        return tuple(copies)

    def _speed(self) -> tuple[str, ...]:
        """What an emulated guest that boots must be told about its clock (ci/vm/ticks.py)."""
        emulated = self._accelerator.name == "tcg" and self._warm is None
        khz = host_khz() if emulated else 0
        return (f"tsc_early_khz={khz}",) if khz else ()

    def _domain(self, facts: GuestFacts) -> DomainFacts:
        return DomainFacts(
            name=f"vexci-{self.id}",
            uuid=self.uuid,
            memory=self._spec.memory,
            cpus=self._spec.cpus,
            accelerator=facts.accelerator,
            emulator=qemu_program(),
            kernel=self._boot.kernel.absolute(),
            initrd=self._boot.initrd.absolute(),
            command_line=" ".join((self._boot.command_line, _EXTRA_COMMAND_LINE, *self._speed())),
            root=self._place / "root.qcow2",
            modules=self._boot.modules.absolute(),
            seed=self._warm.seed if self._warm else self._place / "seed.tar",
            port=facts.port,
            console_socket=facts.console_socket,
            console_log=Path(facts.console),
            port_socket=facts.port_socket,
            generation=str(uuid.uuid4()),
            mail=self.folder / mail.NAME,
            disks=self._slots,
            ram=self._warm.ram if self._warm else self._ram,
            ram_shared=self._ram is not None,
            incoming=self._warm is not None,
            overlooked=overlooked(self._spec.uri),
        )


def overlay(path: Path, backing: Path, form: str, *size: str) -> None:
    """Make an overlay disk. With a `size` the backing file is not looked at: it may lie there only later."""
    argv: list[str | Path] = ["create", "-q", "-f", "qcow2", *(["-u"] if size else []), "-b", backing, "-F", form, path, *size]
    process.output([process.find_program("qemu-img", hint="apt-get install qemu-utils"), *argv])


def _free_port() -> int:
    """A port on 127.0.0.1 that is free now; whether it still is when QEMU takes it, QEMU says."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
