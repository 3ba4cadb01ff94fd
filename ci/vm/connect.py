# SPDX-License-Identifier: Apache-2.0
"""SSH to a guest on 127.0.0.1 with the pinned host key: Fabric's connection, and the argv of the real client."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, cast

from ci.vm.keys import ALIAS, Keys

if TYPE_CHECKING:
    import fabric

HOST = "127.0.0.1"
USER = "root"
_KEEPALIVE_SECONDS = 15


def banner_socket(port: int, seconds: float) -> socket.socket | None:
    """A connection on which the guest's SSH server has greeted (the greeting is still to be read), or None.

    QEMU accepts before the guest listens, so an open connection alone says nothing.
    """
    connection = None
    try:
        connection = socket.create_connection((HOST, port), timeout=seconds)
        connection.settimeout(seconds)
        if connection.recv(4, socket.MSG_PEEK).startswith(b"SSH-"):
            return connection
    except OSError:
        pass  # not yet: refused, reset, or silent; the caller has the deadline and looks for the reasons
    if connection is not None:
        connection.close()
    return None


def connect(port: int, keys: Keys, greeted: socket.socket | None, seconds: float) -> fabric.Connection:
    """An open, authenticated connection. Any host key but the pinned one is refused (paramiko.BadHostKeyException).

    Neither the user's ssh configuration nor their agent or keys are looked at.
    """
    import fabric
    import paramiko

    # A connection that breaks is reported once, by who uses it; paramiko's thread would print a traceback as well.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    config = fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True)
    arguments = {
        "pkey": paramiko.Ed25519Key.from_private_key_file(str(keys.client)),
        "allow_agent": False,
        "look_for_keys": False,
        "banner_timeout": seconds,
        "auth_timeout": seconds,
        "channel_timeout": seconds,
        "timeout": seconds,
    }
    if greeted is not None:
        arguments["sock"] = greeted
    connection = fabric.Connection(HOST, user=USER, port=port, config=config, connect_kwargs=arguments)
    # Fabric would take any key at first sight.
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    pinned = paramiko.Ed25519Key(data=_public_bytes(keys))
    connection.client.get_host_keys().add(f"[{HOST}]:{port}", pinned.get_name(), pinned)
    try:
        connection.open()
    except BaseException:
        connection.close()
        if greeted is not None:
            greeted.close()
        raise
    cast("paramiko.Transport", connection.transport).set_keepalive(_KEEPALIVE_SECONDS)
    return connection


def _public_bytes(keys: Keys) -> bytes:
    import base64

    return base64.b64decode(keys.host_public.read_text().split()[1])


def ssh_argv(port: int, keys: Keys, command: list[str]) -> list[str]:
    """The real ssh client for this guest: pinned key, nothing from the user's configuration."""
    import shlex

    options = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(keys.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
    }
    words = ["ssh", "-F", "none", "-i", str(keys.client), "-p", str(port)]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return [*words, f"{USER}@{HOST}", *([shlex.join(command)] if command else [])]
