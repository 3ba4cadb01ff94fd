# SPDX-License-Identifier: Apache-2.0
"""The seed disk: a tar stream with the keys and the identity of one guest, unpacked over its root at boot."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

_MIB = 1 << 20


def write(path: Path, *, host_key: bytes, host_public: bytes, authorized: bytes, hostname: str, machine_id: str) -> None:
    """Write the seed, padded to whole MiB (a disk has whole sectors). `machine_id` is 32 hexadecimal digits."""
    files: tuple[tuple[str, int, bytes], ...] = (
        ("etc/ssh/ssh_host_ed25519_key", 0o600, host_key),
        ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, host_public),
        ("root/.ssh/authorized_keys", 0o600, authorized),
        ("etc/hostname", 0o644, f"{hostname}\n".encode()),
        ("etc/machine-id", 0o444, f"{machine_id}\n".encode()),
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo("root/.ssh")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(folder)
        for name, mode, data in files:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, len(data)
            archive.addfile(entry, io.BytesIO(data))
    data = buffer.getvalue()
    path.write_bytes(data + b"\0" * (-len(data) % _MIB))
    path.chmod(0o600)
