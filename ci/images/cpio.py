# SPDX-License-Identifier: Apache-2.0
"""Writes a cpio archive in the kernel's initramfs format ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).

Everything belongs to root and has no time, so that the same input gives the same bytes, whoever makes it.
"""

from __future__ import annotations

import stat
from io import BytesIO

_MAGIC = "070701"


class Archive:
    """An archive that grows entry by entry; parents must be added before what lies in them."""

    def __init__(self) -> None:
        self._out = BytesIO()
        self._inode = 0

    def folder(self, name: str, mode: int = 0o755) -> None:
        self._entry(name, stat.S_IFDIR | mode, b"", links=2)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._entry(name, stat.S_IFCHR | mode, b"", device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive, padded to 512 bytes."""
        self._entry("TRAILER!!!", 0, b"")
        self._pad(512)
        return self._out.getvalue()

    def _entry(self, name: str, mode: int, data: bytes, links: int = 1, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
        self._out.write((_MAGIC + "".join(f"{field:08x}" for field in fields)).encode() + encoded)
        self._pad(4)
        self._out.write(data)
        self._pad(4)

    def _pad(self, to: int) -> None:
        self._out.write(b"\0" * (-self._out.tell() % to))
