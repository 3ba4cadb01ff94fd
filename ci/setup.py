# SPDX-License-Identifier: Apache-2.0
"""The launcher's second half: sees whether anything must be set up for the asked-for tasks, then becomes Invoke.

`./inv` runs this with the environment's Python, or with the system's where no environment is ready. It uses the
standard library only, and what really sets up (ci/bootstrap.py) is imported when it is needed, so that a call
with nothing to set up costs a few file look-ups. Everything said here goes to standard error.

`.venv` is a link to a folder in `.vexci/`. An environment is made there aside, and the link is put in place
last: whatever kills a setup, `.venv` is either absent, or the earlier one, or whole.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from ci import packages

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STATE = os.path.join(ROOT, ".vexci")
LINK = os.path.join(ROOT, ".venv")
READY = "vexci-ready"
LOCKED = "locked"

# Files of each group, in the order of installing. The second of `vm` is compiled with what the first one brings.
LOCK_FILES: dict[str, tuple[str, ...]] = {
    "base": ("requirements.txt",),
    "vm": ("requirements-build.txt", "requirements-vm.txt"),
    "dev": ("requirements-dev.txt",),
    "release": ("requirements-release.txt",),
    "sigstore": ("requirements-sigstore.txt",),
}
FROM_SOURCE = "requirements-vm.txt"

USAGE, INFRA, INTERRUPTED = 2, 3, 130


class SetupError(Exception):
    """What stops the setup: the exit code, and sentences for the person at the keyboard."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__(lines[0])
        self.code = code
        self.lines = lines


def say(text: str) -> None:
    """One line to standard error."""
    print(f"vexci: {text}", file=sys.stderr, flush=True)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def stamp(version: tuple[int, int]) -> bytes:
    """What an environment's stamp says: where it belongs, and for which Python. A moved project sets up anew."""
    return f"{ROOT}\n{version[0]}.{version[1]}\n".encode()


def ready(groups: tuple[str, ...]) -> bool:
    """True where `.venv` holds exactly the locked libraries of all `groups`, for the Python that it links to."""
    written = _read(os.path.join(LINK, READY))
    if written is None or not os.access(os.path.join(LINK, "bin", "python"), os.X_OK):
        return False
    if _inside() and written != stamp(sys.version_info[:2]):
        return False
    return written.startswith(f"{ROOT}\n".encode()) and all(_as_locked(name) for group in groups for name in LOCK_FILES[group])


def _as_locked(name: str) -> bool:
    kept = _read(os.path.join(LINK, LOCKED, name))
    return kept is not None and kept == _read(os.path.join(ROOT, name))


def _inside() -> bool:
    """True where this process runs on the environment's own Python."""
    return os.path.abspath(sys.prefix) == LINK


def main(arguments: list[str]) -> NoReturn:
    """Set up what is missing for these arguments, then become Invoke with them."""
    wanted = packages.wanted(arguments)
    absent = packages.missing(wanted.system)
    if absent or not ready(wanted.python):
        if "--complete" in arguments:
            sys.exit(0)  # a press of the Tab key installs nothing
        _set_up(wanted)
    if not _inside():
        python = os.path.join(LINK, "bin", "python")
        os.execv(python, [python, os.path.join(ROOT, "ci", "__main__.py"), *arguments])
    hand_over(arguments)


def hand_over(arguments: list[str]) -> NoReturn:
    """Run Invoke in this process, with the project's tasks from wherever it was called."""
    launcher = os.path.join(ROOT, "inv")
    sys.argv = [launcher, *arguments]
    from ci.program import Launcher

    try:
        Launcher().run([launcher, "--search-root", ROOT, *arguments])
    except BrokenPipeError:  # './inv --list | head': the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _set_up(wanted: packages.Wanted) -> None:
    from ci import bootstrap

    try:
        bootstrap.set_up(wanted)
    except SetupError as error:
        say(error.lines[0])
        for line in error.lines[1:]:
            print(f"  {line}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        say("interrupted; nothing half-made is left, the next call begins anew")
        sys.exit(INTERRUPTED)
    if not ready(wanted.python):
        say("the environment was made and yet is not as locked: this is a bug in ci/setup.py")
        sys.exit(INFRA)
