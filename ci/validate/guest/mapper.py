# SPDX-License-Identifier: Apache-2.0
"""Loop devices and device-mapper tables by their ioctls (linux/loop.h, linux/dm-ioctl.h): the guest needs no dmsetup."""

from __future__ import annotations

import fcntl
import os
import struct
import time

from .machine import throwaway

SECTOR = 512
_LOOP_SET_FD, _LOOP_CLR_FD, _LOOP_GET_FREE = 0x4C00, 0x4C01, 0x4C82
# struct dm_ioctl: version[3], data_size, data_start, target_count, open_count, flags, event_nr, padding, dev, name[128], uuid[129].
_HEAD = struct.Struct("=3I2IIiIIIQ128s129s7x")
# struct dm_target_spec: sector_start, length, status, next, target_type[16].
_TARGET = struct.Struct("=QQiI16s")
_ROOM = 16384
_CREATE, _REMOVE, _SUSPEND, _LOAD, _MESSAGE = 3, 4, 6, 9, 14
_SUSPENDED, _SKIP_LOCKFS = 1 << 1, 1 << 10
_GONE_SECONDS = 5.0


def sectors(path: str) -> int:
    """The size of a file or block device in sectors of 512 bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END) // SECTOR
    finally:
        os.close(descriptor)


class Loop:
    """A loop device over a file, until `close`."""

    def __init__(self, file: str) -> None:
        backing = os.open(file, os.O_RDWR)
        try:
            with open("/dev/loop-control", "rb+", buffering=0) as control:
                self.path = f"/dev/loop{fcntl.ioctl(control, _LOOP_GET_FREE)}"
            with open(self.path, "rb+", buffering=0) as device:
                fcntl.ioctl(device, _LOOP_SET_FD, backing)
        finally:
            os.close(backing)

    def close(self) -> None:
        """Unbind it; what is open lets it go later."""
        with open(self.path, "rb", buffering=0) as device:
            fcntl.ioctl(device, _LOOP_CLR_FD)


class Mapped:
    """A mapped device with one table line, which can be replaced while it is in use.

    `size` is in sectors; `table` is the target's name and its parameters. `path` is the device's node, which the kernel makes.
    """

    def __init__(self, name: str, size: int, table: str) -> None:
        if not throwaway():
            raise RuntimeError("devices are mapped in throwaway guests only")
        self.name = name
        self.size = size
        self.path = f"/dev/dm-{os.minor(_ask(name, _CREATE))}"
        try:
            self._load(table)
            _ask(name, _SUSPEND)
        except OSError:
            self.close()
            raise

    def replace(self, table: str) -> None:
        """Another table, at once: what the filesystem has not written yet goes through the new one."""
        self._load(table)
        _ask(self.name, _SUSPEND, flags=_SUSPENDED | _SKIP_LOCKFS)  # SKIP_LOCKFS: else the filesystem is synced first
        _ask(self.name, _SUSPEND)

    def message(self, text: str) -> None:
        """A message to the target (at sector 0)."""
        _ask(self.name, _MESSAGE, struct.pack("=Q", 0) + text.encode() + b"\0")

    def close(self) -> None:
        """Remove the device; waits for the last who has it open to let it go."""
        end = time.monotonic() + _GONE_SECONDS
        while True:
            try:
                _ask(self.name, _REMOVE)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _load(self, table: str) -> None:
        target, _, parameters = table.partition(" ")
        text = parameters.encode() + b"\0"
        room = -(-(_TARGET.size + len(text)) // 8) * 8
        spec = _TARGET.pack(0, self.size, 0, room, target.encode()) + text
        _ask(self.name, _LOAD, spec.ljust(room, b"\0"), targets=1)


def _ask(name: str, command: int, payload: bytes = b"", *, flags: int = 0, targets: int = 0) -> int:
    """An ioctl on /dev/mapper/control; returns the device's number. The kernel's packing of it: huge_encode_dev."""
    buffer = bytearray(_ROOM)
    _HEAD.pack_into(buffer, 0, 4, 0, 0, _ROOM, _HEAD.size, targets, 0, flags, 0, 0, 0, name.encode(), b"")
    buffer[_HEAD.size : _HEAD.size + len(payload)] = payload
    with open("/dev/mapper/control", "rb+", buffering=0) as control:
        fcntl.ioctl(control, 3 << 30 | _HEAD.size << 16 | 0xFD << 8 | command, buffer, True)
    number = int(_HEAD.unpack_from(buffer)[10])
    return os.makedev((number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00))
