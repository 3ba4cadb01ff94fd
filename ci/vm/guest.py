# SPDX-License-Identifier: Apache-2.0
"""Guests from start to end: one for the length of a `with`, or one that is kept until it is taken down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ci import leftovers, store
from ci.errors import UsageError, VexciError
from ci.manifest import MachineSpec
from ci.model import Accelerator
from ci.vm import registry
from ci.vm.boot import Boot
from ci.vm.driver import driver
from ci.vm.keys import project_keys
from ci.vm.machine import Machine
from ci.vm.registry import GuestFacts
from ci.vm.start import Starter
from ci.vm.wait import BOOT_SECONDS, wait_for_ssh

Say = Callable[[str], None]


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
) -> Iterator[Machine]:
    """A fresh guest that answers over SSH; on leaving it is gone with all its files, whatever happened.

    Its console and what else is evidence stay in the run's folder under `guests/<name>/`. `root` is the project's
    root, `boot_deadline` in seconds (else by accelerator). Raises InfrastructureError where the host cannot give
    a guest or it does not come up, GuestPanic where its kernel fails at boot.
    """
    evidence = run.path / "guests" / name
    with ExitStack() as stack:
        starter = Starter(spec, boot, accelerator, root, name, evidence, progress)
        stack.enter_context(leftovers.entry("guest", starter.id, {"id": starter.id, "uuid": starter.uuid}))
        stack.callback(registry.remove, starter.id, starter.uuid)
        machine = starter.start(evidence / "console.log", boot_deadline)
        stack.callback(machine.close)
        yield machine


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
        starter = Starter(spec, boot, accelerator, root, name, evidence, progress)
        with leftovers.entry("guest", starter.id, {"id": starter.id, "uuid": starter.uuid}):
            try:
                machine = starter.start(starter.folder / "console.log", boot_deadline)
                machine.close()
                facts = replace(machine.facts, kept=True)
                facts.write()
            except BaseException as error:
                if isinstance(error, VexciError):
                    error.evidence = starter.rescued(error.evidence)
                registry.remove(starter.id, starter.uuid)
                raise
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
    keys = project_keys(root)
    begin = time.monotonic()
    connection = wait_for_ssh(facts, keys, deadline=BOOT_SECONDS[facts.accelerator] / 2)
    machine = Machine(facts, keys, driver(facts.uri, facts.libvirt_root), connection, evidence, time.monotonic() - begin)
    try:
        yield machine
    finally:
        machine.close()


def running(name: str, root: Path) -> GuestFacts:
    """The kept guest of that name, which runs; else UsageError with the way out."""
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
