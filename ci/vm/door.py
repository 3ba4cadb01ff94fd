# SPDX-License-Identifier: Apache-2.0
"""How the host gets in touch with the agent in a guest: on the port of one that boots, or of one that is being restored."""

from __future__ import annotations

import base64
import os
import threading
import time
from pathlib import Path

from ci.vm import inside
from ci.vm.channel import Expired, Lost
from ci.vm.link import SshLink
from ci.vm.port import Port, Refused
from ci.vm.seed import Files

# In memory: the guest's disk need not be asked for it.
AGENT = "/run/vexci-agent.py"
ENTROPY_BYTES = 256
_LOOK_SECONDS = 0.002


class Door:
    """Connects to a port while QEMU starts. The guest's kernel must find somebody connected when it wakes up: where
    nobody is, it tells the agent so, which then looks for a host only now and then."""

    def __init__(self, socket: Path, seconds: float) -> None:
        self._socket = socket
        self._end = time.monotonic() + seconds
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._port: Port | None = None
        self._problem = "libvirt made no socket for it"

    def watch(self) -> None:
        """Begin to wait for the socket."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, daemon=True)
            self._thread.start()

    def _wait(self) -> None:
        while not self._closed.is_set() and time.monotonic() < self._end:
            if self._socket.exists():
                try:
                    self._port = Port(self._socket, seconds=1.0)
                    return
                except Lost as error:  # it is bound, but nobody listens yet
                    self._problem = str(error)
            self._closed.wait(_LOOK_SECONDS)

    def enter(self, seconds: float) -> Port:
        """The port, once the agent behind it answers. Raises Lost where it does not."""
        if self._thread is not None:
            self._thread.join(seconds)
        port, self._port = self._port, None
        if port is None:
            raise Lost(self._problem)
        port.greet(seconds)
        return port

    def close(self) -> None:
        """End the wait where nobody has entered."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        if self._port is not None:
            self._port.close()


def start_agent(link: SshLink, socket: Path, *, deadline: float) -> Port:
    """Start the agent in a guest that answers over SSH, and connect. Raises Refused with the guest's words where that guest
    cannot run it (no Python, no virtio-serial), Lost where it does not answer."""
    link.put(Path(inside.__file__), AGENT, deadline)
    try:
        script = f"modprobe virtio_console; exec python3 {AGENT}"
        result = link.command(["sh", "-c", script]).wait(deadline=deadline, silence=None, watch=lambda: None)
    except Expired as error:
        raise Lost(str(error)) from error
    if not result.ok:
        raise Refused((result.stderr.strip().splitlines() or [f"exit {result.returncode}"])[-1])
    port = Port(socket, seconds=deadline)
    port.greet(deadline)
    return port


def become(port: Port, files: Files, hostname: str, *, deadline: float) -> None:
    """Make a restored guest another one than the snapshot and its other guests: time, randomness, names, keys."""
    request = {
        "time_ns": time.time_ns(),
        "entropy": base64.b64encode(os.urandom(ENTROPY_BYTES)).decode(),
        "hostname": hostname,
        "files": [[f"/{path}", oct(mode)[2:], text] for path, mode, text in files],
    }
    port.ask(b"I", request, deadline=deadline)
