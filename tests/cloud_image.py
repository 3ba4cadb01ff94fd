# SPDX-License-Identifier: Apache-2.0
"""A cloud image as distributions publish them: a whole disk with a partition table and cloud-init, in qcow2; nothing of vexci is in it.

It is made from Debian's packages, because only these are to be had everywhere that the tests run.
"""

from __future__ import annotations

import os
import shlex
import struct
from pathlib import Path

from ci import process, store
from ci.images.sources import keyring_options, mirror_lines

SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv,udev,dbus,kmod,cloud-init,netplan.io,openssh-server,iproute2,procps,e2fsprogs,mount,"
    "fuse3,fio,python3,sudo,cloud-guest-utils,fdisk"
)
SIZE_MIB = 1400
START_MIB = 2
_LINUX = 0x83


def write_table(disk: Path) -> None:
    """Write an MBR of two partitions: an empty one, as a boot partition may be, and all the rest from `START_MIB` on."""
    sectors = disk.stat().st_size // 512
    half = (START_MIB << 20) // 512 // 2
    rows = ((half, half), (2 * half, sectors - 2 * half))
    table = b"".join(struct.pack("<B3sB3sII", 0, bytes(3), _LINUX, bytes(3), start, count) for start, count in rows)
    with open(disk, "r+b") as file:
        file.seek(446)
        file.write(table.ljust(64, b"\0") + b"\x55\xaa")


def cloud_image() -> Path:
    """The image, from the cache or made now (a minute or two)."""
    log = store.cache_dir() / "tests" / "cloud.log"

    def make(folder: Path) -> None:
        disk = shlex.quote(str(folder / "disk.raw"))
        # A second view of the root file system, without what is mounted on it now (/proc, /sys, /dev).
        steps = [
            'rm -f "$1"/etc/ssh/ssh_host_*',
            ': >"$1"/etc/machine-id',
            'mkdir "$1.view"',
            'mount --bind "$1" "$1.view"',
            f"truncate -s {SIZE_MIB}M {disk}",
            f'mkfs.ext4 -q -F -L root -E offset={START_MIB << 20} -d "$1.view" {disk} {SIZE_MIB - START_MIB}M',
            'umount "$1.view"',
            'rmdir "$1.view"',
        ]
        argv: list[str | Path] = ["unshare", "--mount", process.find_program("mmdebstrap"), "--mode=root", "--format=null"]
        argv += ["--variant=important", f"--include={PACKAGES}", *keyring_options(), f"--customize-hook={' && '.join(steps)}"]
        argv += [SUITE, "/dev/null", *mirror_lines(SUITE)]
        env = {**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(folder)}
        done = process.run(argv, limits=process.Limits(900, silence=180), log=log, env=env)
        assert done.ok, f"{done.how}: see {log}"
        write_table(folder / "disk.raw")
        process.output(["qemu-img", "convert", "-O", "qcow2", folder / "disk.raw", folder / "cloud.qcow2"], deadline=300)
        (folder / "disk.raw").unlink()

    log.parent.mkdir(parents=True, exist_ok=True)
    return store.cached("tests", f"cloud-{store.sha256_text(SUITE, PACKAGES, str(SIZE_MIB))[:16]}", make) / "cloud.qcow2"


if __name__ == "__main__":
    print(cloud_image())
