# SPDX-License-Identifier: Apache-2.0
"""Reads .rpm files without rpm: their names, and the programs in them.

Format: rpm.org, "RPM V4 package format": a lead, a signature header (padded to 8 bytes), the header, a compressed cpio archive ("newc").
"""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

_LEAD, _LEAD_MAGIC = 96, b"\xed\xab\xee\xdb"
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
_NAME, _VERSION, _RELEASE, _COMPRESSOR = 1000, 1001, 1002, 1125
_CPIO_MAGIC, _CPIO_HEAD, _CPIO_END = b"070701", 110, "TRAILER!!!"


def identity(path: Path) -> tuple[str, str]:
    """Name and VERSION-RELEASE that the package says itself. ValueError where it is none."""
    texts, _ = _header(path.read_bytes())
    return texts[_NAME], f"{texts[_VERSION]}-{texts[_RELEASE]}"


def files(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Path, mode and bytes of every regular file in the package. ValueError where it is no package, or packed in another way than here."""
    data = path.read_bytes()
    texts, end = _header(data)
    compressor = texts.get(_COMPRESSOR, "gzip")
    if compressor != "gzip":
        raise ValueError(f"its files are packed by {compressor}, which is not read here")
    yield from _cpio(gzip.decompress(data[end:]))


def programs(path: Path) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of every executable below /usr/sbin and /usr/bin."""
    for name, mode, data in files(path):
        if name.startswith(("/usr/sbin/", "/usr/bin/")) and mode & 0o111:
            yield name, hashlib.sha256(data).hexdigest()


def _header(data: bytes) -> tuple[dict[int, str], int]:
    """The header's texts by their tag, and where the archive begins."""
    if data[:4] != _LEAD_MAGIC:
        raise ValueError("not an rpm")
    _, end = _section(data, _LEAD)
    return _section(data, -(-end // 8) * 8)


def _section(data: bytes, at: int) -> tuple[dict[int, str], int]:
    if data[at : at + 4] != _HEADER_MAGIC or len(data) < at + 16:
        raise ValueError("it has no header where one must be")
    count, size = struct.unpack_from(">II", data, at + 8)
    store = at + 16 + 16 * count
    if len(data) < store + size:
        raise ValueError("it ends within its header")
    texts = {}
    for number in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", data, at + 16 + 16 * number)
        if kind in (6, 8, 9):  # a text, texts, a text in languages: the first one counts
            texts[tag] = data[store + offset : data.index(b"\0", store + offset)].decode()
    return texts, store + size


def _cpio(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    at = 0
    while True:
        head = data[at : at + _CPIO_HEAD]
        if head[:6] != _CPIO_MAGIC or len(head) < _CPIO_HEAD:
            raise ValueError("its archive of files is damaged")
        mode, size, length = (int(head[place : place + 8], 16) for place in (14, 54, 94))
        begin = at + _CPIO_HEAD
        name = data[begin : begin + length - 1].decode()
        content = -(-(begin + length) // 4) * 4
        if name == _CPIO_END:
            return
        if mode & 0o170000 == 0o100000:
            yield "/" + name.removeprefix("./").lstrip("/"), mode, data[content : content + size]
        at = -(-(content + size) // 4) * 4
