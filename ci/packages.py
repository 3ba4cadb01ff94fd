# SPDX-License-Identifier: Apache-2.0
"""Which programs and files each task needs of the machine, and which Debian or Ubuntu packages hold them.

Used by the launcher before any library is installed, so: the standard library only. Presence is judged by
looking for the program or the file itself, never by asking the package manager, so that a hand-built gcc counts.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Need(NamedTuple):
    """One thing that must be on the machine, and the package that holds it.

    `programs` are looked for on PATH, `files` are paths or glob patterns; any one of them is enough.
    `package` is the name on Debian 12; `elsewhere` gives other names by `ID-VERSION_ID` or `ID` of
    /etc/os-release, where "" means that this system has no such package. An `optional` thing is installed where
    that is possible, and its absence stops nothing.
    """

    package: str
    why: str
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()
    optional: bool = False


NEEDS: dict[str, Need] = {
    "git": Need("git", "the commit that is built", ("git",)),
    "gcc": Need("gcc", "compiles modules and links daemons", ("gcc",)),
    "gcc-12": Need("gcc-12", "Debian's kernels name their compiler by its version", ("x86_64-linux-gnu-gcc-12", "gcc-12")),
    "libc-dev": Need("libc6-dev", "headers and start-up files for linking", files=("/usr/include/stdio.h",)),
    "make": Need("make", "drives Kbuild", ("make",)),
    "libelf": Need(
        "libelf1",
        "the kernel's objtool reads objects with it",
        files=("/usr/lib/*/libelf.so.1", "/lib/*/libelf.so.1", "/usr/lib*/libelf.so.1"),
        elsewhere=(("ubuntu-24.04", "libelf1t64"), ("debian-13", "libelf1t64")),
    ),
    "pahole": Need("pahole", "writes the types (BTF) into modules of newer kernels", ("pahole",), elsewhere=(("ubuntu-22.04", "dwarves"),)),
    "kmod": Need("kmod", "modinfo and depmod", ("modinfo",)),
    "sparse": Need("sparse", "checks kernel C for address-space and endianness mistakes", ("sparse",)),
    "qemu": Need("qemu-system-x86", "runs guests", ("qemu-system-x86_64",)),
    "qemu-img": Need("qemu-utils", "makes overlay disks", ("qemu-img",)),
    "libvirtd": Need("libvirt-daemon", "manages guests", ("libvirtd", "virtqemud")),
    "libvirt-qemu": Need(
        "libvirt-daemon-driver-qemu",
        "libvirt's QEMU driver",
        files=("/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so", "/usr/lib*/libvirt/connection-driver/libvirt_driver_qemu.so"),
    ),
    "busybox": Need("busybox-static", "the first program of an initramfs", files=("/var/lib/dpkg/info/busybox-static.list",)),
    "cpio": Need("cpio", "tests unpack an initramfs with it", ("cpio",)),
    "zstd": Need("zstd", "tests pack a module with it", ("zstd",)),
    "file": Need("file", "tests ask it what a kernel image is", ("file",)),
    "mke2fs": Need("e2fsprogs", "makes guest disks", ("mke2fs",)),
    "mmdebstrap": Need("mmdebstrap", "makes guest root filesystems", ("mmdebstrap",)),
    "uidmap": Need("uidmap", "lets mmdebstrap work without root", ("newuidmap",)),
    "keyring": Need("debian-archive-keyring", "verifies Debian's packages", files=("/usr/share/keyrings/debian-archive-keyring.gpg",)),
    "ssh": Need("openssh-client", "makes the keys of guests", ("ssh-keygen",)),
    "flex": Need("flex", "configures a kernel's source", ("flex",)),
    "bison": Need("bison", "configures a kernel's source", ("bison",)),
    "bc": Need("bc", "the build of a kernel computes with it", ("bc",)),
    "perl": Need("perl", "the build of a kernel runs scripts of it", ("perl",)),
    "xz": Need("xz-utils", "unpacks a kernel's source", ("xz",)),
    "tar": Need("tar", "unpacks a kernel's source", ("tar",)),
    "libelf-dev": Need("libelf-dev", "the kernel's objtool is compiled against it", files=("/usr/include/gelf.h",)),
    "fuse": Need("fuse3", "mounts the daemon without root", ("fusermount3",)),
    "fio": Need("fio", "workloads of benchmarks on this machine", ("fio",)),
    "fuse2fs": Need("fuse2fs", "the daemon is measured beside it", ("fuse2fs",), optional=True),
    "chromium": Need(
        "chromium",
        "tests look at the report in a browser",
        ("chromium", "chromium-browser", "google-chrome"),
        elsewhere=(("ubuntu", ""),),  # there it is a snap, which a machine without systemd cannot install
        optional=True,
    ),
    "dpkg-dev": Need("dpkg-dev", "says what a program in a .deb needs", ("dpkg-shlibdeps",)),
    "rpm": Need("rpm", "tests ask it what an .rpm holds", ("rpm",)),
    "rpmlint": Need("rpmlint", "tests look at the .rpm files with it", ("rpmlint",), optional=True),
    "lintian": Need("lintian", "tests look at the .deb files with it", ("lintian",)),
    "minisign": Need("minisign", "tests sign a release with it", ("minisign",)),
    "gpg": Need("gnupg", "tests sign a release with it", ("gpg",)),
    "libvirt-dev": Need("libvirt-dev", "libvirt-python is compiled against it", files=("/usr/include/libvirt/libvirt.h",)),
    "pkg-config": Need("pkg-config", "finds libvirt for libvirt-python", ("pkg-config",)),
}

BUILD = ("git", "gcc", "gcc-12", "libc-dev", "make", "libelf", "pahole", "kmod", "keyring", "sparse")
IMAGE = ("mmdebstrap", "uidmap", "keyring", "mke2fs", "busybox", "qemu-img", "kmod")
GUEST = (*IMAGE, "qemu", "libvirtd", "libvirt-qemu", "ssh")
# Builds a kernel from source. Where a matrix asks for one without `./inv kernels --fetch`, its absence is told (ci/kernels/source.py).
SOURCE = ("flex", "bison", "bc", "perl", "xz", "tar", "libelf-dev")
RELEASE = (*BUILD, "dpkg-dev")
PACKAGES = ("dpkg-dev", "rpm", "rpmlint", "lintian", "minisign", "gpg")
SPECIMENS = ("cpio", "zstd", "file", "busybox", "mke2fs", *SOURCE)
TEST = (*BUILD, *GUEST, *SPECIMENS, *PACKAGES, "fuse", "fio", "chromium")


class Wanted(NamedTuple):
    """What the tasks of one command line need: ids of NEEDS, and groups of Python libraries."""

    system: tuple[str, ...] = ()
    python: tuple[str, ...] = ("base",)


NOTHING = Wanted()
_GUEST = Wanted(GUEST, ("base", "vm"))
_ALL = Wanted((*BUILD, *GUEST), ("base", "vm"))

# A task that is not here, nor its collection (the part before the dot), needs nothing of the system.
TASKS: dict[str, Wanted] = {
    "build": Wanted(BUILD),
    "verify": Wanted(BUILD),
    "lint": Wanted(BUILD, ("base", "dev", "sigstore")),  # mypy reads its types
    "kernels": NOTHING,
    "kernels --fetch": Wanted((*BUILD, *SOURCE)),  # it may be one that is built
    "image": Wanted(IMAGE),
    "image.list": NOTHING,
    "vm": _GUEST,
    "vm.prune": NOTHING,
    "deploy": _ALL,
    "validate": _ALL,
    "bisect": _ALL,
    "bench": Wanted((*_ALL.system, "fio", "fuse2fs"), _ALL.python),
    "dev": _ALL,
    "ci": _ALL,
    "ci.matrix": NOTHING,
    "ci.farm": NOTHING,
    "ci.cost": NOTHING,
    "release": Wanted(RELEASE, ("base", "release")),
    "release.verify": NOTHING,
    "release.verify --identity": Wanted((), ("base", "sigstore")),
    "release.prove": Wanted((*GUEST, "dpkg-dev"), ("base", "vm")),
    "test": Wanted(TEST, ("base", "vm", "dev", "release", "sigstore")),
    "test --quick": Wanted((*BUILD, *SPECIMENS, *PACKAGES), ("base", "dev", "release", "sigstore")),
}

# What must be there to build the libraries of a group from source.
PYTHON_BUILD: dict[str, tuple[str, ...]] = {"vm": ("gcc", "libc-dev", "libvirt-dev", "pkg-config")}

_ONLY_ASK = {"--help", "-h", "--list", "--complete", "--print-completion-script"}
_ONLY_ASK_FIRST = {"-l", "-V", "--version"}  # behind a task they are the task's own flags: ./inv release --version 1.2.3
# Options with which a task needs something else.
_CHANGING = {"--quick": {"--quick", "-q"}, "--fetch": {"--fetch", "-f"}, "--identity": {"--identity"}}


def wanted(arguments: Sequence[str]) -> Wanted:
    """What the tasks on this command line need together. Asking for help or a list needs nothing but Invoke."""
    words = list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)
    if any(word.partition("=")[0] in _ONLY_ASK for word in words) or _ONLY_ASK_FIRST.intersection(words[:1]):
        return NOTHING
    options = [name for name, spelt in _CHANGING.items() if any(word.partition("=")[0] in spelt for word in words)]
    system: dict[str, None] = {}
    python: dict[str, None] = {"base": None}
    for word in words:
        name = next((f"{word} {option}" for option in options if f"{word} {option}" in TASKS), word)
        row = TASKS.get(name) or TASKS.get(name.partition(".")[0], NOTHING)
        system.update(dict.fromkeys(row.system))
        python.update(dict.fromkeys(row.python))
    return Wanted(tuple(system), tuple(python))


def which(program: str) -> str | None:
    """The full path of a program on PATH or in the system folders, or None."""
    for folder in f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin".split(":"):
        path = os.path.join(folder, program)
        if folder and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def present(need: Need) -> bool:
    """True where one of its programs or files is on this machine."""
    return any(which(program) for program in need.programs) or any(
        glob.glob(pattern) if "*" in pattern else os.path.exists(pattern) for pattern in need.files
    )


def missing(ids: Iterable[str]) -> list[str]:
    """Those of `ids` that are not on this machine, in the given order."""
    return [name for name in ids if not present(NEEDS[name])]


def system_name(os_release: str = "/etc/os-release") -> tuple[str, str]:
    """(`ID-VERSION_ID`, `ID`) of this system, such as ("ubuntu-24.04", "ubuntu"); empty strings where unknown."""
    facts: dict[str, str] = {}
    try:
        with open(os_release, encoding="utf-8") as file:
            for row in file:
                key, _, value = row.strip().partition("=")
                facts[key] = value.strip("\"'")
    except FileNotFoundError:
        return ("", "")
    name = facts.get("ID", "")
    return (f"{name}-{facts['VERSION_ID']}" if "VERSION_ID" in facts else name, name)


def package(need: Need, system: tuple[str, str]) -> str:
    """The package's name on that system; "" where it has none."""
    names = dict(need.elsewhere)
    for name in system:
        if name in names:
            return names[name]
    return need.package


def install_command(packages: Sequence[str], *, root: bool) -> str:
    """The one line that a person runs to install `packages`."""
    line = f"apt-get update && apt-get install -y --no-install-recommends {' '.join(packages)}"
    return line if root else f"sudo sh -c '{line}'"


def removed(said: str) -> list[str]:
    """The packages that apt-get took away for the sake of others, from what it said in English (`Removing NAME (VERSION) ...`)."""
    return re.findall(r"^Removing (\S+) \(.*\) \.\.\.$", said, re.MULTILINE)
