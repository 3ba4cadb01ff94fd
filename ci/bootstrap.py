# SPDX-License-Identifier: Apache-2.0
"""Makes what is missing: system packages through apt, and the Python environment from the hash-locked files.

The slow path of ci/setup.py; the standard library only. Output of the package managers goes to
`.vexci/setup.log`, and what went wrong is said in their own last words.
"""

from __future__ import annotations

import fcntl
import glob
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ci import packages, setup
from ci.setup import INFRA, USAGE, SetupError, say

SECONDS_APT = 1800
SECONDS_PIP = 900
APT_LOCK_SECONDS = 600
END_SECONDS = 60
OFFLINE = re.compile(
    r"Temporary failure (in name resolution|resolving)|Name or service not known|Could not resolve|Could not connect"
    r"|Network is unreachable|No route to host|Connection refused|NewConnectionError|ConnectTimeout|Connection timed out|Unable to connect"
)
INTERRUPTED_DPKG = "dpkg was interrupted"
HASH_MISMATCH = "DO NOT MATCH THE HASHES"
# Settings of the person's shell that would send libraries elsewhere, or mix others in.
FOREIGN = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_HASHES", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def set_up(wanted: packages.Wanted) -> None:
    """Install what the tasks need and make `.venv`; raises SetupError. One setup at a time for each project."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupts.arrive)
    try:
        os.makedirs(setup.STATE, exist_ok=True)
        with _alone():
            python = base_python()
            install(_needs(wanted, python), python)
            # apt may take away what was here, where its package is of another release than the new ones want.
            install([row for row in _needs(wanted, python) if not row[2]], python)
            if not setup.ready(wanted.python):
                _make_environment(_groups(wanted.python), python)
    except OSError as error:
        raise SetupError(INFRA, f"cannot set up in {error.filename or setup.STATE}: {error.strerror}") from error


class _Interrupts:
    """Turns signals into KeyboardInterrupt, but never between the birth of a process and our knowing of it."""

    def __init__(self) -> None:
        self._held = False
        self._arrived = False

    def arrive(self, _number: int, _frame: object) -> None:
        self._arrived = True
        if not self._held:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._arrived:
            raise KeyboardInterrupt


_interrupts = _Interrupts()


@contextmanager
def _alone() -> Iterator[None]:
    """Holds the project's setup lock; the kernel drops it when the holder dies."""
    with open(os.path.join(setup.STATE, "setup.lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./inv is setting up; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def base_python() -> str:
    """The Python that environments are made with: the one outside of any environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _groups(asked: tuple[str, ...]) -> tuple[str, ...]:
    """The asked groups, and those that the present environment has and that can still be built."""
    kept = [
        group
        for group, names in setup.LOCK_FILES.items()
        if group not in asked
        and all(os.path.exists(os.path.join(setup.LINK, setup.LOCKED, name)) for name in names)
        and not packages.missing(packages.PYTHON_BUILD.get(group, ()))
    ]
    return tuple(group for group in setup.LOCK_FILES if group in asked or group in kept)


def _needs(wanted: packages.Wanted, python: str) -> list[tuple[str, str, bool]]:
    """(package, why, optional) of everything that is not on the machine; packages that this system lacks have ""."""
    system = packages.system_name()
    ids = list(wanted.system)
    building = not setup.ready(wanted.python)
    if building:
        ids += [name for group in wanted.python for name in packages.PYTHON_BUILD.get(group, ()) if name not in ids]
    rows = [packages.NEEDS[name] for name in packages.missing(ids)]
    found = [(packages.package(row, system), row.why, row.optional) for row in rows]
    found = [row for row in found if row[0] or not row[2]]
    if building:
        found += [(name, why, False) for name, why in _python_packages(wanted.python, python)]
    return found


def _python_packages(groups: tuple[str, ...], python: str) -> list[tuple[str, str]]:
    """What Debian splits off from Python and an environment needs: ensurepip, and the headers for compiling."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    default = os.path.realpath("/usr/bin/python3") == os.path.realpath(python)
    prefix = "python3" if default else version
    found = []
    if not _has_ensurepip():
        found.append((f"{prefix}-venv", "makes Python environments"))
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if any(packages.PYTHON_BUILD.get(group) for group in groups) and not os.path.exists(header):
        found.append((f"{prefix}-dev", "libvirt-python is compiled against it"))
    return found


def _has_ensurepip() -> bool:
    import importlib.util

    return importlib.util.find_spec("ensurepip") is not None


def install(needs: list[tuple[str, str, bool]], python: str) -> None:
    """Install packages with apt as root or with a sudo that asks no password; else say what a person must run."""
    required = [row for row in needs if not row[2]]
    names = [name for name, _, _ in needs if name]
    if not needs:
        return
    if packages.which("apt-get") is None or not all(row[0] for row in required):
        if not required:
            return
        raise SetupError(
            USAGE,
            "this system is not Debian or Ubuntu, and these are not installed; install what holds them, then run the same again:",
            *(f"{name or '(no package)'}: {why}" for name, why, _ in required),
        )
    prefix = _privilege()
    if prefix is None:
        if not required:
            return  # an optional thing is no reason to stop a person who may not install it
        names = [name for name, _, _ in required]
        raise SetupError(
            USAGE,
            f"{_count(names)} must be installed first, which takes root; run this once, then the same again:",
            packages.install_command(names, root=False),
        )
    if required:
        _apt(prefix, [name for name, _, _ in required])
    extra = [name for name, _, optional in needs if optional]
    if extra:
        _apt_optional(prefix, extra)
    still = [name for name, _, optional in _still_missing(needs) if not optional]
    if still:
        raise SetupError(INFRA, f"apt-get installed {' '.join(still)}, and yet what is needed of it is not where it should be")


def _still_missing(needs: list[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    system = packages.system_name()
    absent = {packages.package(row, system) for row in packages.NEEDS.values() if not packages.present(row)}
    return [row for row in needs if row[0] in absent]


def _count(names: Sequence[str]) -> str:
    return f"the system package {names[0]}" if len(names) == 1 else f"{len(names)} system packages"


def _privilege() -> list[str] | None:
    """The words before apt-get: none for root, sudo where it asks nothing, None where neither goes."""
    if os.geteuid() == 0:
        return []
    sudo = packages.which("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    return [sudo, "-n"] if asked.returncode == 0 else None


def _apt(prefix: list[str], names: list[str]) -> None:
    """apt-get install, with fresh lists where there are none or where the install fails without them."""
    say(f"installing with apt-get: {' '.join(names)}")
    command = ["apt-get", "install", "-y", "--no-install-recommends", "-o", f"DPkg::Lock::Timeout={APT_LOCK_SECONDS}", *names]
    if glob.glob("/var/lib/apt/lists/*_Packages*"):
        code, text = _logged([*prefix, *_quiet_apt(), *command], SECONDS_APT)
        if code == 0:
            _tell_removed(text)
            return
        if INTERRUPTED_DPKG in text:
            _logged([*prefix, *_quiet_apt(), "dpkg", "--configure", "-a"], SECONDS_APT)
    update = _logged([*prefix, *_quiet_apt(), "apt-get", "update"], SECONDS_APT)
    code, text = _logged([*prefix, *_quiet_apt(), *command], SECONDS_APT)
    if code != 0:
        raise _failed(f"apt-get could not install {' '.join(names)} (exit {code})", text if update[0] == 0 else update[1] + text)
    _tell_removed(text)


def _tell_removed(text: str) -> None:
    if gone := packages.removed(text):
        say(f"apt-get removed {' '.join(gone)}, which did not go with them")


def _apt_optional(prefix: list[str], names: list[str]) -> None:
    try:
        _apt(prefix, names)
    except SetupError as error:
        say(f"going on without {' '.join(names)}, which only some tests use: {error.lines[0]}")


def _quiet_apt() -> list[str]:
    return ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]


def _failed(what: str, text: str) -> SetupError:
    """An infrastructure error with the tool's own last words, and the likely reason in one sentence."""
    tail = [line.rstrip() for line in text.splitlines() if line.strip()][-8:]
    reasons = []
    if OFFLINE.search(text):
        reasons.append("the package archive cannot be reached: is this machine offline, or does it need a proxy?")
    if HASH_MISMATCH in text:
        reasons.append("a downloaded library is not the one that was locked: do not go on before it is known why")
    if "No space left on device" in text:
        reasons.append("the disk is full")
    log = os.path.join(setup.STATE, "setup.log")
    return SetupError(INFRA, what + (f": {reasons[0]}" if reasons else ""), *tail, f"(all of it is in {log})")


def _logged(command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command, its output appended to setup.log; returns its exit code and its output.

    Interrupted, or past its time, it gets SIGINT, which lets dpkg finish the package in hand, and later SIGKILL.
    """
    path = os.path.join(setup.STATE, "setup.log")
    with open(path, "ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        begin = log.tell()
        process: subprocess.Popen[bytes] | None = None
        try:
            with _interrupts.held():
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
                )
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise SetupError(INFRA, f"{' '.join(command[:2])} did not end within {seconds:.0f} s and was stopped (see {path})") from None
        finally:
            if process is not None and process.poll() is None:
                _end(process)
    with open(path, "rb") as log:
        log.seek(begin)
        return code, log.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)  # also what it started and left behind
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # it ended between the look and the signal, which is what was wanted
    except PermissionError:  # it runs under sudo
        subprocess.run(["sudo", "-n", "kill", f"-{number.value}", "--", f"-{group}"], stdin=subprocess.DEVNULL, check=False)


def _make_environment(groups: tuple[str, ...], python: str) -> None:
    """Make a whole environment aside, then switch `.venv` to it and remove the others."""
    if os.path.lexists(setup.LINK) and not os.path.islink(setup.LINK):
        raise SetupError(USAGE, f"{setup.LINK} is not the launcher's; move it away: mv {setup.LINK} {setup.LINK}.mine")
    version = sys.version_info[:2]
    files = [name for group in groups for name in setup.LOCK_FILES[group]]
    say(f"making .venv with Python {version[0]}.{version[1]} from {' '.join(files)}")
    folder = os.path.join(setup.STATE, f"venv-{secrets.token_hex(4)}")
    try:
        _fill(folder, files, python)
        with open(os.path.join(folder, setup.READY), "wb") as file:
            file.write(setup.stamp((version[0], version[1])))
            file.flush()
            os.fsync(file.fileno())
        switch = os.path.join(setup.STATE, f"link-{secrets.token_hex(4)}")
        os.symlink(os.path.relpath(folder, setup.ROOT), switch)
        os.replace(switch, setup.LINK)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _remove_others(folder)


def _fill(folder: str, files: list[str], python: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    environment.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PYTHONNOUSERSITE="1")
    code, text = _logged([python, "-m", "venv", folder], SECONDS_PIP, environment)
    if code != 0:
        raise _failed(f"{python} -m venv failed (exit {code})", text)
    kept = os.path.join(folder, setup.LOCKED)
    os.mkdir(kept)
    for name in files:
        # What is installed and what is kept for comparing must be the same bytes, also where somebody edits meanwhile.
        locked = shutil.copyfile(os.path.join(setup.ROOT, name), os.path.join(kept, name))
        how = ["--no-build-isolation"] if name == setup.FROM_SOURCE else ["--only-binary", ":all:"]
        pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--require-hashes", *how, "-r", locked]
        code, text = _logged(pip, SECONDS_PIP, environment)
        if code != 0:
            raise _failed(f"pip could not install what {name} locks (exit {code})", text)


def _remove_others(folder: str) -> None:
    """Remove environments that are not linked any more, and what killed setups left."""
    for name in os.listdir(setup.STATE):
        path = os.path.join(setup.STATE, name)
        if name.startswith("venv-") and path != folder:
            shutil.rmtree(path, ignore_errors=True)
        elif name.startswith("link-"):
            os.unlink(path)
