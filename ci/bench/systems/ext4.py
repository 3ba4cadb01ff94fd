# SPDX-License-Identifier: Apache-2.0
"""ext4 as mkfs.ext4 makes it, on a loop device over a file that lies in memory.

In memory, because the artifacts keep their data there too: a yardstick on a disk would measure the disk. The
fingerprint says so (`durability`), and a system with another durability is not compared with this one.
"""

from __future__ import annotations

from ci.bench.system import BACKING, SIZE, VOLATILE, System, in_memory

_DISK = f"{BACKING}/disk"
_MAKE = (("mkfs.ext4", "-q", "-F", _DISK),)
_SETUP, _BELOW = in_memory(("truncate", "-s", SIZE, _DISK), *_MAKE)

SYSTEM = System(
    name="ext4",
    filesystem="ext4",
    setup=_SETUP,
    mount=("mount", "-t", "ext4", "-o", "loop", _DISK, "{mountpoint}"),
    volume=_DISK,
    make=_MAKE,
    below=_BELOW,
    durability=VOLATILE,
)
