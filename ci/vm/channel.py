# SPDX-License-Identifier: Apache-2.0
"""One command in a guest: streamed, bounded in time and size, watched while it runs. Here over SSH; ci/vm/port.py has another way."""

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
POLL_SECONDS = 0.1
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


class Stream:
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


class Running:
    """A command that runs in a guest, whatever the way to it. `leader` is its process group there, once that is known."""

    def __init__(self, argv: Sequence[str], on_line: OnLine | None) -> None:
        self.argv = tuple(argv)
        self.stdout, self.stderr = Stream(on_line), Stream(None)
        self.begin = self.moved = time.monotonic()

    @property
    def leader(self) -> int | None:
        raise AssertionError("each way has its own")

    def over(self) -> bool:
        """Take what has arrived; True once the end is known and everything was taken."""
        raise AssertionError("each way has its own")

    def pause(self) -> None:
        """Return when something has arrived, or after a tenth of a second."""
        raise AssertionError("each way has its own")

    def code(self) -> int:
        """The exit status; called when it is over. Raises Lost where there is none."""
        raise AssertionError("each way has its own")

    def errors(self) -> str:
        return self.stderr.finish()

    def close(self) -> None:
        """Let go of the way; called once, however the wait ended."""

    def wait(self, *, deadline: float, silence: float | None, watch: Callable[[], None]) -> GuestResult:
        """Wait for the end. `watch` is called ten times a second and may raise. Raises Expired and Lost."""
        try:
            while not self._looked():
                watch()
                self._check_time(deadline, silence)
                self.pause()
            code = self.code()
        finally:
            self.close()
        return GuestResult(self.argv, code, self.stdout.finish(), self.errors(), time.monotonic() - self.begin)

    def _looked(self) -> bool:
        before = len(self.stdout.data) + len(self.stderr.data)
        over = self.over()
        size = len(self.stdout.data) + len(self.stderr.data)
        if size > before:
            self.moved = time.monotonic()
        if size > OUTPUT_LIMIT:
            raise InfrastructureError(f"{self.argv[0]} in the guest printed more than {OUTPUT_LIMIT >> 20} MiB and was stopped")
        return over

    def _check_time(self, deadline: float, silence: float | None) -> None:
        now = time.monotonic()
        words = shlex.join(self.argv)
        if now - self.begin > deadline:
            raise Expired(f"no end within {deadline:g} s in the guest: {words}", self.leader)
        if silence is not None and now - self.moved > silence:
            raise Expired(f"nothing printed for {silence:g} s in the guest: {words}", self.leader)


class Command(Running):
    """Over SSH. The shell that starts it says its process id first, so that it can be ended."""

    def __init__(self, transport: paramiko.Transport, argv: Sequence[str], on_line: OnLine | None = None) -> None:
        import paramiko

        super().__init__(argv, on_line)
        try:
            self._channel = transport.open_session(timeout=OPEN_SECONDS)
            self._channel.exec_command(f"echo vexci-leader $$ >&2; {shlex.join(argv)}; exit $?")
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Lost(str(error) or type(error).__name__) from error

    def over(self) -> bool:
        channel = self._channel
        # Looked at before the data is taken: what was sent before the end has then arrived.
        over = channel.closed or (channel.eof_received and channel.exit_status_ready())
        while channel.recv_ready():
            self.stdout.add(channel.recv(_BLOCK))
        while channel.recv_stderr_ready():
            self.stderr.add(channel.recv_stderr(_BLOCK))
        return bool(over)

    def pause(self) -> None:
        # Data, end of file and closing all make the channel's descriptor readable.
        select.select([self._channel], [], [], POLL_SECONDS)

    def code(self) -> int:
        code: int = self._channel.recv_exit_status()
        if code == -1:  # paramiko's word for: the connection ended, no exit status ever came
            raise Lost("the SSH connection ended")
        return code

    def close(self) -> None:
        self._channel.close()

    @property
    def leader(self) -> int | None:
        found = _LEADER.match(self.stderr.data)
        return int(found.group(1)) if found else None

    def errors(self) -> str:
        return _LEADER.sub(b"", bytes(self.stderr.data), count=1).decode(errors="backslashreplace")
