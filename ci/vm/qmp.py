# SPDX-License-Identifier: Apache-2.0
"""A minimal client for QEMU's monitor protocol: enough to hear that a guest has died inside QEMU."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

_TIMEOUT = 2.0


class Monitor:
    """A connection to a QMP socket. Raises OSError where QEMU is gone or does not answer within 2 s."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT)
        self._buffer = b""
        try:
            self._socket.connect(str(path))
            self._message()  # the greeting
            self.command("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def command(self, name: str) -> dict[str, Any]:
        """Run a command and return its answer; events that arrive meanwhile are passed over."""
        self._socket.sendall(json.dumps({"execute": name}).encode() + b"\n")
        while True:
            message = self._message()
            if "return" in message:
                answer: dict[str, Any] = message["return"]
                return answer
            if "error" in message:
                raise OSError(message["error"]["desc"])

    def status(self) -> str:
        """QEMU's run state, such as `running`, `paused`, `internal-error`."""
        return str(self.command("query-status")["status"])

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("QEMU closed its monitor")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
