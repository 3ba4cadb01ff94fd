# SPDX-License-Identifier: Apache-2.0
"""The seed disk: a tar stream with the keys and the identity of one guest, unpacked over its root at boot."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from ci.vm.keys import Keys

_MIB = 1 << 20


Files = tuple[tuple[str, int, str], ...]


def identity(keys: Keys, *, hostname: str, machine_id: str) -> Files:
    """What one guest has and no other: path without the first slash, mode, content. `machine_id` is 32 hexadecimal digits."""
    return (*keys.identity, ("etc/hostname", 0o644, f"{hostname}\n"), ("etc/machine-id", 0o444, f"{machine_id}\n"))


def write(path: Path, files: Files) -> None:
    """Write the seed, padded to whole MiB (a disk has whole sectors)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, mode, text in files:
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, len(data)
            archive.addfile(entry, io.BytesIO(data))
    data = buffer.getvalue()
    path.touch(mode=0o600)
    path.write_bytes(data + b"\0" * (-len(data) % _MIB))
    path.chmod(0o600)
