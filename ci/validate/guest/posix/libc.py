# SPDX-License-Identifier: Apache-2.0
"""System calls that Python has no function for, or calls with other arguments than a case needs. Errors are OSError."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = -100, 0x100, 0x200, 0x400, 0x1000
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4  # renameat2(2)
KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32  # fallocate(2)
UTIME_NOW, UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE  # utimensat(2)
STATX_BASIC, STATX_BTIME = 0x7FF, 0x800
_TIMES = struct.Struct("=qqqq")
_STATX_SIZE = 256
LIBC.telldir.restype = ctypes.c_long
LIBC.opendir.restype = LIBC.readdir.restype = LIBC.fdopendir.restype = ctypes.c_void_p


def _done(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def renameat2(old: str, new: str, flags: int) -> None:
    """renameat2(2) on paths."""
    _done(LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), old)


def unlinkat(path: str, flags: int) -> None:
    """unlinkat(2)."""
    _done(LIBC.unlinkat(AT_FDCWD, os.fsencode(path), flags), path)


def linkat(old: str, new: str, flags: int = 0, descriptor: int = AT_FDCWD) -> None:
    """linkat(2); `old` is relative to `descriptor`."""
    _done(LIBC.linkat(descriptor, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags), old)


def fallocate(descriptor: int, mode: int, offset: int, size: int) -> None:
    """fallocate(2), without the C library's emulation."""
    _done(LIBC.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(size)), "fallocate")


def truncate(path: str, size: int) -> None:
    """truncate(2), which Python does by a descriptor for some arguments."""
    _done(LIBC.truncate(os.fsencode(path), ctypes.c_long(size)), path)


def utimensat(path: str, access: tuple[int, int], modification: tuple[int, int], flags: int = 0) -> None:
    """utimensat(2): seconds and nanoseconds each; UTIME_NOW and UTIME_OMIT are nanoseconds."""
    times = ctypes.create_string_buffer(_TIMES.pack(*access, *modification))
    _done(LIBC.utimensat(AT_FDCWD, os.fsencode(path), times, flags), path)


def utimensat_now(path: str) -> None:
    """utimensat(2) without times: both are set to now, which whoever may write is allowed to."""
    _done(LIBC.utimensat(AT_FDCWD, os.fsencode(path), None, 0), path)


def statx(path: str, flags: int = 0, mask: int = STATX_BASIC) -> bytes:
    """statx(2): the structure as it is, 256 bytes."""
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    _done(LIBC.statx(AT_FDCWD, os.fsencode(path), flags, mask, buffer), path)
    return buffer.raw


def raw_getxattr(path: str, name: str, size: int) -> int:
    """getxattr(2) with a buffer of that size: the length of the value."""
    return int(_done(LIBC.getxattr(os.fsencode(path), name.encode(), ctypes.create_string_buffer(max(size, 1)), size), path))


def raw_listxattr(path: str, size: int) -> int:
    """listxattr(2) with a buffer of that size: the length of the list."""
    return int(_done(LIBC.listxattr(os.fsencode(path), ctypes.create_string_buffer(max(size, 1)), size), path))


@dataclass(frozen=True)
class Entry:
    """One entry of a directory as readdir(3) gives it."""

    inode: int
    kind: int
    name: str


class Directory:
    """A directory stream: opendir(3), readdir, telldir, seekdir, rewinddir, closedir."""

    def __init__(self, path: str) -> None:
        self._stream = LIBC.opendir(os.fsencode(path))
        if not self._stream:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)

    def read(self) -> Entry | None:
        """The next entry, None at the end."""
        ctypes.set_errno(0)
        found = LIBC.readdir(ctypes.c_void_p(self._stream))
        if not found:
            if ctypes.get_errno():
                raise OSError(ctypes.get_errno(), "readdir")
            return None
        inode, _, length, kind = struct.unpack("=QqHB", ctypes.string_at(found, 19))
        name = ctypes.string_at(found + 19, length - 19).split(b"\0")[0]
        return Entry(inode, kind, os.fsdecode(name))

    def rest(self) -> list[str]:
        """The names of all entries that follow, `.` and `..` left out."""
        names = []
        while (entry := self.read()) is not None:
            if entry.name not in (".", ".."):
                names.append(entry.name)
        return names

    def tell(self) -> int:
        return int(LIBC.telldir(ctypes.c_void_p(self._stream)))

    def seek(self, position: int) -> None:
        LIBC.seekdir(ctypes.c_void_p(self._stream), ctypes.c_long(position))

    def rewind(self) -> None:
        LIBC.rewinddir(ctypes.c_void_p(self._stream))

    def close(self) -> None:
        LIBC.closedir(ctypes.c_void_p(self._stream))
