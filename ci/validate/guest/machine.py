# SPDX-License-Identifier: Apache-2.0
"""Whether this machine is a throwaway guest, whose kernel may be told things, or one that only lends us a folder."""

from __future__ import annotations

import os
from contextlib import suppress

BORROWED = "VEXCI_BORROWED"


def throwaway() -> bool:
    """False where VEXCI_BORROWED is set: then nothing is loaded, and caches, sysrq and the kernel's log are left alone."""
    return BORROWED not in os.environ


def mark(text: str) -> None:
    """A line in the kernel's log, so that the console shows what ran when the kernel complained."""
    if not throwaway():
        return
    with suppress(OSError), open("/dev/kmsg", "w", encoding="utf-8") as kmsg:  # without one the JSON lines must do
        kmsg.write(f"<5>vexci: {text}\n")
