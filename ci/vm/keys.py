# SPDX-License-Identifier: Apache-2.0
"""The project's SSH keys: one for us, one for its guests, made once and kept in `<root>/.vexci/keys/`.

All guests of a project have the same host key, so it can be pinned before a guest has ever run.
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


@dataclass(frozen=True)
class Keys:
    """Paths of the project's keys (OpenSSH format, 0600) and of the known_hosts file that pins the guests' key."""

    folder: Path

    @property
    def client(self) -> Path:
        return self.folder / "client"

    @property
    def client_public(self) -> Path:
        return self.folder / "client.pub"

    @property
    def host(self) -> Path:
        return self.folder / "host"

    @property
    def host_public(self) -> Path:
        return self.folder / "host.pub"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def _files(self) -> tuple[Path, ...]:
        return (self.client, self.client_public, self.host, self.host_public, self.known_hosts)


def project_keys(root: Path) -> Keys:
    """The keys of the project at `root`, made where they are missing. Whole or absent, also with two tools at once."""
    own = root / FOLDER
    keys = Keys(own / "keys")
    if all(file.is_file() for file in keys._files):
        return keys
    try:
        own.mkdir(parents=True, exist_ok=True)
        (own / ".gitignore").write_text("*\n")  # private keys never enter a commit
        with store.lock(own / "keys.lock"):
            if not all(file.is_file() for file in keys._files):
                _make(keys)
    except OSError as error:
        raise store.disk_error(error, own) from error
    return keys


def _make(keys: Keys) -> None:
    temporary = Keys(Path(tempfile.mkdtemp(prefix=".keys-", dir=keys.folder.parent)))
    try:
        _pair(temporary.client, temporary.client_public, "vexci-client")
        _pair(temporary.host, temporary.host_public, ALIAS)
        kind, key = temporary.host_public.read_text().split()[:2]
        temporary.known_hosts.write_text(f"{ALIAS} {kind} {key}\n")
        if keys.folder.exists():
            shutil.rmtree(keys.folder)  # a part of it was lost; a mixture of old and new would fail later
        os.rename(temporary.folder, keys.folder)
    finally:
        shutil.rmtree(temporary.folder, ignore_errors=True)


def _pair(private: Path, public: Path, comment: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + f" {comment}\n".encode())
