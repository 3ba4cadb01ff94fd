# SPDX-License-Identifier: Apache-2.0
"""System calls and ioctls that Python has no function for: exchange, fallocate, syncfs, vectors of a collection."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_EXCHANGE = 2
KEEP_SIZE, PUNCH_HOLE = 1, 2
_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
# Collections of vectors (docs/format.md, 12.5): the structure of CREATE and GET, and the head of that of a batch.
_COLLECTION, _BATCH = struct.Struct("=IIIIQQQQ16x"), struct.Struct("=IIIiII40x")
_BATCH_SIZE = _BATCH.size + 16256
_CREATE, _GET = (way << 30 | _COLLECTION.size << 16 | ord("V") << 8 | number for way, number in ((1, 0xE1), (2, 0xE2)))
_VECTOR_SET, _VECTOR_ADD, _VECTOR_GET, _VECTOR_REMOVE = (3 << 30 | _BATCH_SIZE << 16 | ord("V") << 8 | n for n in range(0xE3, 0xE7))
_L2, _FLOAT32 = 1, 1


def _done(result: int, path: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def exchange(path: str, other: str) -> None:
    """renameat2(2) with RENAME_EXCHANGE."""
    _done(LIBC.renameat2(AT_FDCWD, os.fsencode(path), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE), path)


def fallocate(descriptor: int, mode: int, offset: int, size: int) -> None:
    """fallocate(2), without the C library's emulation."""
    _done(LIBC.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(size)), "fallocate")


def syncfs(descriptor: int) -> None:
    """syncfs(2)."""
    _done(LIBC.syncfs(descriptor), "syncfs")


def mount(device: bytes, place: bytes, filesystem: bytes) -> None:
    """mount(2), without options."""
    _done(LIBC.mount(device, place, filesystem, ctypes.c_ulong(0), None), os.fsdecode(place))


def unmount(place: bytes) -> None:
    """umount2(2), without flags."""
    _done(LIBC.umount2(place, 0), os.fsdecode(place))


def getdents(descriptor: int, buffer: bytearray) -> int:
    """getdents64(2) into the buffer; how many bytes of it the entries take."""
    taken = int(LIBC.syscall(_GETDENTS64, descriptor, (ctypes.c_char * len(buffer)).from_buffer(buffer), len(buffer)))
    _done(min(taken, 0), "getdents64")
    return taken


def make_collection(descriptor: int, dimension: int) -> None:
    """The open, empty directory becomes a collection of vectors of this dimension, by l2."""
    fcntl.ioctl(descriptor, _CREATE, _COLLECTION.pack(dimension, _L2, _FLOAT32, 0, 0, 0, 0, 0))


def dimension_of(descriptor: int) -> int:
    """The dimension of the collection, 0 where the open directory is none, or the file system knows none."""
    shape = bytearray(_COLLECTION.size)
    try:
        fcntl.ioctl(descriptor, _GET, shape, True)
    except OSError as error:
        if error.errno in (errno.EMEDIUMTYPE, errno.ENOTTY, errno.EOPNOTSUPP):
            return 0
        raise
    return int(_COLLECTION.unpack(shape)[0])


def _batch(descriptor: int, number: int, dimension: int, keys: tuple[int, ...], vectors: bytes, mode: int = 0) -> bytearray:
    buffer = bytearray(_BATCH_SIZE)
    _BATCH.pack_into(buffer, 0, dimension, len(keys), 0, 0, 0, mode)
    content = struct.pack(f"={len(keys)}Q", *keys) + vectors
    buffer[_BATCH.size : _BATCH.size + len(content)] = content
    fcntl.ioctl(descriptor, number, buffer, True)
    _, _, done, error, _, _ = _BATCH.unpack_from(buffer)
    if done != len(keys):
        raise OSError(error, f"{done} of {len(keys)} entries done: {os.strerror(error)}")
    return buffer


def add_vectors(descriptor: int, dimension: int, ids: tuple[int, ...], vectors: bytes, mode: int) -> None:
    """VECTOR_ADD: members named by the ids in decimal, made with `mode` where they are missing; `vectors` are float32 bytes in a row."""
    _batch(descriptor, _VECTOR_ADD, dimension, ids, vectors, mode)


def set_vector(descriptor: int, inode: int, vector: bytes) -> None:
    """VECTOR_SET of one member."""
    _batch(descriptor, _VECTOR_SET, len(vector) // 4, (inode,), vector)


def remove_vector(descriptor: int, inode: int) -> None:
    """VECTOR_REMOVE of one member."""
    _batch(descriptor, _VECTOR_REMOVE, 0, (inode,), b"")


def vector_of(descriptor: int, dimension: int, inode: int) -> bytes:
    """The member's vector as float32 bytes, empty where it has none."""
    try:
        buffer = _batch(descriptor, _VECTOR_GET, dimension, (inode,), b"")
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        raise
    begin = _BATCH.size + 8
    return bytes(buffer[begin : begin + 4 * dimension])
