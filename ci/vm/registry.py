# SPDX-License-Identifier: Apache-2.0
"""Which guests there are. Each has a folder `<state>/g/<id>/` with its facts, disks, sockets and libvirt's private root.

A guest is named by its UUID, which stands on QEMU's command line: so its process is found whatever was written down
before somebody was killed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from ci import leftovers, store
from ci.errors import InfrastructureError

# The program that talks to libvirt, as it stands on its command line.
AGENT = str(Path(__file__).with_name("agent.py"))
_KILL_SECONDS = 10.0


@dataclass(frozen=True)
class GuestFacts:
    """A guest as its folder describes it. `qemu` is its leftovers.owner_id, "" until it runs.

    `owner` is the tool process that started it, `project` the project's root, `kept` whether it outlives that process,
    `restored` whether it came from a memory snapshot and so has an agent on its port.
    """

    id: str
    name: str
    uuid: str
    uri: str
    port: int
    qemu: str
    owner: str
    project: str
    kept: bool
    console: str
    image: str
    kernel: str
    accelerator: str
    accelerator_reason: str
    started: str
    restored: bool = False

    @property
    def folder(self) -> Path:
        return folder_of(self.id)

    @property
    def console_socket(self) -> Path:
        """A UNIX socket with the serial console, for one person at a time."""
        return self.folder / "console.sock"

    @property
    def port_socket(self) -> Path:
        """A UNIX socket with the virtio-serial port, on which the guest takes commands."""
        return self.folder / "port.sock"

    @property
    def keys(self) -> Path:
        """The folder of the guest's own SSH keys."""
        return self.folder / "keys"

    @property
    def libvirt_root(self) -> Path:
        """Where libvirt's private driver keeps everything about this guest."""
        return libvirt_root_of(self.id)

    @property
    def alive(self) -> bool:
        """True while its QEMU runs."""
        return bool(self.qemu) and leftovers.alive(self.qemu)

    def write(self) -> None:
        """Put the facts into the guest's folder."""
        store.atomic_write(self.folder / "facts.json", json.dumps(asdict(self), indent=2) + "\n")


def folder_of(identifier: str) -> Path:
    return leftovers.state_dir() / "g" / identifier


def libvirt_root_of(identifier: str) -> Path:
    return folder_of(identifier) / "libvirt"


def listing() -> list[GuestFacts]:
    """All guests of this user, oldest first, also those whose QEMU is gone."""
    found = [facts for path in (leftovers.state_dir() / "g").glob("*/facts.json") if (facts := read(path)) is not None]
    return sorted(found, key=lambda facts: (facts.started, facts.id))


def read(path: Path) -> GuestFacts | None:
    """The facts in a file; None where the guest was taken down in this moment."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return GuestFacts(**values)


def find(name: str, project: Path) -> GuestFacts | None:
    """The kept guest of that name in that project, dead or alive."""
    for facts in reversed(listing()):
        if facts.kept and facts.name == name and facts.project == str(project):
            return facts
    return None


def find_running(name: str, project: Path) -> GuestFacts | None:
    """The newest guest of that project that runs now and is called so, or `<name>-<number>`; also one of a run that goes on."""
    for facts in reversed(listing()):
        base, _, number = facts.name.rpartition("-")
        if facts.project == str(project) and facts.alive and (facts.name == name or (base == name and number.isdigit())):
            return facts
    return None


def qemu_processes(uuid: str) -> list[psutil.Process]:
    """The QEMU processes (one or none) that run the guest with this UUID."""
    return _processes(lambda words: uuid in words and words[words.index(uuid) - 1] == "-uuid")


def _helpers(identifier: str) -> list[psutil.Process]:
    """libvirt's helpers that work for this guest, and what they have forked and is not yet QEMU."""
    inside = f"{folder_of(identifier)}/"
    return _processes(lambda words: AGENT in words and words[-1].startswith(inside))


def _processes(wanted: Callable[[list[str]], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if wanted(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # it ended, or it is not ours and so not a guest of ours
    return found


def remove(identifier: str, uuid: str) -> None:
    """End a guest and remove its folder. Works whatever state it is in, and twice.

    The process is ended rather than libvirt asked: the private libvirt root goes away with the folder.
    """
    # Helpers first in each round: what one of them starts in this moment is seen in the next.
    while processes := _helpers(identifier) + qemu_processes(uuid):
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + _KILL_SECONDS
        while (alive := [process for process in processes if not _ended(process)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        if alive:
            raise InfrastructureError(f"the guest's process {alive[0].pid} cannot be ended", hint=f"its folder is {folder_of(identifier)}")
    shutil.rmtree(folder_of(identifier), ignore_errors=True)


def _ended(process: psutil.Process) -> bool:
    """True also for a zombie: it holds nothing any more, and init may take seconds to collect it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def release(facts: dict[str, str]) -> None:
    """What becomes of a guest when its tool lets go of it or has died: a kept one lives on, any other ends."""
    known = read(folder_of(facts["id"]) / "facts.json")
    if known is None or not known.kept:
        remove(facts["id"], facts["uuid"])


leftovers.register("guest", release)
