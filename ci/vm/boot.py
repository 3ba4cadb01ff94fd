# SPDX-License-Identifier: Apache-2.0
"""What a guest boots from. The pipeline fills this from an image and a kernel; ci/vm knows neither."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Provision:
    """A file that every guest is going to be given: a guest that is kept for others to be restored from has it already, as it is after
    the command `argv` has made it ready."""

    data: bytes
    path: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Boot:
    """Direct kernel boot. `disk` (raw) is never written: a guest gets an overlay. `modules` (raw) is mounted read-only.

    `image` and `release` name them for people. `failed` is the text on the console that announces, before the guest
    gives up, that its start went wrong. `cloud`: the disk is a cloud image, whose cloud-init takes the seed (ci/vm/nocloud.py).
    The deadlines of starting are multiplied by `patience`, for a kernel that is slow by its checkers.
    """

    kernel: Path
    initrd: Path
    modules: Path
    command_line: str
    disk: Path
    image: str = ""
    release: str = ""
    failed: str = "vexci-init: FAILED"
    cloud: bool = False
    patience: float = 1.0
    provision: Provision | None = None
