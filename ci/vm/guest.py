# SPDX-License-Identifier: Apache-2.0
"""Guests from start to end: one for the length of a `with`, or one that is kept until it is taken down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ci import leftovers, store
from ci.errors import InfrastructureError, UsageError, VexciError
from ci.manifest import MachineSpec
from ci.model import Accelerator
from ci.vm import disks, registry, snapshot
from ci.vm.boot import Boot
from ci.vm.channel import Lost
from ci.vm.disks import Disk
from ci.vm.driver import driver
from ci.vm.keys import Keys, guest_keys
from ci.vm.link import Link, PortLink, SshLink
from ci.vm.machine import Machine
from ci.vm.port import Port
from ci.vm.registry import GuestFacts
from ci.vm.start import Starter
from ci.vm.wait import BOOT_SECONDS, wait_for_ssh

Say = Callable[[str], None]

_RESTORES = 2
_PORT_SECONDS = 5.0


@contextmanager
def guest(
    spec: MachineSpec,
    boot: Boot,
    *,
    accelerator: Accelerator,
    run: store.RunFolder,
    root: Path,
    name: str,
    progress: Say,
    boot_deadline: float | None = None,
    warm: bool = False,
    given: Sequence[Disk] = (),
) -> Iterator[Machine]:
    """A fresh guest that answers; on leaving it is gone with all its files, whatever happened.

    Its console and what else is evidence stay in the run's folder under `guests/<name>/`. `root` is the project's
    root, `boot_deadline` in seconds (else by accelerator). `warm`: from a memory snapshot, where one is to be had. `given`: disks of
    the host's (ci/vm/disks.py), which stay; `Machine.disk(slot)` names their devices.
    Raises InfrastructureError where the host cannot give a guest or it does not come up, GuestPanic where its kernel fails
    at boot.
    """
    disks.check(given)
    evidence = run.path / "guests" / name
    with ExitStack() as stack:
        wanted = Wanted(spec, boot, accelerator, root, name, evidence, progress, boot_deadline, tuple(given))
        machine = wanted.start(stack, lambda _: evidence / "console.log", warm=warm)
        stack.callback(machine.close)
        yield machine


@dataclass(frozen=True)
class Wanted:
    """A guest that is asked for."""

    spec: MachineSpec
    boot: Boot
    accelerator: Accelerator
    root: Path
    name: str
    evidence: Path
    say: Say
    boot_deadline: float | None = None
    given: tuple[Disk, ...] = ()

    def start(self, stack: ExitStack, console: Callable[[Starter], Path], *, warm: bool) -> Machine:
        """Restored where that is wanted and possible, else booted; leaving `stack` ends it. A snapshot that does not come to
        life is made again, once, and then there is still the cold boot: it is never the product that failed."""
        why = snapshot.refusal(self.spec) if warm else ""
        for _ in range(_RESTORES if warm and not why else 0):
            try:
                kept = snapshot.ensure(self.spec, self.boot, self.accelerator, self.say)
            except snapshot.NotKept as error:
                why = error.message
                break
            with ExitStack() as attempt:
                starter = self._starter(attempt)
                try:
                    machine = starter.restore(kept, console(starter))
                except InfrastructureError as error:
                    self.say(f"the memory snapshot does not come to life and is thrown away: {error.message}")
                    snapshot.discard(kept.ram.parent)
                    why = error.message
                    continue
                stack.push(attempt.pop_all())
                return machine
        if why:
            self.say(f"booting instead of restoring: {why}")
        starter = self._starter(stack)
        try:
            return starter.start(console(starter), self.boot_deadline)
        except VexciError as error:
            error.evidence = starter.rescued(error.evidence)
            raise

    def _starter(self, stack: ExitStack) -> Starter:
        starter = Starter(self.spec, self.boot, self.accelerator, self.root, self.name, self.evidence, self.say, given=self.given)
        note = {"id": starter.id, "uuid": starter.uuid}
        stack.enter_context(leftovers.entry("guest", starter.id, note))
        stack.callback(registry.release, note)
        return starter


def up(
    spec: MachineSpec,
    boot: Boot,
    *,
    accelerator: Accelerator,
    root: Path,
    name: str,
    evidence: Path,
    progress: Say,
    boot_deadline: float | None = None,
    warm: bool = False,
) -> GuestFacts:
    """Start a guest that lives on after the tool has ended, until `down`; its console is in its own folder.

    Where it does not come up, its console and QEMU's log are left in `evidence`. Raises UsageError where a guest of
    that name runs already. Otherwise as `guest`.
    """
    with store.lock(leftovers.state_dir() / "locks" / f"up-{store.sha256_text(str(root), name)[:16]}"):
        known = registry.find(name, root)
        if known is not None and known.alive:
            raise UsageError(f"the guest {name} is already up (port {known.port})", hint="./inv vm.ssh, or ./inv vm.down first")
        if known is not None:
            registry.remove(known.id, known.uuid)  # its QEMU has ended meanwhile; only the folder is left
        wanted = Wanted(spec, boot, accelerator, root, name, evidence, progress, boot_deadline)
        with ExitStack() as stack:
            machine = wanted.start(stack, lambda starter: starter.folder / "console.log", warm=warm)
            machine.close()
            facts = replace(machine.facts, kept=True)
            facts.write()
        return facts


def down(name: str, root: Path) -> GuestFacts:
    """Take a kept guest down, alive or dead, with all its files. UsageError where there is none of that name."""
    facts = _kept(name, root)
    registry.remove(facts.id, facts.uuid)
    return facts


@contextmanager
def attached(name: str, root: Path, *, evidence: Path) -> Iterator[Machine]:
    """A kept guest to work with; it lives on afterwards. `evidence` is for what is gathered when something goes wrong."""
    facts = running(name, root)
    keys = guest_keys(root, facts.keys)
    begin = time.monotonic()
    link = _way_in(facts, keys)
    own = driver(facts.uri, facts.libvirt_root)
    machine = Machine(facts, keys, own, link, evidence, time.monotonic() - begin, restored=isinstance(link, PortLink))
    try:
        yield machine
    finally:
        machine.close()


def _way_in(facts: GuestFacts, keys: Keys) -> Link:
    """The port where the guest was restored and nobody else is on it, else SSH."""
    if facts.restored:
        try:
            port = Port(facts.port_socket, seconds=_PORT_SECONDS)
            port.greet(_PORT_SECONDS)
            return PortLink(port)
        except Lost:
            pass  # another tool is connected, which the port allows to one at a time; SSH has room for all
    return SshLink(wait_for_ssh(facts, keys, deadline=BOOT_SECONDS[facts.accelerator] / 2), facts.port, keys)


def running(name: str, root: Path) -> GuestFacts:
    """The kept guest of that name, which runs, or that of a run that goes on; else UsageError with the way out."""
    kept = registry.find(name, root)
    if kept is None or not kept.alive:
        passing = registry.find_running(name, root)
        if passing is not None:
            return passing
    facts = _kept(name, root)
    if not facts.alive:
        raise UsageError(f"the guest {name} has ended", hint=f"its console: {facts.console}; then ./inv vm.down vm.up")
    return facts


def _kept(name: str, root: Path) -> GuestFacts:
    facts = registry.find(name, root)
    if facts is None:
        others = ", ".join(sorted(f.name for f in registry.listing() if f.kept and f.project == str(root)))
        raise UsageError(f"there is no guest {name}", hint=f"running: {others}" if others else "./inv vm.up starts one")
    return facts
