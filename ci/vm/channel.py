# SPDX-License-Identifier: Apache-2.0
"""One command in a guest over an SSH transport: streamed, bounded in time and size, watched while it runs."""

from __future__ import annotations

import codecs
import re
import select
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci.errors import InfrastructureError

if TYPE_CHECKING:
    import paramiko

OUTPUT_LIMIT = 64 << 20
OPEN_SECONDS = 15.0
_POLL_SECONDS = 0.1
_BLOCK = 1 << 16
_LEADER = re.compile(rb"\Avexci-leader (\d+)\n")

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class GuestResult:
    """How a command in a guest ended. `seconds` is wall time on the host; 128 + N is a death by signal N."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.returncode == 0


class Expired(Exception):
    """The command outlived its deadline or its silence. It still runs; `leader` is its process group in the guest."""

    def __init__(self, sentence: str, leader: int | None) -> None:
        super().__init__(sentence)
        self.leader = leader


class Lost(Exception):
    """The connection ended before the command did."""


class _Stream:
    """Bytes of one stream, handed on as whole lines of text."""

    def __init__(self, on_line: OnLine | None) -> None:
        self.data = bytearray()
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def add(self, data: bytes) -> None:
        self.data += data
        if self._on_line is not None:
            *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
            for line in lines:
                self._on_line(line)

    def finish(self) -> str:
        if self._on_line is not None and self._rest:
            self._on_line(self._rest)
        return self.data.decode(errors="backslashreplace")


class Command:
    """A command that runs in the guest. The shell that starts it says its process id first, so that it can be ended."""

    def __init__(self, transport: paramiko.Transport, argv: Sequence[str], on_line: OnLine | None = None) -> None:
        import paramiko

        self._argv = tuple(argv)
        self._begin = self._moved = time.monotonic()
        self._stdout, self._stderr = _Stream(on_line), _Stream(None)
        self._leader: int | None = None
        try:
            self._channel = transport.open_session(timeout=OPEN_SECONDS)
            self._channel.exec_command(f"echo vexci-leader $$ >&2; {shlex.join(argv)}; exit $?")
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Lost(str(error) or type(error).__name__) from error

    def wait(self, *, deadline: float, silence: float | None, watch: Callable[[], None]) -> GuestResult:
        """Wait for the end. `watch` is called ten times a second and may raise. Raises Expired and Lost."""
        try:
            while not self._ended():
                watch()
                self._check_time(deadline, silence)
                # Data, end of file and closing all make the channel's descriptor readable.
                select.select([self._channel], [], [], _POLL_SECONDS)
            code = self._channel.recv_exit_status()
        finally:
            self._channel.close()
        if code == -1:  # paramiko's word for: the connection ended, no exit status ever came
            raise Lost("the SSH connection ended")
        return GuestResult(self._argv, code, self._stdout.finish(), self._errors(), time.monotonic() - self._begin)

    def _ended(self) -> bool:
        """Take what has arrived; True once the end is known and everything was taken."""
        channel = self._channel
        # Looked at before the data is taken: what was sent before the end has then arrived.
        over = channel.closed or (channel.eof_received and channel.exit_status_ready())
        moved = False
        while channel.recv_ready():
            self._stdout.add(channel.recv(_BLOCK))
            moved = True
        while channel.recv_stderr_ready():
            self._stderr.add(channel.recv_stderr(_BLOCK))
            moved = True
        if moved:
            self._moved = time.monotonic()
        if len(self._stdout.data) + len(self._stderr.data) > OUTPUT_LIMIT:
            raise InfrastructureError(f"{self._argv[0]} in the guest printed more than {OUTPUT_LIMIT >> 20} MiB and was stopped")
        return bool(over)

    def _check_time(self, deadline: float, silence: float | None) -> None:
        now = time.monotonic()
        words = shlex.join(self._argv)
        if now - self._begin > deadline:
            raise Expired(f"no end within {deadline:g} s in the guest: {words}", self._find_leader())
        if silence is not None and now - self._moved > silence:
            raise Expired(f"nothing printed for {silence:g} s in the guest: {words}", self._find_leader())

    def _find_leader(self) -> int | None:
        found = _LEADER.match(self._stderr.data)
        return int(found.group(1)) if found else None

    def _errors(self) -> str:
        return _LEADER.sub(b"", bytes(self._stderr.data), count=1).decode(errors="backslashreplace")
