# SPDX-License-Identifier: Apache-2.0
"""A running guest: commands, files, its console, its death, and what can be learnt of it when it is stuck."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ci import store
from ci.errors import GuestPanic, Hang, InfrastructureError, ProductFailure
from ci.model import Accelerator
from ci.vm import console, diagnose, disks, mail
from ci.vm.channel import Expired, GuestResult, Lost, Running
from ci.vm.connect import scp_argv
from ci.vm.driver import Driver
from ci.vm.heart import Heart
from ci.vm.keys import Keys
from ci.vm.link import Link, second_connection
from ci.vm.port import Refused
from ci.vm.registry import GuestFacts

if TYPE_CHECKING:
    import fabric

_CONSOLE_LOOK_SECONDS = 0.5
# How long a second connection may take: the handshake is about 1 s under TCG.
SECOND_CONNECTION_SECONDS = 15.0
# A guest whose kernel panics switches off at once; its QEMU is gone within this time after its connection.
_DEATH_SECONDS = 2.0

Splat = Callable[[str], "str | None"]


class Machine:
    """A guest that answered. `splat` looks at console text and returns an excerpt where the kernel has failed.

    `evidence` is the folder for what is gathered when something goes wrong. `boot_seconds` is the time from the request to
    the first answer, `restored` whether it came from a memory snapshot; `link` is the way in. With `core` a diagnosis holds the
    guest's memory, too.
    """

    def __init__(
        self, facts: GuestFacts, keys: Keys, driver: Driver, link: Link, evidence: Path, boot_seconds: float, *, restored: bool = False
    ) -> None:
        self.facts = facts
        self.name = facts.name
        self.port = facts.port
        self.console = Path(facts.console)
        self.kernel = facts.kernel
        self.accelerator = Accelerator(facts.accelerator, facts.accelerator_reason)
        self.boot_seconds = boot_seconds
        self.restored = restored
        self.link = link
        self.splat: Splat = console.panic
        self.evidence = evidence
        self._keys = keys
        self._driver = driver
        self._diagnoses = 0
        self._heart = Heart(link, facts.accelerator)
        self.core = False
        self._watched = console.Follower(self.console, self.console.stat().st_size if self.console.exists() else 0)
        self._looked = 0.0

    def alive(self) -> bool:
        """True while QEMU runs."""
        return self.facts.alive

    def console_text(self) -> str:
        """The serial console from the first byte of the boot to now, without terminal control sequences."""
        return console.text(self.console)

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: float,
        check: bool = False,
        on_line: Callable[[str], None] | None = None,
        silence: float | None = None,
    ) -> GuestResult:
        """Run argv in the guest; `on_line` gets each line of standard output as it comes.

        A non-zero exit is the caller's to judge, or with `check` a ProductFailure. Raises Hang where `deadline` or
        `silence` (no output; both in seconds) passes: then stacks are gathered and the command's process group is
        killed. Raises GuestPanic where the console shows the kernel's end, InfrastructureError where the guest is lost.
        """
        self._heart.rest()
        try:
            running = self._open(argv, on_line)
            result = running.wait(deadline=deadline, silence=silence, watch=lambda: self._watch(running))
        except Lost as error:
            raise self._lost(argv, str(error)) from error
        except Expired as error:
            raise self._hang(error) from error
        if check and not result.ok:
            words = (result.stderr or result.stdout).strip().splitlines()[-3:]
            raise ProductFailure(f"'{' '.join(argv)}' in the guest: exit {result.returncode}: {' / '.join(words)}")
        return result

    def put(self, local: Path, remote: str, *, deadline: float = 300.0) -> None:
        """Copy a file into the guest as a whole, with its mode: parents are made, an existing file is replaced at the end.

        `deadline` in seconds is for each block. Raises InfrastructureError where it does not arrive.
        """
        try:
            self._reachable()
            if mail.serves(self.facts.folder, local.stat().st_size):
                mail.put(self.facts.folder, self.link, local, remote, deadline)
            else:
                self.link.put(local, remote, deadline)
        except (Refused, Lost) as error:
            raise self._not_copied(f"put {local} {remote}", error) from error

    def get(self, remote: str, local: Path, *, deadline: float = 300.0) -> None:
        """Copy a file out of the guest, whole or not at all. `deadline` in seconds is for each block."""
        part = local.with_name(f".{local.name}.part")
        try:
            self._reachable()
            self.link.get(remote, part, deadline)
            part.replace(local)
        except (Refused, Lost) as error:
            raise self._not_copied(f"get {remote} {local}", error) from error
        finally:
            part.unlink(missing_ok=True)

    def disk(self, slot: int = 0, *, deadline: float = 20.0) -> str:
        """The guest's device (`/dev/vdd`) of the disk that it was given for a slot; see ci/vm/disks.py. `deadline` in seconds."""
        return self.run(disks.find_argv(slot), deadline=deadline, check=True).stdout.strip()

    def scp_argv(self, local: Path, remote: str) -> list[str]:
        """The command that copies a file with the real scp, for comparison; `put` is the tool's own way."""
        return scp_argv(self.port, self._keys, str(local), remote)

    def sysrq(self, keys: str) -> None:
        """Press Alt+SysRq+key for each key, through QEMU: it works while SSH is dead. The answer is on the console."""
        self._driver.ask("sysrq", uuid=self.facts.uuid, keys=list(keys), deadline=20)

    def save(self, file: Path) -> None:
        """Stop the guest for good and write the state of its devices to `file`; its memory must be a file already."""
        self._driver.ask("save", uuid=self.facts.uuid, file=str(file), socket=str(self.facts.folder / "state.sock"))

    def dump(self, file: Path, *, deadline: float) -> None:
        """Write the guest's memory to `file`, for `crash` or `drgn`; it stands still meanwhile. `deadline` in seconds."""
        self._driver.ask("core", uuid=self.facts.uuid, file=str(file), deadline=deadline)

    def diagnose(self, folder: Path) -> tuple[Path, ...]:
        """Gather what can still be learnt of a stuck or dead guest into `folder`; index.txt first. Raises OSError where
        nothing can be written."""
        return diagnose.gather(self, folder)

    def second_connection(self, seconds: float = SECOND_CONNECTION_SECONDS) -> fabric.Connection | None:
        """An SSH connection of its own, for looking while the guest is busy; None where SSH does not answer in time."""
        return second_connection(self.port, self._keys, seconds)

    def paused(self) -> str | None:
        """Why QEMU itself has stopped the guest (a full disk on the host), or None."""
        state = self._driver.ask("state", uuid=self.facts.uuid, deadline=20)
        disks = ", ".join(f"{name}: {words}" for name, words in state["disks"].items())
        if state["state"] == "running" and not disks:
            return None
        return f"QEMU has the guest {state['state']}" + (f" ({disks})" if disks else "")

    def close(self) -> None:
        """Close the connection; the guest goes on."""
        self.link.close()

    def _open(self, argv: Sequence[str], on_line: Callable[[str], None] | None) -> Running:
        self._reachable()
        return self.link.command(argv, on_line)

    def _reachable(self) -> None:
        if not self.alive():
            raise Lost("the guest has ended")

    def _not_copied(self, what: str, error: Exception) -> Exception:
        """Either the guest is lost, or it answered that it cannot (no space, no such file)."""
        if isinstance(error, Refused):
            return InfrastructureError(f"{what}: {error}")
        return self._lost([what], str(error))

    def _watch(self, running: Running) -> None:
        """While a command runs: is QEMU there, has the kernel panicked without taking QEMU with it, does the guest answer at all?"""
        if not self.alive():
            raise Lost("the guest has ended")
        if time.monotonic() - self._looked < _CONSOLE_LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        line = console.panic(self._watched.new())
        if line is not None:
            raise Lost(line)
        if silent := self._heart.silent():
            raise Expired(f"the guest gave no sign of life for {silent:.0f} s during: {shlex.join(running.argv)}", running.leader)

    def _lost(self, argv: Sequence[str], why: str) -> Exception:
        """What it means that the guest did not answer: the console decides whose fault it was."""
        until = time.monotonic() + _DEATH_SECONDS
        excerpt = self.splat(self.console_text())
        while self.alive() and excerpt is None and time.monotonic() < until:
            time.sleep(0.05)
            excerpt = self.splat(self.console_text())
        words = " ".join(argv)
        evidence = self._keep_console()
        if excerpt is not None:
            message = f"the guest's kernel failed during '{words}': {excerpt.splitlines()[0]}"
            return GuestPanic(message, hint=console.tail(self.console), evidence=evidence)
        if not self.alive():
            message = f"the guest {self.name} was lost during '{words}': its QEMU has ended, and the console shows no kernel failure"
            return InfrastructureError(message, hint=console.tail(self.console), evidence=evidence)
        return InfrastructureError(f"the connection to the guest {self.name} failed during '{words}': {why}", evidence=evidence)

    def _hang(self, error: Expired) -> Exception:
        stopped = self._stopped()
        if stopped is not None:
            return InfrastructureError(f"{error}: {stopped}", evidence=self._keep_console())
        self._diagnoses += 1
        try:
            files = self.diagnose(self.evidence / f"hang-{self._diagnoses}")
        except OSError as failure:  # nothing can be written: that is then the likely cause, too
            return InfrastructureError(f"{error}; the diagnosis cannot be kept: {store.disk_error(failure, self.evidence)}")
        excerpt = self.splat(self.console_text())
        if excerpt is not None:
            message = f"{error}; the guest's kernel failed: {excerpt.splitlines()[0]}"
            return GuestPanic(message, hint=console.tail(self.console), evidence=files)
        if error.leader is not None:
            self.link.end_group(error.leader)
        return Hang(str(error), hint=f"read {files[0]}", evidence=files)

    def _stopped(self) -> str | None:
        """Why the guest cannot go on through no fault of its own, or None."""
        try:
            return self.paused()
        except InfrastructureError as failure:
            return failure.message
        except OSError as failure:  # the request to libvirt needs a few bytes in the guest's folder
            return store.disk_error(failure, self.facts.folder).message

    def _keep_console(self) -> tuple[Path, ...]:
        if not self.console.exists() or self.console.is_relative_to(self.evidence):
            return (self.console,) if self.console.exists() else ()
        self.evidence.mkdir(parents=True, exist_ok=True)
        copy = self.evidence / "console.log"
        shutil.copyfile(self.console, copy)
        return (copy,)
