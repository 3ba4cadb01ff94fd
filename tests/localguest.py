# SPDX-License-Identifier: Apache-2.0
"""This machine in place of a guest, for tests of what needs no kernel of its own.

Commands really run, in a mount namespace of their own each, so that no mount outlives them; nothing is loaded, and the
kernel's log, caches and sysrq are left alone (VEXCI_BORROWED).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci import identity
from ci.errors import Hang, VexciError
from ci.validate import plan
from ci.validate.guest.machine import BORROWED


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float


@dataclass
class LocalGuest:
    """`console` is what the serial console would show; `after` is added to it while the next agent runs.

    `lost` is raised once the agent has printed a line that holds `lost_at`, as where a guest dies. `inside` is the mount namespace of a
    process (its id) in which all commands run, for suites whose mounts outlive a command.
    """

    console: str = ""
    after: str = ""
    lost: VexciError | None = None
    lost_at: str = ""
    kernel: str = platform.release()
    ran: list[Sequence[str]] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)
    inside: int = 0

    def run(
        self, argv: Sequence[str], *, deadline: float, on_line: Callable[[str], None] | None = None, silence: float | None = None
    ) -> Result:
        """Run argv here; what only a guest of our own may be asked is answered with nothing."""
        self.ran.append(argv)
        if argv[0] == "dmesg":
            return Result(0, "", "", 0.0)
        namespace = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        if self.inside:
            namespace = ["nsenter", f"--mount=/proc/{self.inside}/ns/mnt"]
        begin = time.monotonic()
        process = subprocess.Popen(
            [*namespace, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, BORROWED: "1"},
            start_new_session=True,
        )
        timer = threading.Timer(deadline, process.kill)
        timer.start()
        lines = []
        assert process.stdout is not None and process.stderr is not None
        try:
            for line in process.stdout:
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))
                if self.lost is not None and self.lost_at in line:
                    process.kill()
                    self.console += self.after
                    raise self.lost
            process.wait()
            errors = process.stderr.read()
        finally:
            expired = not timer.is_alive()
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
        if expired:
            raise Hang(f"'{' '.join(argv)}' did not end within {deadline:g} s")
        if on_line is not None:
            self.console += self.after
        return Result(process.returncode, "".join(lines), errors, time.monotonic() - begin)

    def put(self, local: Path, remote: str) -> None:
        """Copy, as into a guest."""
        self.puts.append(remote)
        Path(remote).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, f"{remote}.part")
        os.replace(f"{remote}.part", remote)

    def console_text(self) -> str:
        return self.console

    def alive(self) -> bool:
        return self.lost is None

    def diagnose(self, folder: Path) -> tuple[Path, ...]:
        """One file, as where only the console is left."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "index.txt"
        file.write_text(self.console)
        return (file,)


@contextmanager
def lasting() -> Iterator[LocalGuest]:
    """One whose mounts last until it ends (as root)."""
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo; read end"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        holder.stdout.readline()
        yield LocalGuest(inside=holder.pid)
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def can_mount() -> bool:
    """True where this user may mount a tmpfs in a namespace of its own."""
    flags = ["--mount"] if os.getuid() == 0 else ["--user", "--map-root-user", "--mount"]
    done = subprocess.run(["unshare", *flags, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="this user may not mount in a namespace of its own (run as root)")


def keep_inside(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let everything that would lie in a guest lie below `folder`."""
    monkeypatch.setattr(identity, "FOLDER", str(folder / "opt"))
    monkeypatch.setattr(plan, "AGENT_FOLDER", str(folder / "agent"))
    monkeypatch.setattr(plan, "MOUNT_FOLDER", str(folder / "mnt"))
    monkeypatch.setattr(plan, "WORK_FOLDER", str(folder / "run"))
