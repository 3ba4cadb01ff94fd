# SPDX-License-Identifier: Apache-2.0
"""What the guest itself says about the machine that is measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def facts() -> dict[str, str]:
    """Kernel, architecture, processors, memory and Python, as text."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    return {
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
        "cpus": str(os.cpu_count()),
        "memory": f"{int(memory.split()[1]) // 1024} MiB",
        "python": sys.version.split()[0],
    }
