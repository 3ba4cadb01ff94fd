# SPDX-License-Identifier: Apache-2.0
"""Single operations on a file system, as lists of JSON values, and what each of them answers.

A sequence of them runs in a folder of its own. An answer is a value, or `["E…"]` where the operation failed: what is not
the same on every file system by its nature (inode numbers, block counts, sizes of directories) is not in it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
from typing import Any

NOBODY = 65534
PAST = 946684800  # times before the year 2000 were set by an operation; later ones are the clock's
# What is there before the first operation, so that operations find something: folders, files, names of one file, an open file.
START: tuple[list[Any], ...] = (
    ["mkdir", "d", 0o755],
    ["mkdir", "d/e", 0o777],
    ["open", 0, "a", ["RDWR", "CREAT"], 0o644],
    ["write", 0, 7, 5000],
    ["link", "a", "d/b"],
    ["symlink", "a", "l"],
    ["open", 1, "d/e/a", ["RDWR", "CREAT"], 0o666],
)
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)


def content(seed: int, size: int) -> bytes:
    """`size` bytes that tell where they belong: no two neighbouring seeds give the same."""
    block = bytes((seed * 37 + i * 11 + (i >> 8)) & 0xFF for i in range(1024))
    return (block * (size // 1024 + 1))[:size]


class Sequence:
    """Runs operations below `folder`; file descriptors live in slots until `close`, or the end."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._slots: dict[int, int] = {}

    def run(self, operations: list[list[Any]]) -> list[Any]:
        """The answer of each operation; START comes before them. The working folder is left as it was."""
        back = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.chdir(self._folder)
            for operation in START:
                self._answer(operation)
            return [self._answer(operation) for operation in operations]
        finally:
            for descriptor in self._slots.values():
                os.close(descriptor)
            os.fchdir(back)
            os.close(back)

    def _answer(self, operation: list[Any]) -> Any:
        name, *arguments = operation
        other = name.startswith("nobody ")
        if other:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            return getattr(self, f"_{name.removeprefix('nobody ')}")(*arguments)
        except OSError as error:
            return [errno.errorcode.get(error.errno or 0, str(error.errno))]
        finally:
            if other:
                os.seteuid(0)
                os.setegid(0)

    def _fd(self, slot: int) -> int:
        """The descriptor of a slot; one that is not open is EBADF, as it is for the kernel."""
        if slot not in self._slots:
            raise OSError(errno.EBADF, "no open file in this slot")
        return self._slots[slot]

    def _open(self, slot: int, path: str, flags: list[str], mode: int) -> int:
        bits = os.O_NONBLOCK  # a fifo would wait for its other end
        for flag in flags:
            bits |= getattr(os, f"O_{flag}")
        opened = os.open(path, bits, mode)
        if slot in self._slots:
            os.close(self._slots.pop(slot))
        self._slots[slot] = opened
        return 0

    def _close(self, slot: int) -> None:
        os.close(self._fd(slot))
        del self._slots[slot]

    def _read(self, slot: int, size: int) -> str:
        return os.read(self._fd(slot), size).hex()

    def _pread(self, slot: int, offset: int, size: int) -> str:
        return os.pread(self._fd(slot), size, offset).hex()

    def _write(self, slot: int, seed: int, size: int) -> int:
        return os.write(self._fd(slot), content(seed, size))

    def _pwrite(self, slot: int, offset: int, seed: int, size: int) -> int:
        return os.pwrite(self._fd(slot), content(seed, size), offset)

    def _seek(self, slot: int, offset: int, whence: str) -> int:
        return os.lseek(self._fd(slot), offset, getattr(os, f"SEEK_{whence}"))

    def _fsync(self, slot: int) -> None:
        os.fsync(self._fd(slot))

    def _ftruncate(self, slot: int, size: int) -> None:
        os.ftruncate(self._fd(slot), size)

    def _fstat(self, slot: int) -> list[Any]:
        return facts(os.fstat(self._fd(slot)))

    def _fallocate(self, slot: int, mode: int, offset: int, size: int) -> None:
        if _LIBC.fallocate(self._fd(slot), mode, offset, size):
            raise OSError(ctypes.get_errno(), "fallocate")

    def _mmap(self, slot: int, offset: int, seed: int, size: int) -> str:
        """Map the whole file, write through the map, and read back by a system call."""
        descriptor = self._fd(slot)
        length = os.fstat(descriptor).st_size
        if length == 0 or length > 1 << 20 or offset >= length:
            return "outside"
        data = content(seed, size)[: length - offset]
        with mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
            mapped[offset : offset + len(data)] = data
            return os.pread(descriptor, len(data), offset).hex()

    def _truncate(self, path: str, size: int) -> None:
        os.truncate(path, size)

    def _mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def _rmdir(self, path: str) -> None:
        os.rmdir(path)

    def _unlink(self, path: str) -> None:
        os.unlink(path)

    def _rename(self, old: str, new: str, flags: int) -> None:
        if _LIBC.renameat2(_AT_FDCWD, old.encode(), _AT_FDCWD, new.encode(), flags):
            raise OSError(ctypes.get_errno(), "rename")

    def _link(self, old: str, new: str) -> None:
        os.link(old, new, follow_symlinks=False)

    def _symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def _readlink(self, path: str) -> str:
        return os.readlink(path)

    def _mknod(self, path: str, kind: str, mode: int) -> None:
        os.mknod(path, mode | getattr(stat, f"S_I{kind}"), os.makedev(1, 3) if kind == "FCHR" else 0)

    def _stat(self, path: str) -> list[Any]:
        return facts(os.stat(path))

    def _lstat(self, path: str) -> list[Any]:
        return facts(os.lstat(path))

    def _access(self, path: str, mode: int) -> bool:
        return os.access(path, mode, effective_ids=True)

    def _chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def _chown(self, path: str, user: int, group: int) -> None:
        os.chown(path, user, group, follow_symlinks=False)

    def _utime(self, path: str, seconds: int) -> None:
        os.utime(path, (seconds, seconds), follow_symlinks=False)

    def _list(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def _setxattr(self, path: str, name: str, seed: int, size: int, flags: int) -> None:
        os.setxattr(path, name, content(seed, size), flags, follow_symlinks=False)

    def _getxattr(self, path: str, name: str) -> str:
        return os.getxattr(path, name, follow_symlinks=False).hex()

    def _listxattr(self, path: str) -> list[str]:
        return sorted(os.listxattr(path, follow_symlinks=False))

    def _removexattr(self, path: str, name: str) -> None:
        os.removexattr(path, name, follow_symlinks=False)


def facts(found: os.stat_result) -> list[Any]:
    """Type and mode, links, owner, group, size (0 for directories), device number, and the times that were set."""
    directory = stat.S_ISDIR(found.st_mode)
    times = [moment if moment < PAST else "now" for moment in (found.st_mtime_ns // 10**9, found.st_atime_ns // 10**9)]
    return [oct(found.st_mode), found.st_nlink, found.st_uid, found.st_gid, 0 if directory else found.st_size, found.st_rdev, *times]


def tree(folder: str) -> dict[str, Any]:
    """Everything below `folder` by its path: facts, contents (or target), attributes; hard links by their first name."""
    found: dict[str, Any] = {}
    first: dict[int, str] = {}

    def look(path: str, name: str) -> None:
        status = os.lstat(path)
        row: list[Any] = facts(status)[:-1]  # without the access time: this look itself changes it
        if stat.S_ISREG(status.st_mode):
            row.append(_digest(path))
        elif stat.S_ISLNK(status.st_mode):
            row.append(os.readlink(path))
        row.append({key: os.getxattr(path, key, follow_symlinks=False).hex() for key in sorted(os.listxattr(path, follow_symlinks=False))})
        row.append(first.setdefault(status.st_ino, name))
        found[name] = row
        if stat.S_ISDIR(status.st_mode):
            for entry in sorted(os.listdir(path)):
                look(os.path.join(path, entry), f"{name}/{entry}")

    look(folder, ".")
    return found


def _digest(path: str) -> str:
    """The contents up to 1 MiB as a number: a sum that feels every byte and its place; larger files by their ends."""
    import zlib

    with open(path, "rb") as file:
        begin = file.read(1 << 20)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - 4096))
        end = file.read(4096)
    return f"{zlib.crc32(begin):08x}-{zlib.crc32(end):08x}"


def remove(folder: str) -> None:
    """Remove a tree whatever its modes are (the caller is the superuser)."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            remove(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(folder)
