# SPDX-License-Identifier: Apache-2.0
"""What Hypothesis draws: sequences of operations, in the words of `guest/operations.py`.

There are few names, so that operations meet on the same files, and some names that no file can have. Sizes are around
the edges of pages and blocks. Early elements of each choice are the simple ones: Hypothesis shrinks towards them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Operation = list[Any]
LONGEST = 24  # operations of a sequence
SLOTS = 3

_FILES = ["a", "b", "d/a", "d/b", "d/e/a"]
_FOLDERS = ["d", "d/e", "f"]
_ODD = ["l", "a/b", "missing/a", "d/", "a/", ".", "..", "d/..", "x" * 255, "x" * 256, "ä", "d/../a", "", "l/a"]
_path = st.one_of(st.sampled_from(_FILES), st.sampled_from(_FOLDERS), st.sampled_from(_FILES + _FOLDERS + _ODD))
_file = st.one_of(st.sampled_from(_FILES), st.sampled_from(_FILES), _path)
_folder = st.one_of(st.sampled_from(_FOLDERS), _path)
_slot = st.integers(0, SLOTS - 1)
_seed = st.integers(0, 255)
_size = st.one_of(st.integers(0, 64), st.sampled_from([4095, 4096, 4097, 8192, 10000, 65537]))
_offset = st.one_of(st.integers(0, 64), st.sampled_from([4095, 4096, 8190, 12288, 40960, 200000, 1 << 20]))
_mode = st.sampled_from([0o644, 0o600, 0o755, 0o700, 0o777, 0, 0o444, 0o1777, 0o4755, 0o2755])
_xattr = st.sampled_from(["user.a", "user.b", "trusted.a", "user." + "n" * 200, "unknown.a", "user."])
_flags = st.sampled_from(
    [
        ["RDWR", "CREAT"],
        ["RDONLY"],
        ["WRONLY"],
        ["RDWR"],
        ["RDWR", "CREAT", "EXCL"],
        ["RDWR", "CREAT", "TRUNC"],
        ["WRONLY", "CREAT", "APPEND"],
        ["RDONLY", "DIRECTORY"],
        ["RDONLY", "NOFOLLOW"],
        ["RDWR", "TRUNC"],
        ["RDWR", "CREAT", "APPEND"],
    ]
)


def _of(name: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(st.just(name), *parts).map(list)


_CHANGES = [
    _of("open", _slot, _file, _flags, _mode),
    _of("write", _slot, _seed, _size),
    _of("pwrite", _slot, _offset, _seed, _size),
    _of("mkdir", _folder, _mode),
    _of("rename", _path, _path, st.sampled_from([0, 0, 1, 2])),
    _of("link", _path, _path),
    _of("unlink", _path),
    _of("rmdir", _folder),
    _of("symlink", st.sampled_from(["a", "d", "missing", "l", "d/a", "x" * 300, ""]), st.sampled_from(["l", "d/l", "a"])),
    _of("ftruncate", _slot, _offset),
    _of("truncate", _file, _offset),
    _of("fallocate", _slot, st.sampled_from([0, 1, 3, 2]), _offset, _size),
    _of("mmap", _slot, _offset, _seed, _size),
    _of("close", _slot),
    _of("fsync", _slot),
    _of("chmod", _path, _mode),
    _of("chown", _path, st.sampled_from([0, 1000, 65534, -1]), st.sampled_from([0, 1000, -1])),
    _of("utime", _path, st.sampled_from([0, 1000, 900000000])),
    _of("setxattr", _path, _xattr, _seed, st.sampled_from([0, 5, 64, 1000, 4000]), st.sampled_from([0, 0, 1, 2])),
    _of("removexattr", _path, _xattr),
    _of("mknod", _file, st.sampled_from(["FIFO", "FSOCK", "FCHR", "FREG"]), _mode),
]
_LOOKS = [
    _of("read", _slot, _size),
    _of("pread", _slot, _offset, _size),
    _of("seek", _slot, _offset, st.sampled_from(["SET", "CUR", "END", "DATA", "HOLE"])),
    _of("fstat", _slot),
    _of("stat", _path),
    _of("lstat", _path),
    _of("list", _folder),
    _of("readlink", _path),
    _of("access", _path, st.integers(0, 7)),
    _of("getxattr", _path, _xattr),
    _of("listxattr", _path),
]
_AS_NOBODY = ("open", "mkdir", "rename", "unlink", "rmdir", "truncate", "chmod", "chown", "utime", "list", "access", "link", "setxattr")


def _by_somebody(operation: Operation, other: bool) -> Operation:
    """Now and then an operation that asks for permission is somebody else's."""
    return [f"nobody {operation[0]}", *operation[1:]] if other and operation[0] in _AS_NOBODY else operation


_operation = st.builds(
    _by_somebody,
    st.one_of(*_CHANGES, *_LOOKS, *_CHANGES[:10]),
    st.sampled_from([False, False, False, False, False, True]),
)

SEQUENCES: st.SearchStrategy[list[Operation]] = st.lists(_operation, min_size=1, max_size=LONGEST)


def words(operation: Operation) -> str:
    """One operation for a person: `rename("a", "b", 0)`."""
    name, *arguments = operation
    return f"{name}({', '.join(_word(argument) for argument in arguments)})"


def _word(argument: Any) -> str:
    if isinstance(argument, list):
        return "|".join(argument)
    if isinstance(argument, str) and len(argument) > 40:
        return f'"{argument[0]}"*{len(argument)}' if len(set(argument)) == 1 else f'"{argument[:37]}…"'
    return f'"{argument}"' if isinstance(argument, str) else str(argument)
