# SPDX-License-Identifier: Apache-2.0
"""Disks that the host gives to a guest and can see itself: volumes for benchmarks, power cuts, and fsck from outside.

Every guest has `SLOTS` virtio disks beside its own. Where none is given for one, a small empty file lies behind it, so that
all guests of a machine have the same devices and come from one memory snapshot. A restored guest learns of another disk in a
slot as it learns that a disk was resized, which every kernel understands; nothing is plugged in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.errors import UsageError

SLOTS = 2
CACHES = ("none", "writeback", "writethrough", "directsync", "unsafe")
# Of the disks before these: the root file system, the modules, the seed.
_FIRST_TARGET = "d"
_SPARE_BYTES = 1 << 20
_SECTOR = 512
# Arguments: a serial number, and the size in sectors (0 for any). Says the device once it has that size.
_FIND = """
while :; do
    for block in /sys/block/vd*; do
        [ "$(cat $block/serial)" = "$1" ] || continue
        [ "$2" = 0 ] || [ "$(cat $block/size)" = "$2" ] || continue
        echo "/dev/${block##*/}"
        exit 0
    done
    sleep 0.02
done
"""


@dataclass(frozen=True)
class Disk:
    """A raw file (its size a whole number of 512-byte sectors) that becomes a disk of one guest at a time; QEMU locks it.

    `cache` is QEMU's word. With `none` a write that the guest saw completed is in the host's file (not in its page cache, so the
    host may read it at once) and a flush is the host's fdatasync. `writeback` goes through the host's page cache; `unsafe`
    ignores flushes, the fastest. All of these outlive the end of QEMU: what the guest had not written yet is what is lost. With a
    `socket` an NBD server there has the disk (ci/vm/volatile.py), and the file only its size.
    """

    path: Path
    cache: str = "none"
    socket: Path | None = None


def target(slot: int) -> str:
    """libvirt's name of the disk in a slot, counted from 0."""
    return f"vd{chr(ord(_FIRST_TARGET) + slot)}"


def serial(slot: int) -> str:
    """The serial number by which the guest finds the disk in a slot."""
    return f"vexci-disk{slot}"


def check(disks: Sequence[Disk]) -> None:
    """UsageError where these cannot be given to a guest."""
    if len(disks) > SLOTS:
        raise UsageError(f"{len(disks)} disks were asked for; a guest has room for {SLOTS}")
    for disk in disks:
        if disk.cache not in CACHES:
            raise UsageError(f"the disk {disk.path}: the cache mode '{disk.cache}' is none of {', '.join(CACHES)}")
        if not disk.path.is_file():
            raise UsageError(f"the disk {disk.path} is not a file", hint="make it first: truncate -s 256M FILE")
        size = disk.path.stat().st_size
        if size == 0 or size % _SECTOR:
            raise UsageError(f"the disk {disk.path} has {size} bytes, which is not a whole number of sectors of {_SECTOR} bytes")


def filled(disks: Sequence[Disk], folder: Path) -> tuple[Disk, ...]:
    """One for each slot: those given, then empty ones whose files are made in `folder`."""
    spares = []
    for slot in range(len(disks), SLOTS):
        path = folder / f"{serial(slot)}.raw"
        with open(path, "wb") as file:
            file.truncate(_SPARE_BYTES)
        spares.append(Disk(path, "writeback"))
    return (*(replace(disk, path=disk.path.absolute()) for disk in disks), *spares)


def empty() -> tuple[Disk, ...]:
    """All slots without a file, for a description of the machine that is the same whatever disks it gets."""
    return SLOTS * (Disk(Path("/"), "writeback"),)


def find_argv(slot: int, size: int = 0) -> list[str]:
    """The command in the guest that prints the device of a slot, once the guest knows it to have `size` bytes (0: any)."""
    return ["sh", "-c", _FIND, "sh", serial(slot), str(size // _SECTOR)]
