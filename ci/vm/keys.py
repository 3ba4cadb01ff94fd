# SPDX-License-Identifier: Apache-2.0
"""SSH keys: one of the project's own, with which it enters its guests, and one of each guest, by which it is known.

The project's is made once and kept in `<root>/.vexci/keys/`. A guest's is made for it before it runs, so that it is pinned
before it has ever answered, and no two guests have the same, also where both come from one snapshot.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ci import store

# The name under which the host key is known, whatever the port (ssh's HostKeyAlias).
ALIAS = "vexci-guest"
FOLDER = ".vexci"
_CLIENT = ("client", "client.pub")


@dataclass(frozen=True)
class Keys:
    """Paths of the keys (OpenSSH format, 0600) for one guest: the project's in `folder`, the guest's in `guest`."""

    folder: Path
    guest: Path

    @property
    def client(self) -> Path:
        return self.folder / "client"

    @property
    def client_public(self) -> Path:
        return self.folder / "client.pub"

    @property
    def host(self) -> Path:
        return self.guest / "host"

    @property
    def host_public(self) -> Path:
        return self.guest / "host.pub"

    @property
    def known_hosts(self) -> Path:
        """The file that pins the guest's key."""
        return self.guest / "known_hosts"

    @property
    def identity(self) -> tuple[tuple[str, int, str], ...]:
        """What the guest gets of them: path without the first slash, mode, content."""
        return (
            ("etc/ssh/ssh_host_ed25519_key", 0o600, self.host.read_text()),
            ("etc/ssh/ssh_host_ed25519_key.pub", 0o644, self.host_public.read_text()),
            ("root/.ssh/authorized_keys", 0o600, self.client_public.read_text()),
        )


def project_keys(root: Path) -> Path:
    """The folder with the key of the project at `root`, made where it is missing. Whole or absent, also with two tools at once."""
    own = root / FOLDER
    folder = own / "keys"
    if _whole(folder):
        return folder
    try:
        own.mkdir(parents=True, exist_ok=True)
        (own / ".gitignore").write_text("*\n")  # private keys never enter a commit
        with store.lock(own / "keys.lock"):
            if not _whole(folder):
                _make(folder)
    except OSError as error:
        raise store.disk_error(error, own) from error
    return folder


def guest_keys(root: Path, folder: Path) -> Keys:
    """The keys for one guest, whose own are made in `folder` where it has none yet."""
    keys = Keys(project_keys(root), folder)
    if not keys.known_hosts.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _pair(keys.host, keys.host_public, ALIAS)
        kind, key = keys.host_public.read_text().split()[:2]
        keys.known_hosts.write_text(f"{ALIAS} {kind} {key}\n")
    return keys


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _CLIENT)


def _make(folder: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".keys-", dir=folder.parent))
    try:
        _pair(temporary / "client", temporary / "client.pub", "vexci-client")
        if folder.exists():
            shutil.rmtree(folder)  # a part of it was lost; a mixture of old and new would fail later
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _pair(private: Path, public: Path, comment: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private.touch(mode=0o600)
    private.chmod(0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + f" {comment}\n".encode())
