# SPDX-License-Identifier: Apache-2.0
"""A person's way into a kept guest: the real ssh client, and the serial console."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

from ci import process
from ci.errors import UsageError
from ci.vm import connect, console
from ci.vm.guest import running
from ci.vm.keys import guest_keys
from ci.vm.registry import GuestFacts

DETACH = b"\x1d"  # Ctrl-]


def ssh_argv(name: str, root: Path, command: list[str]) -> list[str]:
    """The argv to exec for a shell in the guest, or for one command."""
    facts = running(name, root)
    program = process.find_program("ssh", hint="apt-get install openssh-client")
    return [program, *connect.ssh_argv(facts.port, guest_keys(root, facts.keys), command)[1:]]


def attach_console(facts: GuestFacts) -> None:
    """Connect this terminal with the guest's serial console until Ctrl-], or until the guest ends.

    Where no terminal is, prints the console so far and returns.
    """
    sys.stdout.write(console.text(Path(facts.console)))
    sys.stdout.flush()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    with socket.socket(socket.AF_UNIX) as serial:
        try:
            serial.connect(str(facts.console_socket))
        except OSError as error:
            message = f"the console of {facts.name} cannot be reached: {error.strerror}"
            raise UsageError(message, hint="has the guest ended? ./inv vm.list") from error
        _relay(
            serial,
            sys.stdin.fileno(),
            sys.stdout.fileno(),
            f"-- console of {facts.name}: the kernel's log, nobody logs in here (./inv vm.ssh does); Ctrl-] leaves it --\r\n",
        )


def _relay(serial: socket.socket, keyboard: int, screen: int, greeting: str) -> None:
    """Bytes both ways from the greeting on; the terminal is as before afterwards."""
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        os.write(screen, greeting.encode())
        while True:
            ready, _, _ = select.select([serial.fileno(), keyboard], [], [])
            if serial.fileno() in ready:
                data = serial.recv(65536)
                if not data:
                    return
                os.write(screen, data)
            if keyboard in ready:
                data = os.read(keyboard, 4096)
                keys, detach, _ = data.partition(DETACH)
                serial.sendall(keys)
                if detach or not data:
                    return
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
