# SPDX-License-Identifier: Apache-2.0
"""Errors of path resolution, path_resolution(7): each call that takes a path, with each path that cannot be resolved."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from . import libc
from .book import Group
from .place import ALICE, closing

LONG_NAME = "n" * 256
LONG_PATH = "./" * 2048 + "f"  # 4097 bytes with its end: one more than PATH_MAX


def _bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)


# Calls on something that is there.
EXISTING: dict[str, Callable[[str], Any]] = {
    "open": lambda p: closing(os.open(p, os.O_RDONLY)),
    "open-directory": lambda p: closing(os.open(p, os.O_RDONLY | os.O_DIRECTORY)),
    "stat": os.stat,
    "lstat": os.lstat,
    "statx": libc.statx,
    "access": lambda p: _access(p),
    "chmod": lambda p: os.chmod(p, 0o600),
    "chown": lambda p: os.chown(p, 1, 1),
    "lchown": lambda p: os.lchown(p, 1, 1),
    "truncate": lambda p: libc.truncate(p, 0),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "readlink": os.readlink,
    "utimensat": lambda p: libc.utimensat(p, (1, 0), (1, 0)),
    "chdir": os.chdir,
    "listdir": os.listdir,
    "statfs": os.statvfs,
    "setxattr": lambda p: os.setxattr(p, "user.a", b"a"),
    "getxattr": lambda p: os.getxattr(p, "user.a"),
    "listxattr": os.listxattr,
    "removexattr": lambda p: os.removexattr(p, "user.a"),
    "link-from": lambda p: os.link(p, "new", follow_symlinks=False),
    "rename-from": lambda p: os.rename(p, "new"),
}
# Calls that make what the path names.
MAKING: dict[str, Callable[[str], Any]] = {
    "create": lambda p: closing(os.open(p, os.O_WRONLY | os.O_CREAT, 0o600)),
    "mkdir": os.mkdir,
    "mknod": os.mknod,
    "mkfifo": os.mkfifo,
    "symlink": lambda p: os.symlink("target", p),
    "link-to": lambda p: os.link("f", p),
    "rename-to": lambda p: os.rename("f", p),
    "rename-folder-to": lambda p: os.rename("d", p),
}


def _access(path: str) -> None:
    """access(2) as an error: Python says only whether."""
    if libc.LIBC.access(os.fsencode(path), os.F_OK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


# What is wrong with the path: what there is, the path, the error. An empty last component, or a whole one, is the call's own.
_GIVEN = "f d/ loop->loop shut/:700 shut/f"
_WRONG = {
    "missing-folder": ("missing/f", errno.ENOENT, 0),
    "file-as-folder": ("f/f", errno.ENOTDIR, 0),
    "loop-in-path": ("loop/f", errno.ELOOP, 0),
    "name-too-long": (LONG_NAME, errno.ENAMETOOLONG, 0),
    "name-too-long-below": (f"d/{LONG_NAME}", errno.ENAMETOOLONG, 0),
    "path-too-long": (LONG_PATH, errno.ENAMETOOLONG, 0),
    "empty": ("", errno.ENOENT, 0),
    "no-search": ("shut/f", errno.EACCES, ALICE),
}


def _on(call: Callable[[str], Any], path: str) -> Callable[[], Any]:
    return lambda: call(path)


def _groups() -> list[Group]:
    found = []
    for condition, (path, error, user) in _WRONG.items():
        group = Group(f"path-{condition}")
        for name, call in {**EXISTING, **MAKING}.items():
            group.refuse(name, _GIVEN, error, _on(call, path), user=user)
        found.append(group)
    missing = Group("path-missing")
    for name, call in EXISTING.items():
        missing.refuse(name, "f d/", errno.ENOENT, _on(call, "missing"))
    there = Group("path-there")
    for name, call in MAKING.items():
        if name not in ("create", "rename-to", "rename-folder-to"):
            there.refuse(name, "f d/ there", errno.EEXIST, _on(call, "there"))
            there.refuse(f"{name}-folder", "f d/ there/", errno.EEXIST, _on(call, "there"))
            there.refuse(f"{name}-dangling", "f d/ there->nowhere", errno.EEXIST, _on(call, "there"))
    there.refuse("bind", "there", errno.EADDRINUSE, lambda: _bind("there"))
    return [*found, missing, there]


GROUPS = _groups()
