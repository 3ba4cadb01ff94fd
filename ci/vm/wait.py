# SPDX-License-Identifier: Apache-2.0
"""Waiting for a guest to answer: polls for SSH, and at the same time watches for every way in which it never will."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ci.errors import GuestPanic, InfrastructureError
from ci.vm import console
from ci.vm.connect import banner_socket, connect
from ci.vm.keys import Keys
from ci.vm.registry import GuestFacts

if TYPE_CHECKING:
    import fabric

BOOT_SECONDS = {"kvm": 30.0, "tcg": 120.0}
# The first connection may fail while the guest's SSH server is still starting; it is tried until the deadline.
# Each gets more time than the one before: every connection costs the guest a process, and on a busy host an emulated guest that
# is hung up on each second is kept busy by that alone, and never greets.
_TRY_SECONDS, _TRY_GROWTH, _TRY_MOST = 1.0, 1.5, 30.0
_POLL_SECONDS = 0.05
_HANDSHAKE_SECONDS = 20.0


def wait_for_ssh(facts: GuestFacts, keys: Keys, *, deadline: float, failed: str = "") -> fabric.Connection:
    """An authenticated connection, within `deadline` seconds.

    Raises at once where QEMU ends, the kernel panics, or the console shows `failed`: GuestPanic where the
    kernel failed by itself, InfrastructureError otherwise, with the console's last lines.
    """
    import paramiko

    end = time.monotonic() + deadline
    last = "its SSH server never greeted"
    patience = _TRY_SECONDS

    def watch() -> None:
        problem = trouble(facts, failed)
        if problem is not None:
            raise problem

    while time.monotonic() < end:
        watch()
        begin = time.monotonic()
        greeted = banner_socket(facts.port, min(patience, max(0.1, end - begin)), watch)
        if greeted is None:
            if time.monotonic() - begin >= patience:  # it was silent, not refused
                patience = min(_TRY_MOST, patience * _TRY_GROWTH)
            time.sleep(_POLL_SECONDS)
            continue
        try:
            return connect(facts.port, keys, greeted, _HANDSHAKE_SECONDS)
        except (paramiko.BadHostKeyException, paramiko.AuthenticationException) as error:
            raise InfrastructureError(
                f"the guest {facts.name} is not the one that was started: {error}",
                hint="remove .vexci/keys to make new keys; guests that run must be started again",
                evidence=_evidence(facts),
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            last = f"the SSH handshake failed: {error or type(error).__name__}"
    raise InfrastructureError(
        f"the guest {facts.name} did not answer within {deadline:g} s under {facts.accelerator}: {last}",
        hint=console.tail(Path(facts.console)),
        evidence=_evidence(facts),
    )


def trouble(facts: GuestFacts, failed: str) -> Exception | None:
    """Why this guest will never answer, or None while it may."""
    alive = facts.alive  # before the console is read, so that what was printed last is in it
    path = Path(facts.console)
    content = console.text(path)
    tail = console.tail(path)
    line = console.panic(content)
    if line is not None and console.nothing_to_boot(content):
        return InfrastructureError(f"the guest {facts.name} has nothing to boot: {line}", hint=tail, evidence=_evidence(facts))
    if line is not None:
        return GuestPanic(f"the guest's kernel failed while {facts.name} booted: {line}", hint=tail, evidence=_evidence(facts))
    for row in content.splitlines():
        if failed and failed in row:
            return InfrastructureError(f"the guest {facts.name} could not start: {row.strip()}", hint=tail, evidence=_evidence(facts))
    if not alive:
        return InfrastructureError(f"the guest {facts.name} ended while it booted (QEMU is gone)", hint=tail, evidence=_evidence(facts))
    return None


def _evidence(facts: GuestFacts) -> tuple[Path, ...]:
    """The console, where it outlives the guest (it is then in the run's folder)."""
    path = Path(facts.console)
    return (path,) if path.exists() else ()
