# SPDX-License-Identifier: Apache-2.0
"""The ioctls of a collection of vectors (docs/format.md, 12.5, and the uapi header) with the standard library alone."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

DIMENSION_MAX, K_MAX, BATCH_BYTES = 2048, 1016, 16256
FLOAT32, EXCL, AFTER = 1, 1, 1
HEAD, SHAPE, FIND = struct.Struct("=IIIiII40x"), struct.Struct("=IIIIQQQQ16x"), struct.Struct("=IIIIQQQ24x")
SIZE = HEAD.size + BATCH_BYTES
CREATE, GET_SHAPE = 0x404056E1, 0x804056E2
SET, ADD, GET, REMOVE, SEARCH = 0xFFC056E3, 0xFFC056E4, 0xFFC056E5, 0xFFC056E6, 0xFFC056E7


@dataclass(frozen=True)
class Shape:
    """What a collection says of itself."""

    dimension: int
    metric: int
    count: int


class Collection:
    """An open directory. Every call raises OSError with the errno of the call, or of the entry of a batch that was refused."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.dimension = 0

    def close(self) -> None:
        os.close(self.descriptor)

    def create(self, dimension: int, metric: int, *, element: int = FLOAT32, flags: int = 0) -> None:
        """Make the directory a collection."""
        fcntl.ioctl(self.descriptor, CREATE, SHAPE.pack(dimension, metric, element, flags, 0, 0, 0, 0))
        self.dimension = dimension

    def shape(self) -> Shape:
        """Dimension, metric, vectors held."""
        data = bytearray(SHAPE.size)
        fcntl.ioctl(self.descriptor, GET_SHAPE, data, True)
        dimension, metric, _, _, count, *_ = SHAPE.unpack(data)
        self.dimension = dimension
        return Shape(dimension, metric, count)

    def batch(
        self, what: int, keys: Sequence[int], vectors: bytes, *, dimension: int | None = None, flags: int = 0, mode: int = 0
    ) -> bytearray:
        """One call as it is: the bytes after the head, which hold keys and vectors."""
        data = bytearray(SIZE)
        HEAD.pack_into(data, 0, self.dimension if dimension is None else dimension, len(keys), 0, 0, flags, mode)
        content = struct.pack(f"={len(keys)}Q", *keys) + vectors
        data[HEAD.size : HEAD.size + len(content)] = content
        fcntl.ioctl(self.descriptor, what, data, True)
        _, _, done, error, _, _ = HEAD.unpack_from(data)
        if done != len(keys):
            raise OSError(error, f"{done} of {len(keys)} entries were done: {os.strerror(error)}")
        return data[HEAD.size :]

    def add(self, ids: Sequence[int], vectors: Sequence[bytes], *, flags: int = 0) -> list[int]:
        """Set vectors by ids, in as many calls as it takes; the inode numbers."""
        inodes: list[int] = []
        size = BATCH_BYTES // (8 + 4 * self.dimension)
        for at in range(0, len(ids), size):
            part = ids[at : at + size]
            told = self.batch(ADD, part, b"".join(vectors[at : at + size]), flags=flags, mode=0o644)
            inodes += struct.unpack_from(f"={len(part)}Q", told)
        return inodes

    def set(self, inode: int, vector: bytes) -> None:
        """The vector of a member."""
        self.batch(SET, (inode,), vector)

    def get(self, inode: int) -> bytes:
        """The vector of a member; ENODATA where it has none, ENOENT where it is no member."""
        return bytes(self.batch(GET, (inode,), b"")[8 : 8 + 4 * self.dimension])

    def remove(self, inodes: Sequence[int]) -> None:
        """Take vectors away."""
        self.batch(REMOVE, inodes, b"", dimension=0)

    def search(
        self, query: bytes, k: int, after: tuple[float, int] | None = None, *, dimension: int | None = None, flags: int = 0
    ) -> list[tuple[float, int]]:
        """The nearest: (distance, inode)."""
        data = bytearray(SIZE)
        distance, inode = after or (0.0, 0)
        bits = struct.unpack("=Q", struct.pack("=d", distance))[0] if after else 0
        FIND.pack_into(data, 0, self.dimension if dimension is None else dimension, k, flags or (AFTER if after else 0), 0, inode, bits, 0)
        data[FIND.size : FIND.size + len(query)] = query
        fcntl.ioctl(self.descriptor, SEARCH, data, True)
        found = struct.unpack_from("=I", data, 12)[0]
        hits = [struct.unpack_from("=Qd", data, FIND.size + 16 * number) for number in range(found)]
        return [(distance, inode) for inode, distance in hits]

    def sync(self) -> None:
        """Make all durable."""
        os.fsync(self.descriptor)
