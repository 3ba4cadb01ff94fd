# SPDX-License-Identifier: Apache-2.0
"""How fast this machine's time stamp counter runs. An emulated guest reads the very same counter, and is told its speed.

Left to itself a guest's kernel measures the counter against an emulated timer while it boots. On a busy host that goes
wrong by a factor: time then runs five times too fast in the guest, and its deadlines pass too early.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from functools import lru_cache

# rdtsc; shl rdx, 32; or rax, rdx; ret
_READ = bytes.fromhex("0f31 48c1e220 4809d0 c3")
_SPAN_SECONDS = 0.05
_TRIES = 5
# Two ways to look at one moment may lie so far apart; where the host takes the processor away in between, it is tried again.
_APART_NS = 20_000


@lru_cache(maxsize=1)
def host_khz() -> int:
    """The counter's speed in kHz, measured against the kernel's clock; 0 where it cannot be read (no x86-64, no executable
    memory allowed)."""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0
    if not _is_x86_64():
        return 0
    page.write(_READ)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    first = _moment(read)
    time.sleep(_SPAN_SECONDS)  # what is measured: how far the counter gets in a while
    second = _moment(read)
    return round((second[1] - first[1]) * 1_000_000 / (second[0] - first[0]))


def _is_x86_64() -> bool:
    import platform

    return platform.machine() == "x86_64"


def _moment(read: ctypes._FuncPointer) -> tuple[int, int]:
    """Time in ns and the counter, at one moment: the closest of some tries."""
    best: tuple[int, int, int] | None = None
    for _ in range(_TRIES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        ticks = int(read())
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, ticks)
        if best[0] < _APART_NS:
            break
    assert best is not None
    return best[1], best[2]
