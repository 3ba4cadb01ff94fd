# SPDX-License-Identifier: Apache-2.0
"""What this machine can do: the facts of a run record, and the doctor's findings with the command that fixes each.

Looking changes nothing. Of KVM only existence and open() are looked at here. They prove little: a device can open
and yet run no guest. So the caller hands in the answer of a real boot where there is one.
"""

from __future__ import annotations

import grp
import os
import platform
import pwd
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ci import packages, process, store, tools
from ci.model import Accelerator

OK, LIMITED, MISSING = "ok", "limited", "missing"

TRIED_SYSTEMS = ("debian-12", "ubuntu-22.04", "ubuntu-24.04")
RUSTUP = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default"
RECORDED_TOOLS = ("gcc", "ld", "make", "kmod", "rustc", "cargo", "qemu", "libvirtd", "git")
DISK_WANTED_MIB = 10 << 10
MEMORY_WANTED_MIB = 3 << 10
GUEST_USER = "libvirt-qemu"
TRAP = (
    "a system libvirtd that could open /dev/kvm finds that {user}, as whom it runs QEMU, may not; it then calls what it knows of QEMU"
    " stale at every look-up and probes again, 4 s each: a start takes over 75 s. Guests of this tool have their own daemon, free of it"
)


@dataclass(frozen=True)
class Finding:
    """One row of the doctor: `state` is ok, limited (works with less) or missing.

    `fix` is the argv of the command that repairs it, which `doctor --fix` runs; `advice` is what a person must do
    instead where no command of ours may do it.
    """

    id: str
    what: str
    state: str
    detail: str
    fix: tuple[str, ...] | None = None
    needed_for: str = ""
    advice: str = ""


def facts() -> dict[str, Any]:
    """What a run record says of the machine. Tool versions are remembered, so that this takes milliseconds."""
    return {
        "os": _os_name(),
        "kernel": platform.release(),
        "arch": platform.machine(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": _memory_mib(),
        "python": platform.python_version(),
        "tools": tools.versions(RECORDED_TOOLS),
    }


def survey(accelerator: Accelerator | None = None) -> list[Finding]:
    """Everything that the doctor shows, in order. `accelerator` is the remembered answer of a real boot."""
    looks: tuple[Callable[[], list[Finding]], ...] = (
        lambda: [_system(), _processor(), _memory(), _disk(), _privilege(), _python()],
        _programs,
        _rust,
        lambda: [_host_headers()],
        lambda: [_kvm(accelerator), *_kvm_trap(), _fuse(), _loop(), _libvirt_python(), _engine(), _modules()],
    )
    return [finding for look in looks for finding in look()]


def fixes(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """The commands that repair what is wrong, packages together in one, in the order to run them."""
    wrong = [finding.fix for finding in findings if finding.state != OK and finding.fix]
    names = [word for fix in wrong if "apt-get" in fix for word in fix[fix.index("install") + 1 :] if not word.startswith("-")]
    others = [fix for fix in wrong if "apt-get" not in fix]
    if not names:
        return others
    return [(*_as_root(), "apt-get", "update"), _apt(*dict.fromkeys(names)), *others]


def _as_root() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else ("sudo",)


def _apt(*names: str) -> tuple[str, ...]:
    return (*_as_root(), "apt-get", "install", "-y", "--no-install-recommends", *names)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return platform.system()


def _field(path: str, key: str) -> str:
    with open(path, encoding="utf-8") as file:
        for row in file:
            name, _, value = row.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _cpu_model() -> str:
    return _field("/proc/cpuinfo", "model name") or platform.machine()


def _memory_mib() -> int:
    return int(_field("/proc/meminfo", "MemTotal").split()[0]) >> 10


def _system() -> Finding:
    names = packages.system_name()
    known = Finding("os", "operating system", OK, f"{_os_name()}, Linux {platform.release()}")
    if names[0] in TRIED_SYSTEMS:
        return known
    if packages.which("apt-get"):
        return replace(known, state=LIMITED, detail=f"{known.detail}; tried are Debian 12 and Ubuntu 22.04 and 24.04")
    advice = f"use one of {', '.join(TRIED_SYSTEMS)}, or install by hand what the rows below name"
    return replace(known, state=LIMITED, detail=f"{known.detail}; without apt nothing is installed by itself", advice=advice)


def _processor() -> Finding:
    detail = f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, {platform.machine()}"
    if platform.machine() == "x86_64":
        return Finding("cpu", "processor", OK, detail)
    return Finding("cpu", "processor", MISSING, detail, needed_for="everything", advice="use an x86_64 machine")


def _memory() -> Finding:
    mib = _memory_mib()
    state = OK if mib >= MEMORY_WANTED_MIB else LIMITED
    return Finding("memory", "memory", state, f"{mib} MiB" + ("" if state == OK else "; a guest takes 1024"), needed_for="vm")


def _disk() -> Finding:
    place = store.cache_dir()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free >> 20
    finding = Finding("disk", "disk for the cache", OK, f"{free >> 10} GiB free at {place}", needed_for="kernels, images")
    if free >= DISK_WANTED_MIB:
        return finding
    advice = "free space, or ./inv clean --cache, or set VEXCI_CACHE to a folder on a larger disk"
    return replace(finding, state=LIMITED, detail=f"{free} MiB free at {place}; kernels and images want 10 GiB", advice=advice)


def _privilege() -> Finding:
    needed = "installing system packages"
    if os.geteuid() == 0:
        return Finding("root", "becoming root", OK, "this user is root", needed_for=needed)
    sudo = packages.which("sudo")
    if sudo and process.run([sudo, "-n", "true"], limits=process.Limits(30)).ok:
        return Finding("root", "becoming root", OK, "sudo asks for no password", needed_for=needed)
    detail = "not without a password: ./inv prints what to run instead of running it"
    return Finding("root", "becoming root", LIMITED, detail, needed_for=needed)


def _python() -> Finding:
    where = "in .venv" if sys.prefix != sys.base_prefix else "of the system"
    return Finding("python", "Python", OK, f"{platform.python_version()} {where}", needed_for="everything")


class Area(NamedTuple):
    """A row of programs: what needs them, their ids, and the tools whose versions are shown. What is `optional` only limits."""

    name: str
    needed_for: str
    ids: tuple[str, ...]
    asked: tuple[str, ...]
    optional: bool = False


AREAS = (
    Area("building", "build, verify", packages.BUILD, ("gcc", "ld", "make", "pahole", "kmod", "git", "clang")),
    Area("images", "image.build", packages.IMAGE, ("mmdebstrap", "mke2fs")),
    Area("guests", "vm, deploy, validate, bench", tuple(n for n in packages.GUEST if n not in packages.IMAGE), ("qemu", "libvirtd", "ssh")),
    Area("testing", "test", ("sparse", "fuse", "fio", "chromium"), ("sparse", "fusermount3", "fio", "chromium")),
    Area("kernels", "building a kernel from its source (optional)", packages.SOURCE, (), optional=True),
)


def _programs() -> list[Finding]:
    """One row for each area of what is there, and one for each thing that is not."""
    system = packages.system_name()
    rows: list[Finding] = []
    for area in AREAS:
        absent = packages.missing(area.ids)
        versions = ", ".join(f"{name} {version}" for name, version in tools.versions(area.asked).items())
        there = f"{len(area.ids) - len(absent)} of {len(area.ids)} there" + (f": {versions}" if versions else "")
        rows.append(Finding(area.name, f"tools for {area.name}", OK if not absent else LIMITED, there, needed_for=area.needed_for))
        rows += [_absent(name, area, system) for name in absent]
    return rows


def _absent(name: str, area: Area, system: tuple[str, str]) -> Finding:
    need = packages.NEEDS[name]
    package = packages.package(need, system)
    state = LIMITED if need.optional or area.optional else MISSING
    fix = _apt(package) if package else None
    return Finding(name, name, state, f"not here: {need.why}", fix, area.needed_for, "" if package else "this system has no package of it")


def _rust() -> list[Finding]:
    """rustc and cargo from rustup; rustfmt and clippy for the linters."""
    found = tools.versions(("rustc", "cargo", "rustfmt", "clippy"))
    rustup = packages.which("rustup")
    rows = []
    if "rustc" in found and "cargo" in found:
        rows.append(Finding("rust", "Rust", OK, f"rustc {found['rustc']}, cargo {found['cargo']}", needed_for="build"))
    elif rustup:
        detail = "rustup is here without a toolchain that answers"
        return [Finding("rust", "Rust", MISSING, detail, ("rustup", "default", "stable"), "build")]
    else:
        return [Finding("rust", "Rust", MISSING, "no rustc and cargo here", None, "build", RUSTUP)]
    for name in ("rustfmt", "clippy"):
        if name in found:
            rows.append(Finding(name, name, OK, found[name], needed_for="lint, test"))
        elif rustup:
            rows.append(Finding(name, name, MISSING, "not in this toolchain", ("rustup", "component", "add", name), "lint, test"))
        else:
            rows.append(Finding(name, name, MISSING, "not in this toolchain", None, "lint, test", RUSTUP))
    return rows


def _host_headers() -> Finding:
    release = platform.release()
    what, needed = "headers of the running kernel", "building for the host's own kernel (optional)"
    folder = Path("/lib/modules") / release / "build"
    if (folder / "Makefile").exists():
        return Finding("headers", what, OK, f"{folder}", needed_for=needed)
    package = f"linux-headers-{release}"
    if packages.which("apt-cache") and "Candidate: " in _policy(package):
        return Finding("headers", what, LIMITED, f"none for {release}", _apt(package), needed)
    detail = f"none for {release}, and no package {package}: builds leave this kernel out"
    return Finding("headers", what, LIMITED, detail, needed_for=needed)


def _policy(package: str) -> str:
    done = process.run(["apt-cache", "policy", package], limits=process.Limits(20), env={**os.environ, "LC_ALL": "C.UTF-8"})
    return done.text().replace("Candidate: (none)", "")


def opens(path: str) -> str:
    """Empty where this user can open the device for reading and writing, else why not."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _kvm(accelerator: Accelerator | None) -> Finding:
    slow = "guests are emulated (TCG), several times slower"
    finding = Finding("kvm", "hardware virtualisation", LIMITED, "", needed_for="fast guests")
    if not os.path.exists("/dev/kvm"):
        advice = "on real hardware: enable virtualisation in the firmware; in a VM: enable nesting; in a container: pass /dev/kvm in"
        return replace(finding, detail=f"no /dev/kvm: {slow}", advice=advice)
    problem = opens("/dev/kvm")
    if problem:
        user = pwd.getpwuid(os.geteuid()).pw_name
        info = os.stat("/dev/kvm")
        join = bool(info.st_gid) and bool(info.st_mode & stat.S_IRGRP and info.st_mode & stat.S_IWGRP)
        fix = ("sudo", "usermod", "-aG", grp.getgrgid(info.st_gid).gr_name, user) if join else None
        advice = "then log in again" if fix else "let the owner of this machine allow it"
        return replace(finding, detail=f"/dev/kvm cannot be opened ({problem}): {slow}", fix=fix, advice=advice)
    if accelerator is None:
        return replace(finding, state=OK, detail="/dev/kvm opens; whether a guest boots with it is found out at the first VM")
    if accelerator.name == "kvm":
        return replace(finding, state=OK, detail=f"a guest boots with it ({accelerator.reason})")
    return replace(finding, detail=f"/dev/kvm opens, and yet no guest boots with it ({accelerator.reason}): {slow}")


def may_open(info: os.stat_result, user: pwd.struct_passwd) -> bool:
    """True where the mode of a device lets this user read and write it."""
    if user.pw_uid == 0:
        return True
    if info.st_uid == user.pw_uid:
        return info.st_mode & 0o600 == 0o600
    if info.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return info.st_mode & 0o060 == 0o060
    return info.st_mode & 0o006 == 0o006


def _kvm_trap() -> list[Finding]:
    """A row where a system libvirtd would fall into the 75-second trap, none elsewhere."""
    try:
        user, info = pwd.getpwnam(GUEST_USER), os.stat("/dev/kvm")
    except (KeyError, FileNotFoundError):
        return []
    if may_open(info, user):
        return []
    owner = f"{info.st_uid}:{info.st_gid} {stat.S_IMODE(info.st_mode):04o}"
    detail = f"/dev/kvm is {owner}: {TRAP.format(user=GUEST_USER)}"
    return [Finding("kvm-trap", "a system libvirtd here", LIMITED, detail, needed_for="guests of other tools")]


def _fuse() -> Finding:
    finding = Finding("fuse-device", "FUSE on this machine", OK, "/dev/fuse opens", needed_for="trying the daemon on the host")
    problem = opens("/dev/fuse")
    if not problem:
        return finding
    advice = "in a container: pass /dev/fuse in; guests have their own"
    return replace(finding, state=LIMITED, detail=f"/dev/fuse cannot be opened ({problem})", advice=advice)


def _loop() -> Finding:
    problem = opens("/dev/loop-control")
    detail = "/dev/loop-control opens" if not problem else f"/dev/loop-control cannot be opened ({problem}); guests have their own"
    return Finding("loop", "loop devices", LIMITED if problem else OK, detail, needed_for="mounting disk images on the host (optional)")


def _libvirt_python() -> Finding:
    there = find_spec("libvirt") is not None
    detail = "in the environment" if there else "not yet in the environment; the first task that needs it adds it"
    return Finding("libvirt-python", "libvirt for Python", OK, detail, needed_for="vm")


def _engine() -> Finding:
    what, needed = "container engine", "servers that exist only as containers (optional)"
    found = [name for name in ("docker", "podman") if packages.which(name)]
    if "podman" in found or _answers("/var/run/docker.sock"):
        return Finding("engine", what, OK, f"{'docker' if 'podman' not in found else 'podman'} is here", needed_for=needed)
    return Finding("engine", what, LIMITED, "a docker client without an engine" if found else "none", needed_for=needed)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def _modules() -> Finding:
    return Finding("modules", "loading modules into this kernel", OK, "refused, always: modules are loaded in guests only")
