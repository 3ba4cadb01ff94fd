# SPDX-License-Identifier: Apache-2.0
"""What deploy and validate need of a guest, as a protocol: a live `ci.vm` machine is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol


class GuestResult(Protocol):
    """How a command in a guest ended. `seconds` is wall time on the host."""

    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class Guest(Protocol):
    """A running machine that commands and files can be sent to."""

    @property
    def kernel(self) -> str:
        """The release that it runs, as `uname -r` has it."""
        ...

    def run(
        self, argv: Sequence[str], *, deadline: float, on_line: Callable[[str], None] | None = None, silence: float | None = None
    ) -> GuestResult:
        """Run argv in the guest; a non-zero exit is the caller's to judge.

        `on_line` gets each line of standard output as it arrives. Raises Hang where `deadline` or `silence` (no output;
        both in seconds) passes, GuestPanic or InfrastructureError where the guest is lost.
        """
        ...

    def put(self, local: Path, remote: str) -> None:
        """Copy a file into the guest as a whole (parents are made, an existing file is replaced)."""
        ...

    def console_text(self) -> str:
        """The serial console from the first byte of the boot to now; also of a guest that is dead."""
        ...

    def alive(self) -> bool:
        """True while the machine runs."""
        ...

    def diagnose(self, folder: Path) -> tuple[Path, ...]:
        """Gather what can still be learnt of a guest that is stuck or dead; returns the files."""
        ...
