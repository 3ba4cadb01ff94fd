# SPDX-License-Identifier: Apache-2.0
"""fuse2fs, ext4 in a FUSE daemon: the yardstick of another FUSE daemon. Its volume is a file in memory, as the artifacts' are."""

from __future__ import annotations

from ci.bench.system import BACKING, SIZE, VOLATILE, System, in_memory

_SETUP, _BELOW = in_memory(("truncate", "-s", SIZE, f"{BACKING}/disk"), ("mkfs.ext4", "-q", "-F", f"{BACKING}/disk"))

SYSTEM = System(
    name="fuse2fs",
    filesystem="fuse.ext4",
    setup=_SETUP,
    mount=("fuse2fs", "-f", f"{BACKING}/disk", "{mountpoint}"),
    foreground=True,
    below=_BELOW,
    durability=VOLATILE,
    only_here=True,
    programs=("fuse2fs",),
)
