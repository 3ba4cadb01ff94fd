# SPDX-License-Identifier: Apache-2.0
"""What a file system may lack, and still be one: the least call that shows it. The manifest's `lacks` names it with a reason."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable

from . import libc
from .place import Place, after, closing

ACL = struct.pack("=I HHI HHI HHI", 2, 1, 6, 0xFFFFFFFF, 4, 4, 0xFFFFFFFF, 32, 4, 0xFFFFFFFF)  # u::rw- g::r-- o::r--, version 2


def _file(t: Place, size: int = 65536) -> int:
    descriptor = t.open("probe")
    os.write(descriptor, b"x" * size)
    return descriptor


def _whiteout(t: Place) -> None:
    t.make("probed")
    libc.renameat2("probed", "moved", libc.WHITEOUT)
    os.unlink("probed")
    os.unlink("moved")


def _direct(t: Place) -> None:
    descriptor = t.open("probe", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        os.pwrite(descriptor, page, 0)


PROBES: dict[str, Callable[[Place], None]] = {
    "tmpfile": lambda t: closing(os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)),
    "direct": _direct,
    "acl": lambda t: after(lambda: t.make("probe"), lambda: os.setxattr("probe", "system.posix_acl_access", ACL)),
    "whiteout": _whiteout,
    "zero-range": lambda t: libc.fallocate(_file(t), libc.ZERO_RANGE, 0, 4096),
    "collapse-range": lambda t: libc.fallocate(_file(t), libc.COLLAPSE_RANGE, 0, 4096),
    "insert-range": lambda t: libc.fallocate(_file(t), libc.INSERT_RANGE, 4096, 4096),
}
