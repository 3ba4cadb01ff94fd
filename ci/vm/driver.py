# SPDX-License-Identifier: Apache-2.0
"""The tool's side of libvirt: which URI a guest has, its private root folder, and requests to `agent.py`.

`private` is libvirt's embedded QEMU driver (`qemu:///embed?root=...`) with a root of its own for each guest: no daemon
runs, nothing is shared with other guests or with the machine's own libvirt, and removing the folder removes every
trace. A guest lives on without anybody connected to it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import process, store
from ci.errors import Hang, InfrastructureError, UsageError
from ci.vm.registry import AGENT

PRIVATE = "private"
# The longest socket path that libvirt makes under a root; sun_path holds 108 bytes with the final zero.
_LONGEST_SOCKET = "/lib/qemu/domain-1-" + 20 * "x" + "/monitor.sock"
_REQUEST_SECONDS = 60.0
_CAPABILITIES = Path("cache/qemu/capabilities")
_CPU_PROPERTIES = "cpu-unavailable-features"

# stdio_handler: no virtlogd. Ownership, cgroups and namespaces stay untouched, so that no rights on the host are needed
# or changed. With QEMU as the same user as this process, both see the same /dev/kvm; where they differ, libvirt
# probes QEMU again at every look-up, which takes over a minute.
_QEMU_CONF = """\
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
remember_owner = 0
dynamic_ownership = 0
"""


@dataclass(frozen=True)
class Driver:
    """One guest's way to libvirt: `root` is the private root folder (short: UNIX sockets live in it)."""

    uri: str
    root: Path

    def ask(self, operation: str, *, deadline: float = _REQUEST_SECONDS, **arguments: Any) -> dict[str, Any]:
        """Have libvirt do one thing; InfrastructureError with libvirt's own words where it does not."""
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="request-", dir=self.root) as folder:
            request = Path(folder) / "request.json"
            request.write_text(
                json.dumps({"uri": self.uri, "operation": operation, "accounts": f"{folder}/etc", "parent": os.getpid(), **arguments})
            )
            log, errors = Path(folder) / "answer.json", Path(folder) / "errors"
            try:
                done = process.run(
                    [sys.executable, "-I", AGENT, request],
                    limits=process.Limits(deadline),
                    log=log,
                    stderr=errors,
                    env={**os.environ, "LIBVIRT_LOG_OUTPUTS": f"2:file:{folder}/libvirt.log"},
                    what=f"libvirt ({operation})",
                )
            except Hang as error:  # not the product's
                raise InfrastructureError(error.message) from error
            words = done.error_text().strip().splitlines()[-3:]
            lines = done.text().strip().splitlines()
        if not lines:
            raise InfrastructureError(f"libvirt ({operation}): the helper gave no answer: {done.how}: {' / '.join(words)}")
        answer: dict[str, Any] = json.loads(lines[-1])
        if "error" in answer:
            raise InfrastructureError(f"libvirt ({operation}): {answer['error']}", hint=self._way_out(answer["error"]))
        return answer

    def _way_out(self, error: str) -> str:
        if "embed" in self.uri:
            return "./inv doctor looks at libvirt and QEMU"
        if "Permission denied" in error:
            return (
                f"QEMU runs as another user under {self.uri}: let VEXCI_STATE and VEXCI_CACHE be folders that it may enter, or set"
                " 'user' in that daemon's qemu.conf"
            )
        return f"the machine's uri is {self.uri}; without 'uri' the tool needs no daemon"


def driver(uri: str, root: Path) -> Driver:
    """The driver for a machine's `uri`: `private`, or any libvirt URI as it stands."""
    if uri != PRIVATE:
        return Driver(uri, root)
    longest = len(os.fsencode(root)) + len(_LONGEST_SOCKET)
    if longest > 107:
        raise UsageError(f"the path {root} is {longest - 107} bytes too long for sockets", hint="set VEXCI_STATE to a shorter folder")
    return Driver(f"qemu:///embed?root={root}", root)


def prepare(driver: Driver) -> None:
    """Make the private root with its configuration, and give it what libvirt learnt about QEMU for earlier guests."""
    conf = driver.root / "etc" / "qemu.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(_QEMU_CONF + (f'user = "+{os.getuid()}"\ngroup = "+{os.getgid()}"\n' if os.getuid() == 0 else ""))
    known = _shared_capabilities()
    if known.is_dir():
        shutil.copytree(known, driver.root / _CAPABILITIES, dirs_exist_ok=True)


def keep_capabilities(driver: Driver) -> None:
    """Keep what libvirt learnt about QEMU for the next guest. libvirt itself judges whether that still holds."""
    shared = _shared_capabilities()
    for file in (driver.root / _CAPABILITIES).glob("*.xml"):
        data = file.read_bytes()
        target = shared / file.name
        if not target.is_file() or target.read_bytes() != data:
            store.atomic_write(target, data)


def overlooked(uri: str) -> tuple[str, ...]:
    """What libvirt shall overlook of QEMU: by this name it reads 400 properties of the virtual CPU, one by one, which nobody looks at and
    which takes longer than all the rest of a restored guest's start. Only where libvirt has shown here that it knows the name, as it
    refuses others."""
    known = [file.read_text(errors="replace") for file in _shared_capabilities().glob("*.xml")] if uri == PRIVATE else []
    return (_CPU_PROPERTIES,) if any(f"<flag name='{_CPU_PROPERTIES}'/>" in text for text in known) else ()


def _shared_capabilities() -> Path:
    return store.cache_dir() / "libvirt" / f"capabilities-{os.getuid()}"
