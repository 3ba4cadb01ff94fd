# SPDX-License-Identifier: Apache-2.0
"""The serial console's log: read as it grows, quoted in messages, and searched for the end of the kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 15
# Terminal control sequences that systemd and getty send.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1bc|\r")
_TIMESTAMP = r"(?:\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? )?"
# Only what the kernel prints at the start of a line: a process that prints or is named "panic" does not count.
_PANIC = re.compile(rf"^{_TIMESTAMP}Kernel panic - not syncing: .*$", re.MULTILINE)
# At boot: the kernel found nothing to run, or init ended. That speaks of the image or the command line, not of the product.
_NO_ROOT = re.compile(r"VFS: (?:Unable to mount root|Cannot open root device)|No working init found|Requested init|Attempted to kill init")


def clean(data: bytes) -> str:
    """Console bytes as text without terminal control sequences."""
    return _CONTROL.sub("", data.decode(errors="backslashreplace"))


def text(path: Path) -> str:
    """The whole console so far; empty where nothing was written yet."""
    try:
        return clean(path.read_bytes())
    except FileNotFoundError:
        return ""


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines that are not empty, indented for a message."""
    rows = [row for row in text(path).splitlines() if row.strip()]
    return "\n".join(f"  | {row}" for row in rows[-lines:]) or "  | (the console is empty)"


def panic(content: str) -> str | None:
    """The kernel's own panic line, if it panicked."""
    found = _PANIC.search(content)
    return re.sub(rf"^{_TIMESTAMP}", "", found.group(0)) if found else None


def nothing_to_boot(content: str) -> bool:
    """True where the kernel panicked because it found no root file system or no init."""
    return _NO_ROOT.search(content) is not None


@dataclass
class Follower:
    """Reads what was added since the last look; `seen` in bytes."""

    path: Path
    seen: int = 0
    _rest: str = ""

    def new(self) -> str:
        """The lines that were completed since the last call, and the unfinished one again with them later."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.seen)
                data = file.read()
        except FileNotFoundError:
            return ""
        self.seen += len(data)
        whole, newline, self._rest = (self._rest + clean(data)).rpartition("\n")
        return whole + newline
