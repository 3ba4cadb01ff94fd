# SPDX-License-Identifier: Apache-2.0
"""Whether this machine is a throwaway guest, whose kernel may be told things, or one that only lends us a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

BORROWED = "VEXCI_BORROWED"


def throwaway() -> bool:
    """False where VEXCI_BORROWED is set: then nothing is loaded, and caches, sysrq and the kernel's log are left alone."""
    return BORROWED not in os.environ


def mark(text: str) -> None:
    """A line in the kernel's log, so that the console shows what ran when the kernel complained."""
    if not throwaway():
        return
    with suppress(OSError):  # without one the JSON lines must do
        os.write(opened("/dev/kmsg", os.O_WRONLY), f"<5>vexci: {text}\n".encode(errors="replace"))


@cache
def opened(path: str, flags: int) -> int:
    """A descriptor that stays open, also in forked processes, for files of the kernel that are asked again and again."""
    return os.open(path, flags | os.O_CLOEXEC)
