# SPDX-License-Identifier: Apache-2.0
"""ext4 as mkfs.ext4 makes it, on a loop device over a file that lies in memory.

In memory, because the artifacts keep their data there too: a yardstick on a disk would measure the disk. The
fingerprint says so (`durability`), and a system with another durability is not compared with this one.
"""

from __future__ import annotations

from ci.bench.system import VOLATILE, System

SIZE = "384m"

SYSTEM = System(
    name="ext4",
    filesystem="ext4",
    setup=(
        ("mkdir", "{work}/backing"),
        ("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "vexci-backing", "{work}/backing"),
        ("truncate", "-s", "256M", "{work}/backing/disk"),
        ("mkfs.ext4", "-q", "-F", "{work}/backing/disk"),
    ),
    mount=("mount", "-t", "ext4", "-o", "loop", "{work}/backing/disk", "{mountpoint}"),
    below=("{work}/backing",),
    durability=VOLATILE,
)
