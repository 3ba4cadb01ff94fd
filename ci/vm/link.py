# SPDX-License-Identifier: Apache-2.0
"""The two ways into a guest: SSH, which every guest has, and the virtio-serial port, where the agent in the guest runs."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from ci.vm.channel import Command, Expired, Lost, OnLine, Running
from ci.vm.connect import banner_socket, connect
from ci.vm.keys import Keys
from ci.vm.port import Port, PortCommand, Refused

if TYPE_CHECKING:
    import fabric
    import paramiko

_KILL_SECONDS = 10.0
_PARENT_SECONDS = 30.0


class Ping(Protocol):
    """A question that any guest answers which runs at all."""

    def answered(self) -> bool: ...


class Link(Protocol):
    """A way into a guest. All raise Lost where the guest does not answer any more; `put` and `get` Refused where it says no."""

    def command(self, argv: Sequence[str], on_line: OnLine | None = None) -> Running: ...
    def put(self, local: Path, remote: str, deadline: float) -> None:
        """As a whole, with its mode; parents are made. `deadline` in seconds is for each block or answer."""
        ...

    def get(self, remote: str, local: Path, deadline: float) -> None: ...
    def end_group(self, leader: int) -> None:
        """Kill a process group. What cannot be killed stays."""
        ...

    def ping(self) -> Ping:
        """Ask for a sign of life, without waiting for it."""
        ...

    def close(self) -> None:
        """Hang up; the guest goes on."""
        ...


def second_connection(port: int, keys: Keys, seconds: float) -> fabric.Connection | None:
    """Another SSH connection; None where SSH does not answer in time."""
    import paramiko

    greeted = banner_socket(port, seconds)
    try:
        return connect(port, keys, greeted, seconds) if greeted is not None else None
    except (OSError, EOFError, paramiko.SSHException):
        return None


class SshLink:
    """One connection, kept for all commands, and SFTP over it."""

    def __init__(self, connection: fabric.Connection, port: int, keys: Keys) -> None:
        self.connection = connection
        self._port = port
        self._keys = keys

    def command(self, argv: Sequence[str], on_line: OnLine | None = None) -> Running:
        transport = self.connection.transport
        if transport is None:
            raise Lost("the SSH connection was closed")
        return Command(transport, argv, on_line)

    def put(self, local: Path, remote: str, deadline: float) -> None:
        import paramiko

        part = f"{remote}.vexci-part"
        parent = posixpath.dirname(remote)
        try:
            files = self._sftp(deadline)
            if parent and not self._exists(parent):
                made = self.command(["mkdir", "-p", parent]).wait(deadline=_PARENT_SECONDS, silence=None, watch=lambda: None)
                if not made.ok:
                    raise Refused(made.stderr.strip())
            files.put(str(local), part)  # confirms the size
            files.chmod(part, local.stat().st_mode & 0o7777)
            files.posix_rename(part, remote)
        except (OSError, EOFError, paramiko.SSHException, Expired) as error:
            raise self._meaning(error) from error

    def get(self, remote: str, local: Path, deadline: float) -> None:
        import paramiko

        try:
            self._sftp(deadline).get(remote, str(local))
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._meaning(error) from error

    def _meaning(self, error: Exception) -> Exception:
        """Either the connection is lost, or the guest answered that it cannot (no space, no such file)."""
        transport = self.connection.transport
        words = getattr(error, "strerror", "") or str(error) or type(error).__name__
        if transport is not None and transport.is_active() and isinstance(error, OSError):
            return Refused(words)
        return Lost(words)

    def _sftp(self, seconds: float) -> paramiko.SFTPClient:
        files = cast("paramiko.SFTPClient", self.connection.sftp())
        files.sock.settimeout(seconds)
        return files

    def _exists(self, path: str) -> bool:
        try:
            self.connection.sftp().stat(path)
        except FileNotFoundError:
            return False
        return True

    def end_group(self, leader: int) -> None:
        connection = second_connection(self._port, self._keys, _KILL_SECONDS)
        if connection is None or connection.transport is None:
            return
        try:
            Command(connection.transport, _kill(leader)).wait(deadline=_KILL_SECONDS, silence=None, watch=lambda: None)
        except (Lost, Expired):
            return  # the guest does not answer; the Hang that is raised says so already
        finally:
            connection.close()

    def ping(self) -> Ping:
        return SshPing(self.connection)

    def close(self) -> None:
        with suppress(EOFError, OSError):  # closing SFTP speaks to a guest that may be dead
            self.connection.close()


class SshPing:
    """A request that no server knows and every server answers (RFC 4254, 4)."""

    def __init__(self, connection: fabric.Connection) -> None:
        self._answered = threading.Event()
        self._transport = connection.transport
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        import paramiko

        if self._transport is not None:
            with suppress(EOFError, OSError, paramiko.SSHException):  # its end is seen by who uses the connection
                self._transport.global_request("keepalive@vexci", wait=True)
        self._answered.set()

    def answered(self) -> bool:
        return self._answered.is_set()


class PortLink:
    """The virtio-serial port; commands run side by side on it."""

    def __init__(self, port: Port) -> None:
        self.port = port

    def command(self, argv: Sequence[str], on_line: OnLine | None = None) -> Running:
        return PortCommand(self.port, argv, on_line)

    def put(self, local: Path, remote: str, deadline: float) -> None:
        self.port.put(local, remote, deadline=deadline)

    def get(self, remote: str, local: Path, deadline: float) -> None:
        self.port.get(remote, local, deadline=deadline)

    def end_group(self, leader: int) -> None:
        with suppress(Lost, Expired):  # the Hang that is raised says already that the guest does not answer
            self.command(_kill(leader)).wait(deadline=_KILL_SECONDS, silence=None, watch=lambda: None)

    def ping(self) -> Ping:
        return self.port.ping()

    def close(self) -> None:
        self.port.close()


def _kill(leader: int) -> list[str]:
    return ["sh", "-c", f"kill -s KILL -- -{leader}"]
