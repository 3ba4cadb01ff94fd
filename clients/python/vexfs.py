# SPDX-License-Identifier: Apache-2.0
"""Vector collections of VexFS, through the ioctls of `kernel/include/uapi/vexfs.h`: the same for the module and the daemon.

One file, with numpy as its only library: copy it where you need it.

    import numpy as np
    import vexfs

    with vexfs.Collection.create("/mnt/vexfs/papers", dimension=128, metric="l2") as papers:
        inodes = papers.add(np.arange(1000), np.random.rand(1000, 128))
        papers.sync()
        hits, distances = papers.search(np.random.rand(128), 10)

Vectors are float32 arrays of shape (n, dimension). Ids are unsigned 64-bit integers: the names, in decimal, of the files that hold the
vectors. Inode numbers name the same files; they are what searches give. Distances are float64: the sum of squares (l2), the negated
inner product (ip), or one minus the cosine (cosine); less is nearer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIMENSION_MAX = 2048
K_MAX = 1016
BATCH_BYTES = 16256
METRICS = {"l2": 1, "ip": 2, "cosine": 3}

_FEAT_VECTOR = 1
_FLAG_EXCL = 1
_FLAG_AFTER = 1

_INFO = struct.Struct("=IIQ16s32sIIII32x")
_COLLECTION = struct.Struct("=IIIIQQQQ16x")
_BATCH = struct.Struct("=IIIiII40x")
_SEARCH = struct.Struct("=IIIIQQQ24x")
_SIZE = _BATCH.size + BATCH_BYTES
_HIT = np.dtype([("ino", np.uint64), ("distance", np.float64)])


def _number(way: int, number: int, size: int) -> int:
    return way << 30 | size << 16 | ord("V") << 8 | number


_IOC_INFO = _number(2, 0xE0, _INFO.size)
_IOC_CREATE = _number(1, 0xE1, _COLLECTION.size)
_IOC_GET = _number(2, 0xE2, _COLLECTION.size)
_IOC_VECTOR_SET = _number(3, 0xE3, _SIZE)
_IOC_VECTOR_ADD = _number(3, 0xE4, _SIZE)
_IOC_VECTOR_GET = _number(3, 0xE5, _SIZE)
_IOC_VECTOR_REMOVE = _number(3, 0xE6, _SIZE)
_IOC_SEARCH = _number(3, 0xE7, _SIZE)

_MEANING = {
    errno.ENOTTY: "not on a VexFS volume, or not a directory",
    errno.EOPNOTSUPP: "this VexFS was built without vectors",
    errno.EMEDIUMTYPE: "the directory is not a collection: make one with Collection.create",
    errno.ENOENT: "there is no such member",
    errno.ENODATA: "the member has no vector",
    errno.EINVAL: "an argument does not fit the collection",
    errno.EISDIR: "a directory has the id's name",
    errno.EUCLEAN: "the volume is damaged: run fsck.vexfs",
}


class VexfsError(OSError):
    """An operation that the file system refused. `done` entries of the batch, always the first ones, were done."""

    def __init__(self, number: int, text: str, path: str, done: int = 0) -> None:
        super().__init__(number, text, path)
        self.done = done


@dataclass(frozen=True)
class Info:
    """What a volume is: versions, features of the running code, uuid (16 bytes), label."""

    uapi_version: int
    format_version: int
    features: int
    uuid: bytes
    label: str

    @property
    def has_vectors(self) -> bool:
        """Whether the running code knows vectors."""
        return bool(self.features & _FEAT_VECTOR)


@dataclass(frozen=True)
class Shape:
    """What a collection is: floats a vector, the metric's name, vectors held, slots in use or free, bytes of a slot."""

    dimension: int
    metric: str
    count: int
    slots: int
    stride: int


def batch_size(dimension: int) -> int:
    """Vectors of this dimension that one call carries."""
    return BATCH_BYTES // (8 + 4 * dimension)


def info(path: str | os.PathLike[str]) -> Info:
    """What the volume is that the directory `path` lies on. Raises VexfsError (ENOTTY) elsewhere."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        buffer = bytearray(_INFO.size)
        _ioctl(fd, _IOC_INFO, buffer, os.fspath(path))
    finally:
        os.close(fd)
    uapi, version, features, uuid, label, *_ = _INFO.unpack(buffer)
    return Info(uapi, version, features, uuid, label.rstrip(b"\0").decode(errors="replace"))


def _ioctl(fd: int, number: int, buffer: bytearray, path: str) -> None:
    try:
        fcntl.ioctl(fd, number, buffer, True)
    except OSError as error:
        code = error.errno or errno.EIO
        raise VexfsError(code, _MEANING.get(code, os.strerror(code)), path) from None


def pack_batch(keys: NDArray[np.uint64], vectors: NDArray[np.float32] | None, dimension: int, flags: int = 0, mode: int = 0) -> bytearray:
    """The bytes of a struct vexfs_ioc_batch: `keys` of shape (n,), `vectors` of shape (n, dimension) or None where there are none."""
    buffer = bytearray(_SIZE)
    _BATCH.pack_into(buffer, 0, dimension, len(keys), 0, 0, flags, mode)
    content = keys.tobytes() + (b"" if vectors is None else vectors.tobytes())
    if len(content) > BATCH_BYTES:
        raise ValueError(f"{len(keys)} entries of dimension {dimension} do not fit one call: at most {batch_size(dimension)}")
    buffer[_BATCH.size : _BATCH.size + len(content)] = content
    return buffer


def pack_search(query: NDArray[np.float32], k: int, after: tuple[int, float] | None = None) -> bytearray:
    """The bytes of a struct vexfs_ioc_search: the `k` nearest, or those behind `after` = (inode, distance)."""
    buffer = bytearray(_SIZE)
    ino, distance = after or (0, 0.0)
    bits = struct.unpack("=Q", struct.pack("=d", distance))[0]
    _SEARCH.pack_into(buffer, 0, len(query), k, _FLAG_AFTER if after else 0, 0, ino, bits, 0)
    buffer[_SEARCH.size : _SEARCH.size + query.nbytes] = query.tobytes()
    return buffer


def unpack_hits(buffer: bytes | bytearray) -> NDArray[np.void]:
    """The hits of an answered struct vexfs_ioc_search: an array with the fields `ino` and `distance`."""
    found = struct.unpack_from("=I", buffer, 12)[0]
    return np.frombuffer(buffer, _HIT, found, _SEARCH.size)


class Collection:
    """An open collection. Not to be shared between threads without a lock of your own; open it once a thread instead."""

    def __init__(self, fd: int, path: str) -> None:
        """Takes over `fd`, an open directory; `open` and `create` are what you want."""
        self._fd = fd
        self.path = path
        try:
            shape = self.shape()
        except BaseException:
            self.close()
            raise
        self.dimension, self.metric = shape.dimension, shape.metric

    @classmethod
    def create(cls, path: str | os.PathLike[str], dimension: int, metric: str = "l2") -> Collection:
        """Make the directory `path`, which may exist if it is empty, a collection of vectors of `dimension` (1..2048) floats.

        `metric` is l2, ip or cosine. Raises ValueError, and VexfsError with EEXIST where it is one already, ENOTEMPTY, EPERM.
        """
        if metric not in METRICS:
            raise ValueError(f"metric {metric!r} is none of {', '.join(METRICS)}")
        if not 1 <= dimension <= DIMENSION_MAX:
            raise ValueError(f"dimension {dimension} is not in 1..{DIMENSION_MAX}")
        made = not os.path.isdir(path)
        if made:
            os.mkdir(path)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _ioctl(fd, _IOC_CREATE, bytearray(_COLLECTION.pack(dimension, METRICS[metric], 1, 0, 0, 0, 0, 0)), os.fspath(path))
        except BaseException:
            os.close(fd)
            if made:
                os.rmdir(path)
            raise
        return cls(fd, os.fspath(path))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Collection:
        """Open a collection. Raises VexfsError with EMEDIUMTYPE where the directory is none, ENOTTY where it is not on VexFS."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY), os.fspath(path))

    def shape(self) -> Shape:
        """What the collection is now."""
        buffer = bytearray(_COLLECTION.size)
        _ioctl(self._fd, _IOC_GET, buffer, self.path)
        dimension, metric, _, _, count, slots, stride, _ = _COLLECTION.unpack(buffer)
        names = {number: name for name, number in METRICS.items()}
        return Shape(dimension, names.get(metric, str(metric)), count, slots, stride)

    def __len__(self) -> int:
        """Vectors held."""
        return self.shape().count

    def add(self, ids: ArrayLike, vectors: ArrayLike, *, exclusive: bool = False, mode: int = 0o644) -> NDArray[np.uint64]:
        """Set the vectors of `ids`, whose files are made where they are missing, with `mode`. Returns their inode numbers.

        With `exclusive` an id that is there is an error (EEXIST). Nothing is durable before `sync`. On a VexfsError, its `done` says how
        many of the entries, always the first ones, were done.
        """
        return self._write(_IOC_VECTOR_ADD, ids, vectors, _FLAG_EXCL if exclusive else 0, mode)

    def set(self, inodes: ArrayLike, vectors: ArrayLike) -> None:
        """Set the vectors of members, given by their inode numbers. Errors as for `add`; ENOENT for what is no member."""
        self._write(_IOC_VECTOR_SET, inodes, vectors, 0, 0)

    def get(self, inodes: ArrayLike) -> NDArray[np.float32]:
        """The vectors of members: shape (n, dimension). Raises VexfsError: ENOENT, or ENODATA where a member has none."""
        keys = _keys(inodes)
        out = np.empty((len(keys), self.dimension), np.float32)
        size = batch_size(self.dimension)
        for at in range(0, len(keys), size):
            part = keys[at : at + size]
            buffer = pack_batch(part, None, self.dimension)
            self._batch(_IOC_VECTOR_GET, buffer, at)
            values = np.frombuffer(buffer, np.float32, len(part) * self.dimension, _BATCH.size + 8 * len(part))
            out[at : at + len(part)] = values.reshape(len(part), self.dimension)
        return out

    def delete(self, inodes: ArrayLike) -> None:
        """Take the vectors of members away; their files stay. (Unlinking a file takes its vector with it.) Errors as for `get`."""
        keys = _keys(inodes)
        size = BATCH_BYTES // 8
        for at in range(0, len(keys), size):
            self._batch(_IOC_VECTOR_REMOVE, pack_batch(keys[at : at + size], None, 0), at)

    def search(self, query: ArrayLike, k: int, after: tuple[int, float] | None = None) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """The `k` nearest members: inode numbers and distances, nearest first, ties by inode number. Fewer if there are fewer.

        `query` has shape (dimension,). `after` = (inode, distance) of a hit gives what comes behind it; k may exceed 1016.
        """
        vector = np.ascontiguousarray(query, np.float32)
        if vector.shape != (self.dimension,):
            raise ValueError(f"the query has shape {vector.shape}; {self.path} wants ({self.dimension},)")
        if k < 1:
            raise ValueError(f"k is {k}; it must be 1 or more")
        parts: list[NDArray[np.void]] = []
        left = k
        while left > 0:
            wanted = min(left, K_MAX)
            buffer = pack_search(vector, wanted, after)
            _ioctl(self._fd, _IOC_SEARCH, buffer, self.path)
            hits = unpack_hits(buffer)
            parts.append(hits)
            left -= len(hits)
            if len(hits) < wanted:
                break
            after = (int(hits["ino"][-1]), float(hits["distance"][-1]))
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found["ino"], found["distance"]

    def sync(self) -> None:
        """Make all that was done before durable."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self, number: int, keys: ArrayLike, vectors: ArrayLike, flags: int, mode: int) -> NDArray[np.uint64]:
        ids = _keys(keys)
        values = np.ascontiguousarray(vectors, np.float32)
        if values.shape != (len(ids), self.dimension):
            raise ValueError(f"{len(ids)} ids want vectors of shape ({len(ids)}, {self.dimension}), not {values.shape}")
        out = np.empty(len(ids), np.uint64)
        size = batch_size(self.dimension)
        for at in range(0, len(ids), size):
            part = ids[at : at + size]
            buffer = pack_batch(part, values[at : at + size], self.dimension, flags, mode)
            self._batch(number, buffer, at)
            out[at : at + len(part)] = np.frombuffer(buffer, np.uint64, len(part), _BATCH.size)
        return out

    def _batch(self, number: int, buffer: bytearray, before: int) -> None:
        """One call; `before` entries were done by earlier ones."""
        try:
            _ioctl(self._fd, number, buffer, self.path)
        except VexfsError as error:
            error.done = before
            raise
        _, count, done, code, _, _ = _BATCH.unpack_from(buffer)
        if done < count:
            raise VexfsError(code, f"entry {before + done}: {_MEANING.get(code, os.strerror(code))}", self.path, before + done)


def _keys(keys: ArrayLike) -> NDArray[np.uint64]:
    """Ids or inode numbers as unsigned 64-bit integers; negative ones and fractions are refused."""
    raw = np.asarray(keys)
    if raw.dtype.kind in "fO" and not isinstance(keys, np.ndarray):
        # numpy takes a list with numbers above 2^63 for floats.
        exact = np.asarray(keys, object)
        if all(isinstance(key, int) and 0 <= key < 1 << 64 for key in exact.flat):
            raw = exact.astype(np.uint64)
    if raw.ndim != 1:
        raise ValueError(f"ids have shape {raw.shape}; a list of numbers is wanted")
    if raw.size and (raw.dtype.kind not in "iu" or (raw.dtype.kind == "i" and raw.min() < 0)):
        raise ValueError("ids are whole numbers from 0 to 2^64 - 1")
    return np.ascontiguousarray(raw, np.uint64)


__all__: Sequence[str] = ("Collection", "Info", "Shape", "VexfsError", "batch_size", "info", "pack_batch", "pack_search", "unpack_hits")
