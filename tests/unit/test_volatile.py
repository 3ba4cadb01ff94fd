# SPDX-License-Identifier: Apache-2.0
"""The disk with a volatile cache, asked as QEMU asks it."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ci.errors import InfrastructureError
from ci.vm import volatile
from ci.vm.domain import _disk
from ci.vm.volatile import VolatileDisk

SIZE = 1 << 20


class Client:
    """A connected NBD client."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        assert self.take(18)[:16] == b"NBDMAGICIHAVEOPT"
        self.socket.sendall(struct.pack(">I", 3))
        for option, words in ((8, b""), (7, struct.pack(">IH", 0, 0))):  # structured replies, which it has not; then GO
            self.socket.sendall(b"IHAVEOPT" + struct.pack(">II", option, len(words)) + words)
        refused = struct.unpack(">QIII", self.take(20))
        assert refused[1:3] == (8, (1 << 31) + 1)
        assert struct.unpack(">QIII", self.take(20))[2:] == (3, 12)
        self.size = struct.unpack(">HQH", self.take(12))[1]
        assert struct.unpack(">QIII", self.take(20))[2:] == (1, 0)

    def take(self, size: int) -> bytes:
        return volatile._exactly(self.socket, size)

    def ask(self, command: int, offset: int = 0, data: bytes = b"", length: int = 0) -> bytes:
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, 7, offset, length or len(data)) + data)
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        assert (magic, handle) == (0x67446698, 7)
        if error:
            raise OSError(error, "refused")
        return self.take(length) if command == 0 else b""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "v.raw"
    file.write_bytes(bytes(SIZE))
    return file


@pytest.fixture
def served(path: Path) -> Iterator[VolatileDisk]:
    disk = VolatileDisk(path)
    yield disk
    disk.close()
    assert list(path.parent.iterdir()) == []


def test_what_was_flushed_outlives_the_power_and_the_rest_may_not(served: VolatileDisk, path: Path) -> None:
    fates = set()
    for seed in range(30):
        client = Client(served.socket)
        assert client.size == SIZE
        client.ask(1, 0, b"f" * 4096)
        client.ask(3)
        client.ask(1, 8192, b"o" * 1024)
        assert client.ask(0, 8192, length=1024) == b"o" * 1024  # what was written is read, flushed or not
        client.socket.close()
        assert served.cut(random.Random(seed))[0] == 1
        data = path.read_bytes()
        assert data[:4096] == b"f" * 4096
        fates.add(data[8192:9216].count(b"o"))
        again = Client(served.socket)
        assert again.ask(0, 8192, length=1024) == data[8192:9216]  # the next guest sees what is left
        again.ask(1, 8192, bytes(1024))
        again.ask(3)
        again.socket.close()
    assert {0, 512, 1024} <= fates  # lost, torn, kept


def test_a_disk_that_lies_loses_what_was_flushed(path: Path) -> None:
    disk = VolatileDisk(path, lies=True)
    lost = 0
    for seed in range(20):
        client = Client(disk.socket)
        client.ask(1, seed * 512, b"f" * 512)
        client.ask(3)
        client.socket.close()
        disk.cut(random.Random(seed))
        lost += path.read_bytes()[seed * 512 : seed * 512 + 512] == bytes(512)
    disk.close()
    assert lost > 0


def test_an_unknown_request_is_refused(served: VolatileDisk) -> None:
    client = Client(served.socket)
    with pytest.raises(OSError, match="refused"):
        client.ask(9)
    client.socket.close()


def test_no_power_cut_while_a_guest_has_the_disk(served: VolatileDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volatile, "_SETTLE_SECONDS", 0.05)
    client = Client(served.socket)
    with pytest.raises(InfrastructureError, match="a guest still uses the disk"):
        served.cut(random.Random(1))
    client.socket.close()


def test_the_domain_names_the_disks_server(path: Path) -> None:
    devices = ET.Element("devices")
    _disk(devices, "vdd", path, "raw", "serial", read_only=False, cache="writeback", server=path.with_suffix(".sock"))
    disk = devices[0]
    assert disk.get("type") == "network"
    host = disk.find("source/host")
    assert host is not None and host.get("socket") == str(path.with_suffix(".sock"))
