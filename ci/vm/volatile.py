# SPDX-License-Identifier: Apache-2.0
"""A disk with a volatile write cache, as real disks have: what was written and not flushed may be gone after a power cut.

QEMU reaches it as an NBD server on a UNIX socket (the NBD protocol, doc/proto.md of the NetworkBlockDevice project: fixed newstyle
handshake, simple replies). The file holds what was flushed; a second one beside it also what was not.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import threading
from pathlib import Path

from ci.errors import InfrastructureError
from ci.vm.disks import Disk

SECTOR = 512
# Of the writes that were not flushed, one in so many is torn between sectors; the others are half kept, half lost.
_ONE_IN_TORN = 8
_SETTLE_SECONDS = 10.0
_HELLO = struct.pack(">QQH", 0x4E42444D41474943, 0x49484156454F5054, 3)
_OPTION = struct.Struct(">QII")
_REQUEST, _REPLY = struct.Struct(">IHHQQI"), struct.Struct(">IIQ")
_OPTION_REPLY = struct.Struct(">QIII")
_OPTION_MAGIC, _REQUEST_MAGIC, _REPLY_MAGIC = 0x3E889045565A9, 0x25609513, 0x67446698
_GO, _ABORT = 7, 2
_ACK, _INFO, _UNSUPPORTED = 1, 3, (1 << 31) + 1
_HAS_FLAGS, _CAN_FLUSH = 1, 4
_READ, _WRITE, _CLOSE, _FLUSH = range(4)
_EINVAL = 22


class VolatileDisk:
    """Serves the file `path` (which exists, and has its size) on the socket `path`.sock, for one guest after the other.

    `lies`: flushes do nothing; whatever relies on them loses data at the next cut.
    """

    def __init__(self, path: Path, *, lies: bool = False) -> None:
        self.path = path
        self.socket = path.with_suffix(".sock")
        self._lies = lies
        self._size = path.stat().st_size
        self._durable = os.open(path, os.O_RDWR)
        current = path.with_suffix(".current")
        shutil.copyfile(path, current)
        self._current = os.open(current, os.O_RDWR)
        self._open_writes: list[tuple[int, bytes]] = []
        self._idle = threading.Event()
        self._idle.set()
        self._failure: BaseException | None = None
        self._server = socket.socket(socket.AF_UNIX)
        self.socket.unlink(missing_ok=True)
        self._server.bind(str(self.socket))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve, name="volatile-disk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no more, and remove the disk."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(_SETTLE_SECONDS)
        os.close(self._durable)
        os.close(self._current)
        self.socket.unlink(missing_ok=True)
        self.path.with_suffix(".current").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @property
    def disk(self) -> Disk:
        """As a guest is given it."""
        return Disk(self.path, "writeback", self.socket)

    def cut(self, dice: random.Random) -> tuple[int, int]:
        """The power is lost, after the guest has ended: of the writes that were not flushed each is kept, torn or lost.

        Returns how many they were, and of how many the disk has something. Raises InfrastructureError where a guest still uses it.
        """
        if not self._idle.wait(_SETTLE_SECONDS):
            raise InfrastructureError(f"a guest still uses the disk {self.path}")
        if self._failure is not None:
            raise InfrastructureError(f"the disk {self.path} could not be served: {self._failure}")
        kept = 0
        for offset, data in self._open_writes:
            fate = dice.randrange(2 * _ONE_IN_TORN)
            if fate <= _ONE_IN_TORN:
                sectors = len(data) // SECTOR if fate < _ONE_IN_TORN else dice.randrange(len(data) // SECTOR + 1)
                os.pwrite(self._durable, data[: sectors * SECTOR], offset)
                kept += 1
        for offset, data in self._open_writes:
            os.pwrite(self._current, os.pread(self._durable, len(data), offset), offset)
        total = len(self._open_writes)
        self._open_writes.clear()
        return total, kept

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed: nobody wants the disk any more
            self._idle.clear()
            try:
                with client:
                    self._talk(client)
            except (EOFError, ConnectionError):
                pass  # the guest was destroyed, which is what this disk is for
            except OSError as error:
                self._failure = error
            finally:
                self._idle.set()

    def _talk(self, client: socket.socket) -> None:
        client.sendall(_HELLO)
        _exactly(client, 4)
        while True:
            _, option, length = _OPTION.unpack(_exactly(client, _OPTION.size))
            _exactly(client, length)
            if option == _ABORT:
                return
            if option != _GO:
                client.sendall(_OPTION_REPLY.pack(_OPTION_MAGIC, option, _UNSUPPORTED, 0))
                continue
            about = struct.pack(">HQH", 0, self._size, _HAS_FLAGS | _CAN_FLUSH)
            client.sendall(_OPTION_REPLY.pack(_OPTION_MAGIC, option, _INFO, len(about)) + about)
            client.sendall(_OPTION_REPLY.pack(_OPTION_MAGIC, option, _ACK, 0))
            break
        while self._answer(client):
            pass

    def _answer(self, client: socket.socket) -> bool:
        """One request; False where the client says goodbye."""
        magic, _, command, handle, offset, length = _REQUEST.unpack(_exactly(client, _REQUEST.size))
        if magic != _REQUEST_MAGIC:
            raise ConnectionError("no NBD request")
        data, error = b"", 0
        if command == _WRITE:
            self._write(offset, _exactly(client, length))
        elif command == _READ:
            data = os.pread(self._current, length, offset)
        elif command == _FLUSH:
            self._flush()
        elif command == _CLOSE:
            return False
        else:
            error = _EINVAL
        client.sendall(_REPLY.pack(_REPLY_MAGIC, error, handle) + data)
        return True

    def _write(self, offset: int, data: bytes) -> None:
        os.pwrite(self._current, data, offset)
        self._open_writes.append((offset, data))

    def _flush(self) -> None:
        if self._lies:
            return
        for offset, data in self._open_writes:
            os.pwrite(self._durable, data, offset)
        self._open_writes.clear()


def _exactly(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
