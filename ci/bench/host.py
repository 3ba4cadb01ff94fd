# SPDX-License-Identifier: Apache-2.0
"""This machine in the place of a guest, for benchmarks with `place: host`.

Each measurement runs in a mount namespace of its own (`INSIDE`), so that no mount of it can be left behind, whatever happens to it.
Nothing is loaded into the kernel, and nothing listens on anything but loopback.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci import procfs
from ci.process import Limits, run, scratch_file

_NAMESPACE = ("unshare", "--mount", "--propagation", "slave")
INSIDE = _NAMESPACE if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", *_NAMESPACE[1:])


@dataclass(frozen=True)
class HostResult:
    """As a guest's result."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Host:
    """A `ci.guest.Guest` that is this machine."""

    kernel = platform.release()

    def run(
        self, argv: Sequence[str], *, deadline: float, on_line: Callable[[str], None] | None = None, silence: float | None = None
    ) -> HostResult:
        errors = scratch_file("stderr")
        done = run(argv, limits=Limits(deadline), stderr=errors)
        text = done.text()
        for line in text.splitlines() if on_line else ():
            assert on_line is not None
            on_line(line)
        return HostResult(done.returncode, text, done.error_text(), done.seconds)

    def put(self, local: Path, remote: str) -> None:
        Path(remote).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, f"{remote}.part")
        os.replace(f"{remote}.part", remote)

    def console_text(self) -> str:
        return ""

    def alive(self) -> bool:
        return True

    def diagnose(self, folder: Path) -> tuple[Path, ...]:
        return procfs.collect([], folder)
