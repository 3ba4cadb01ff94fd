# SPDX-License-Identifier: Apache-2.0
"""SSH to a guest on 127.0.0.1 with the pinned host key: Fabric's connection, and the argv of the real client."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ci.vm.keys import ALIAS, Keys

if TYPE_CHECKING:
    import fabric

HOST = "127.0.0.1"
USER = "root"
_KEEPALIVE_SECONDS = 15
_LOOK_SECONDS = 0.5


def banner_socket(port: int, seconds: float, watch: Callable[[], None] = lambda: None) -> socket.socket | None:
    """A connection on which the guest's SSH server has greeted (the greeting is still to be read), or None.

    QEMU accepts before the guest listens, so an open connection alone says nothing. `watch` is called twice a second and may raise.
    """
    connection = None
    greeted = False
    try:
        connection = socket.create_connection((HOST, port), timeout=seconds)
        greeted = _greeting(connection, seconds, watch).startswith(b"SSH-")
    except OSError:
        pass  # not yet: refused, reset, or silent; the caller has the deadline and looks for the reasons
    finally:
        if connection is not None and not greeted:
            connection.close()
    return connection if greeted else None


def _greeting(connection: socket.socket, seconds: float, watch: Callable[[], None]) -> bytes:
    """The first bytes that arrive within `seconds`; empty where the other end closes."""
    end = time.monotonic() + seconds
    while True:
        connection.settimeout(max(0.05, min(_LOOK_SECONDS, end - time.monotonic())))
        try:
            return connection.recv(4, socket.MSG_PEEK)
        except TimeoutError:
            if time.monotonic() > end:
                raise
            watch()


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

    return ["ssh", *_options(keys), "-p", str(port), f"{USER}@{HOST}", *([shlex.join(command)] if command else [])]


def scp_argv(port: int, keys: Keys, local: str, remote: str) -> list[str]:
    """The real scp into this guest, with the same options."""
    return ["scp", "-q", *_options(keys), "-P", str(port), local, f"{USER}@{HOST}:{remote}"]


def _options(keys: Keys) -> list[str]:
    options = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(keys.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
    }
    words = ["-F", "none", "-i", str(keys.client)]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    return words
