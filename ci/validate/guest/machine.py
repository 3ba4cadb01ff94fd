# SPDX-License-Identifier: Apache-2.0
"""Whether this machine is a throwaway guest, whose kernel may be told things, or one that only lends us a folder."""

from __future__ import annotations

import os

BORROWED = "VEXCI_BORROWED"


def throwaway() -> bool:
    """False where VEXCI_BORROWED is set: then nothing is loaded, and caches, sysrq and the kernel's log are left alone."""
    return BORROWED not in os.environ
