# SPDX-License-Identifier: Apache-2.0
"""Large files into a guest by way of a disk: the host writes the bytes into the file behind it, the guest reads the disk past its cache.

An emulated CPU pays for each byte that goes through a cipher, a network or a serial port; what a virtio disk reads, QEMU puts
into the guest's memory without it. Every guest has this disk, whatever way commands go. It is a sparse file beside the guest's own
disks and empty between two files; QEMU opens it through the host's page cache, so that both see the same bytes.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from ci import store
from ci.vm.channel import Expired, Lost
from ci.vm.link import Link
from ci.vm.port import Refused

SERIAL = "vexci-mail"
NAME = "mail.raw"  # in the guest's folder
SIZE = 16 << 30
# Below this the processes that the guest must start cost more than the port or SSH does.
LEAST = 2 << 20
_BLOCK = 1 << 20
# Arguments: serial number, path, folder, mode, size in bytes, size in blocks of 1 MiB. The direct reads need whole blocks.
_TAKE = """
part=$2.vexci-part
for block in /sys/block/vd*; do
    [ -r "$block/serial" ] || continue
    read -r serial < "$block/serial"  # it ends without a line feed, so the status says nothing
    [ "$serial" != "$1" ] || device=/dev/${block##*/}
done
[ -n "$device" ] || { echo "there is no disk $1" >&2; exit 1; }
mkdir -p "$3" &&
dd if="$device" of="$part" bs=1M count="$6" iflag=direct,fullblock status=none &&
truncate -s "$5" "$part" && chmod "$4" "$part" && mv -f "$part" "$2" && exit 0
rm -f "$part"
exit 1
"""


def make(folder: Path) -> None:
    """Make the empty file behind the disk of the guest whose folder this is."""
    with open(folder / NAME, "wb") as file:
        file.truncate(SIZE)


def serves(folder: Path, size: int) -> bool:
    """Whether a file of `size` bytes goes into the guest with this folder by way of its disk."""
    return LEAST <= size <= SIZE and (folder / NAME).is_file()


def put(folder: Path, link: Link, local: Path, remote: str, deadline: float) -> None:
    """Copy a file into the guest as a whole, with its mode; parents are made. Raises Refused with the guest's words, and Lost also
    where it does not end within `deadline` seconds."""
    info = local.stat()
    with store.lock(folder / "mail.lock"), open(folder / NAME, "r+b") as mail:
        try:
            with open(local, "rb") as file:
                while block := file.read(_BLOCK):
                    mail.write(block)
            mail.flush()
            numbers = (oct(info.st_mode & 0o7777)[2:], str(info.st_size), str(-(-info.st_size // _BLOCK)))
            argv = ["sh", "-c", _TAKE, "sh", SERIAL, remote, posixpath.dirname(remote) or "/", *numbers]
            result = link.command(argv).wait(deadline=deadline, silence=None, watch=lambda: None)
        except Expired as error:
            raise Lost(str(error)) from error
        finally:
            mail.truncate(0)  # what was in it is free again on the host's disk
            mail.truncate(SIZE)
    if not result.ok:
        raise Refused((result.stderr.strip().splitlines() or [f"exit {result.returncode}"])[-1])
