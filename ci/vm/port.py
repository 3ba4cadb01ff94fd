# SPDX-License-Identifier: Apache-2.0
"""Commands and files over a guest's virtio-serial port; ci/vm/inside.py is the other end and says what a frame is.

No login and no cipher: a restored guest answers here at once. Its kernel takes what arrives in small pieces, so that a large file is about
as slow here as with scp; such a file goes by a disk (ci/vm/mail.py).
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ci.vm.channel import POLL_SECONDS, Lost, OnLine, Running
from ci.vm.inside import BLOCK, HEADER, HELLO, TOKEN

_RECEIVE = 1 << 18
# A guest that takes nothing for so long does not run any more.
_SEND_SECONDS = 30.0


class Refused(Exception):
    """The guest answered that it cannot; `words` are its kernel's."""


class Channel:
    """One exchange on a port: what has arrived for it, and whether it is over."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.changed = threading.Condition()
        self.frames: list[tuple[bytes, bytes]] = []
        self.lost = ""

    def add(self, kind: bytes, payload: bytes) -> None:
        with self.changed:
            self.frames.append((kind, payload))
            self.changed.notify_all()

    def lose(self, why: str) -> None:
        with self.changed:
            self.lost = why
            self.changed.notify_all()

    def take(self, seconds: float) -> list[tuple[bytes, bytes]]:
        """What has arrived since the last look; waits up to `seconds` where that is nothing."""
        with self.changed:
            if not self.frames and not self.lost and seconds:
                self.changed.wait(seconds)
            frames, self.frames = self.frames, []
        if not frames and self.lost:
            raise Lost(self.lost)
        return frames


class PortPing:
    """A sign of life that was asked for."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._channel: Channel | None = port.open(b"B", {})

    def answered(self) -> bool:
        if self._channel is not None and self._channel.take(0):
            self._port.forget(self._channel)
            self._channel = None
        return self._channel is None


class PortCommand(Running):
    """A command over a port."""

    def __init__(self, port: Port, argv: Sequence[str], on_line: OnLine | None = None) -> None:
        super().__init__(argv, on_line)
        self._port = port
        self._leader: int | None = None
        self._code: int | None = None
        self._channel = port.open(b"X", {"argv": list(argv)})

    def over(self) -> bool:
        for kind, payload in self._channel.take(0):
            if kind == b"O":
                self.stdout.add(payload)
            elif kind == b"S":
                self.stderr.add(payload)
            elif kind == b"P":
                self._leader = int(payload)
            elif kind == b"Z":
                self._code = int(json.loads(payload)["code"])
        return self._code is not None

    def pause(self) -> None:
        with self._channel.changed:
            if not self._channel.frames and not self._channel.lost:
                self._channel.changed.wait(POLL_SECONDS)

    def code(self) -> int:
        assert self._code is not None
        return self._code

    def close(self) -> None:
        self._port.forget(self._channel)

    @property
    def leader(self) -> int | None:
        return self._leader


class Port:
    """A connection to the port of one guest. Raises Lost where nobody answers there, or not any more."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._channels: dict[int, Channel] = {}
        self._next = 1
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._ended = ""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise Lost(f"the guest's port cannot be reached: {error}") from error

    def greet(self, seconds: float) -> None:
        """Wait until the guest's end answers; what an earlier connection left on the way is thrown away."""
        hello = HELLO + secrets.token_hex(TOKEN // 2).encode()
        seen = b""
        end = time.monotonic() + seconds
        try:
            self._socket.sendall(hello)
            while hello not in seen:
                self._socket.settimeout(max(0.01, end - time.monotonic()))
                data = self._socket.recv(_RECEIVE)
                if not data:
                    raise Lost("the guest's port was closed")
                seen += data
                if time.monotonic() > end:
                    raise Lost(f"the guest's port did not answer within {seconds:g} s")
        except OSError as error:
            self.close()
            raise Lost(f"the guest's port did not answer within {seconds:g} s: {error}") from error
        except Lost:
            self.close()
            raise
        self._socket.settimeout(_SEND_SECONDS)
        threading.Thread(target=self._receive, args=(seen.partition(hello)[2],), daemon=True).start()

    @property
    def usable(self) -> bool:
        """False once the connection has ended."""
        return not self._ended

    def open(self, kind: bytes, request: dict[str, Any]) -> Channel:
        """Begin an exchange with one frame."""
        with self._lock:
            if self._ended:
                raise Lost(self._ended)
            channel = Channel(self._next)
            self._next += 1
            self._channels[channel.number] = channel
        self.send(channel, kind, json.dumps(request).encode())
        return channel

    def send(self, channel: Channel, kind: bytes, payload: bytes = b"") -> None:
        try:
            with self._sending:
                self._socket.sendall(HEADER.pack(channel.number, kind, len(payload)) + payload)
        except OSError as error:
            raise Lost(f"the guest's port has ended: {error}") from error

    def forget(self, channel: Channel) -> None:
        """The exchange is over; what still comes for it is dropped."""
        with self._lock:
            self._channels.pop(channel.number, None)

    def ask(self, kind: bytes, request: dict[str, Any], *, deadline: float) -> dict[str, Any]:
        """One request and its answer. Raises Refused, and Lost also where `deadline` in seconds passes."""
        channel = self.open(kind, request)
        try:
            return self._answer(channel, deadline)
        finally:
            self.forget(channel)

    def ping(self) -> PortPing:
        """Ask the agent for a sign of life, without waiting for it."""
        return PortPing(self)

    def put(self, local: Path, remote: str, *, deadline: float) -> None:
        """Copy a file into the guest as a whole. `deadline` in seconds is for the answer at the end."""
        info = local.stat()
        channel = self.open(b"W", {"path": remote, "mode": oct(info.st_mode & 0o7777)[2:]})
        pack = zlib.compressobj(1)
        try:
            with open(local, "rb") as file:
                while block := file.read(BLOCK):
                    if data := pack.compress(block):
                        self.send(channel, b"D", data)
                    if channel.frames:  # refused in the middle: a full disk
                        break
            self.send(channel, b"D", pack.flush())
            self.send(channel, b"E")
            size = self._answer(channel, deadline)["size"]
        finally:
            self.forget(channel)
        if size != info.st_size:
            raise Refused(f"{size} of {info.st_size} bytes arrived")

    def get(self, remote: str, local: Path, *, deadline: float) -> None:
        """Copy a file out of the guest into `local`. `deadline` in seconds is for each silence."""
        channel = self.open(b"R", {"path": remote})
        try:
            with open(local, "wb") as file:
                answer = self._answer(channel, deadline, file.write)
            local.chmod(int(answer["mode"]))
        finally:
            self.forget(channel)

    def _answer(self, channel: Channel, deadline: float, data: Any = None) -> dict[str, Any]:
        end = time.monotonic() + deadline
        while True:
            for kind, payload in channel.take(POLL_SECONDS):
                end = time.monotonic() + deadline
                if kind == b"O" and data is not None:
                    data(payload)
                elif kind == b"F":
                    problem = json.loads(payload)
                    raise Refused(f"{problem['words']}: {problem['file']}" if problem["file"] else problem["words"])
                elif kind == b"Z":
                    answer: dict[str, Any] = json.loads(payload)
                    return answer
            if time.monotonic() > end:
                raise Lost(f"no answer within {deadline:g} s")

    def close(self) -> None:
        """Hang up; commands that still run are ended by the guest."""
        self._end("the connection was closed")
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that receives
        except OSError:
            pass  # the other end was quicker
        self._socket.close()

    def _end(self, why: str) -> None:
        with self._lock:
            self._ended = self._ended or why
            channels = list(self._channels.values())
        for channel in channels:
            channel.lose(why)

    def _receive(self, begun: bytes) -> None:
        buffer = bytearray(begun)
        while True:
            while len(buffer) >= HEADER.size:
                number, kind, length = HEADER.unpack_from(buffer)
                if len(buffer) < HEADER.size + length:
                    break
                payload = bytes(buffer[HEADER.size : HEADER.size + length])
                del buffer[: HEADER.size + length]
                with self._lock:
                    channel = self._channels.get(number)
                if channel is not None:
                    channel.add(kind, payload)
            try:
                data = self._socket.recv(_RECEIVE)
            except TimeoutError:
                continue  # it has nothing to say; the limit is for what is sent
            except OSError as error:
                self._end(f"the guest's port has ended: {error}")
                return
            if not data:
                self._end("the guest's port has ended")
                return
            buffer += data
