# SPDX-License-Identifier: Apache-2.0
"""The guest that the stages of one run share: started when first asked for, replaced where it was damaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from ci import console, images, kernels, splat
from ci.errors import Interrupted, UsageError
from ci.images.boot import boot_files
from ci.manifest import MachineSpec
from ci.model import Accelerator
from ci.pipeline import artifacts
from ci.pipeline.session import Session
from ci.reader import nearest
from ci.validate import plan
from ci.vm import accel, prune
from ci.vm import guest as guests
from ci.vm.boot import Boot
from ci.vm.disks import Disk
from ci.vm.machine import Machine


def machine_spec(session: Session, name: str = "default", kernel: str = "") -> MachineSpec:
    """The machine of that name in the manifest, with another `kernel` where one is named; UsageError with the nearest name."""
    defined = [spec.name for spec in session.manifest.kernels]
    if kernel and kernel not in defined:
        raise UsageError(f"the kernel '{kernel}' is not defined{nearest(kernel, defined)}")
    names = [spec.name for spec in session.manifest.machines]
    if name not in names:
        raise UsageError(f"the machine '{name}' is not defined{nearest(name, names)}", hint="define it under 'machines:' in vexci.yaml")
    spec = session.manifest.machine(name)
    return replace(spec, kernel=kernel) if kernel else spec


def kernel_of_guest(session: Session, name: str) -> str:
    """The manifest's name of the kernel that a running guest has; empty where it is none of them."""
    release = guests.running(name, session.manifest.root).kernel
    found = [row.name for row in kernels.listing(session.manifest.kernels) if row.release == release]
    return found[0] if found else ""


def in_slots(spec: MachineSpec, slots: int) -> MachineSpec:
    """The machine as it is when several run at once: no more virtual CPUs than there are real ones for each."""
    return replace(spec, cpus=max(1, min(spec.cpus, (os.cpu_count() or 1) // slots))) if slots > 1 else spec


def prepare(session: Session, spec: MachineSpec, *, require_kvm: bool) -> tuple[Boot, Accelerator]:
    """The stage `image`: everything that a guest boots from, made or taken from the cache, and how it will run."""
    with session.record.stage("image") as stage, console.group("image"):
        kernel = artifacts.resolve(session, spec.kernel, stage)
        if kernel is None or kernel.image is None:
            raise UsageError(
                f"the kernel '{spec.kernel}' can be built for, but not booted",
                hint="name a kernel of the provider apt or source for the machine",
            )
        image = images.build(
            session.manifest.image(spec.image), session.manifest.root, log=session.record.run.file("image", "build.log"), say=console.note
        )
        files = boot_files(kernel, cloud=image.cloud, say=console.note)
        accelerator = accel.accelerator(kernel.image, require_kvm=require_kvm, say=console.note)
        session.record.set_accelerator(accelerator)
        stage.results.update(image=image.name, key=image.key, size=image.size, distribution=image.distribution, kernel=kernel.release)
        stage.detail = f"{image.name} ({image.key[:12]}), kernel {kernel.release}, {accelerator.name}"
        console.line(stage.detail)
    words = (files.command_line, image.disk, image.name, kernel.release)
    patience = session.manifest.kernel(spec.kernel).patience
    boot = Boot(files.kernel, files.initrd, files.modules, *words, cloud=image.cloud, patience=patience, provision=plan.provision())
    return boot, accelerator


class Pool:
    """Hands out a healthy guest, restored from memory unless `cold`. With `kept` it is the running guest of that name, which
    is never replaced. `image` takes the place of the machine's. `disks` are for its guests, one after the other, and not for those of
    other slots. With `core` the diagnosis of a hang holds the guest's memory. So many other things as `beside` says want
    the processors like a slot."""

    def __init__(
        self,
        session: Session,
        *,
        kept: str = "",
        require_kvm: bool = False,
        machine: str = "default",
        kernel: str = "",
        image: str = "",
        cold: bool = False,
        slots: int = 1,
        name: str = "",
        disks: Sequence[Disk] = (),
        core: bool = False,
        beside: int = 0,
    ) -> None:
        self.session = session
        self.kept = kept
        self.slots = slots
        spec = machine_spec(session, machine, kernel or (kernel_of_guest(session, kept) if kept else ""))
        self.spec = in_slots(spec, slots + beside)
        if image:
            self.spec = replace(self.spec, image=session.manifest.image(image).name)
        self._name = name or self.spec.name
        self._require_kvm = require_kvm
        self._cold = cold
        self._disks = tuple(disks)
        self._core = core
        self._beside = beside
        self._boots: dict[str, tuple[Boot, Accelerator]] = {}  # by kernel, shared with the pools made from this one
        self._stack = ExitStack()
        self._machine: Machine | None = None
        self._seen: set[str] = set()
        self._count = 0
        self.ended = ""  # why no guest is to be had any more

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def ready(self) -> None:
        """Have everything made that a guest starts from, so that the next one starts at once."""
        if self.spec.kernel not in self._boots:
            self._boots[self.spec.kernel] = prepare(self.session, self.spec, require_kvm=self._require_kvm)

    def ready_for(self, kernels: Sequence[str]) -> None:
        """The same for guests with these kernels of vexci.yaml, which `on` then starts."""
        for kernel in kernels:
            if not self.kept and kernel not in self._boots:
                spec = replace(self.spec, kernel=kernel)
                self._boots[kernel] = prepare(self.session, spec, require_kvm=self._require_kvm)

    def on(self, kernel: str) -> Pool:
        """Another pool for guests of the same machine with this kernel; the caller closes it."""
        return self._another(kernel, core=self._core, kernel=kernel)

    def beside(self, number: int) -> Pool:
        """Another pool for guests of the same machine, started from the same files; the caller closes it."""
        return self._another(f"slot{number}", core=self._core)

    def with_disk(self, disk: Disk, name: str) -> Pool:
        """Another pool for guests of the same machine, all with this disk; the caller discards its guest."""
        self.ready()
        return self._another(name, disks=(disk,))

    def of(self, machine: str) -> Pool:
        """Another pool for guests of another machine, booted each time: what is wanted seldom is worth no snapshot."""
        return Pool(self.session, require_kvm=self._require_kvm, machine=machine, cold=True, name=f"{self._name}-{machine}")

    def _another(self, name: str, *, core: bool = False, disks: tuple[Disk, ...] = (), kernel: str = "") -> Pool:
        """A pool for guests of the same machine, started from the same files."""
        other = Pool(
            self.session,
            require_kvm=self._require_kvm,
            machine=self.spec.name,
            kernel=kernel or self.spec.kernel,
            cold=self._cold,
            slots=self.slots,
            beside=self._beside,
            core=core,
            name=f"{self._name}-{name}",
            disks=disks,
        )
        other._boots, other.ended = self._boots, self.ended
        return other

    def guest(self) -> Machine:
        """The guest; the first call, and the first after `discard`, starts one (stage `vm`). Interrupted where the pool was ended."""
        if self.ended:
            raise Interrupted(self.ended)
        if self._machine is None or not self._machine.alive():
            self.discard()
            self._machine = self._attach() if self.kept else self._start()
            self._machine.splat = self._failure
            self._machine.core = self._core
        return self._machine

    def first(self, what: str) -> bool:
        """True the first time that this is asked of the guest that there is now: what need be done once in each guest."""
        self.guest()
        known = what in self._seen
        self._seen.add(what)
        return not known

    def _failure(self, console_text: str) -> str | None:
        """What the kernel complained of, with the lines of the modules that this invocation built for it."""
        built = [a for a in self.session.artifacts or () if a.kernel in (None, self.spec.kernel)]
        return splat.failure(console_text, splat.decoders(built))

    def discard(self) -> None:
        """Let go of a guest that may be damaged. A kept guest stays, for its user to look at."""
        if not self.kept:
            self._machine = None
            self._seen.clear()
            self._stack.close()

    def end(self, why: str) -> None:
        """Let go of the guest for good: whoever works in it, in another thread, gets no other."""
        self.ended = why
        self.discard()

    def _start(self) -> Machine:
        session = self.session
        self.ready()
        boot, accelerator = self._boots[self.spec.kernel]
        self._count += 1
        with session.record.stage("vm") as stage, console.group("vm"), console.Progress() as progress:
            name = f"{self._name}-{self._count}"
            with progress.item(f"guest {name}") as item:
                machine = self._stack.enter_context(
                    guests.guest(
                        self.spec,
                        boot,
                        accelerator=accelerator,
                        run=session.record.run,
                        root=session.manifest.root,
                        name=name,
                        progress=item.say,
                        warm=not self._cold,
                        given=self._disks,
                    )
                )
            seconds = round(machine.boot_seconds, 2)
            stage.results.update(name=name, boot_seconds=seconds, restored=machine.restored, accelerator=accelerator.name)
            how = "restored from memory" if machine.restored else "booted"
            stage.detail = f"{name} answered {seconds:.1f} s after it was asked for ({how}, {accelerator.name})"
            console.line(stage.detail)
        prune.prune(session.manifest.snapshots, say=console.note)
        return machine

    def _attach(self) -> Machine:
        session = self.session
        with session.record.stage("vm") as stage:
            evidence = session.record.run.path / "guests" / self.kept
            machine = self._stack.enter_context(guests.attached(self.kept, session.manifest.root, evidence=evidence))
            session.record.set_accelerator(machine.accelerator)
            stage.detail = f"the running guest {self.kept}"
        return machine
