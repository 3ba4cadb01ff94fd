# SPDX-License-Identifier: Apache-2.0
"""How the tools of a distribution install and remove packages: apt and dpkg for a .deb, dnf and rpm for an .rpm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ci import process
from ci.errors import InfrastructureError, UsageError
from ci.guest import GuestResult
from ci.release import check, rpm

_FIELD = re.compile(r"(?m)^(Package|Version): (\S+)$")
# Packages of Debian's, on a distribution that has no dpkg: unpacked where they belong. Where the kernel's compiler has another name there,
# the distribution's own takes its place. Arguments: the packages.
_UNPACK = r"""
set -e
for package in "$@"; do ar p "$package" data.tar.xz | tar -xJ --keep-directory-symlink -C /; done
headers=$(readlink -f "/lib/modules/$(uname -r)/build")
compiler=$(sed -n 's/^CC = .*[ )]\(gcc-[0-9]*\)$/\1/p' "$headers/.kernelvariables")
[ -z "$compiler" ] || command -v "$compiler" >/dev/null || ln -s "$(command -v gcc)" "/usr/local/bin/$compiler"
"""
_HEADERS = 'if command -v dpkg >/dev/null; then dpkg --install "$@"; else' + _UNPACK + "fi"


@dataclass(frozen=True)
class Package:
    """A package file: its name and version are those that it says itself."""

    path: Path
    name: str
    version: str


class Manager(Protocol):
    """The tools of one kind of distribution, as argv. `tool` is the one that people call, `suffix` that of its package files."""

    @property
    def tool(self) -> str: ...
    @property
    def suffix(self) -> str: ...

    def read(self, path: Path) -> Package: ...
    def programs(self, path: Path) -> Iterator[tuple[str, str]]: ...
    def headers(self, places: Sequence[str]) -> list[str]:
        """Install the headers of the guest's kernel, which are packages of Debian's."""
        ...

    def install(self, places: Sequence[str]) -> list[str]:
        """Install or upgrade, from these files alone."""
        ...

    def state(self, packages: Sequence[Package]) -> list[str]:
        """Print a line `NAME VERSION installed` for each of them."""
        ...

    def verify(self, packages: Sequence[Package]) -> list[str]:
        """Print what is not as it was packed, and nothing where all is."""
        ...

    def remove(self, packages: Sequence[Package]) -> list[str]: ...


@dataclass(frozen=True)
class Apt:
    """Debian and what is made of it."""

    tool: str = "apt"
    suffix: str = ".deb"

    def read(self, path: Path) -> Package:
        fields = dict(_FIELD.findall(process.output(["dpkg-deb", "--field", path, "Package", "Version"])))
        return Package(path, fields["Package"], fields["Version"])

    def programs(self, path: Path) -> Iterator[tuple[str, str]]:
        return check.programs(path)

    def headers(self, places: Sequence[str]) -> list[str]:
        return ["dpkg", "--install", *places]

    def install(self, places: Sequence[str]) -> list[str]:
        return ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", *places]

    def state(self, packages: Sequence[Package]) -> list[str]:
        form = "${Package} ${Version} ${db:Status-Status}\\n"
        return ["dpkg-query", "-W", "-f", form, *(package.name for package in packages)]

    def verify(self, packages: Sequence[Package]) -> list[str]:
        return ["dpkg", "--verify", *(package.name for package in packages)]

    def remove(self, packages: Sequence[Package]) -> list[str]:
        return ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "--yes", *(package.name for package in packages)]


@dataclass(frozen=True)
class Dnf:
    """Fedora and what is made of it. A guest has no network, so no repository is asked."""

    tool: str = "dnf"
    suffix: str = ".rpm"

    def read(self, path: Path) -> Package:
        return Package(path, *rpm.identity(path))

    def programs(self, path: Path) -> Iterator[tuple[str, str]]:
        return rpm.programs(path)

    def headers(self, places: Sequence[str]) -> list[str]:
        return ["sh", "-c", _HEADERS, "sh", *places]

    def install(self, places: Sequence[str]) -> list[str]:
        return ["dnf", "--assumeyes", "--disablerepo=*", "--nogpgcheck", "install", *places]

    def state(self, packages: Sequence[Package]) -> list[str]:
        return ["rpm", "-q", "--qf", "%{NAME} %{VERSION}-%{RELEASE} installed\\n", *(package.name for package in packages)]

    def verify(self, packages: Sequence[Package]) -> list[str]:
        return ["rpm", "--verify", *(package.name for package in packages)]

    def remove(self, packages: Sequence[Package]) -> list[str]:
        keep = "--setopt=clean_requirements_on_remove=False"  # what was there before stays
        return ["dnf", "--assumeyes", "--disablerepo=*", keep, "remove", *(package.name for package in packages)]


MANAGERS: dict[str, Manager] = {"deb": Apt(), "rpm": Dnf()}


def of_guest(run: Callable[[Sequence[str]], GuestResult]) -> str:
    """The format that a guest's own tools install, `deb` or `rpm`; InfrastructureError where it has neither."""
    done = run(["sh", "-c", "command -v apt-get || command -v dnf"])
    found = {"apt-get": "deb", "dnf": "rpm"}.get(done.stdout.strip().rpartition("/")[2])
    if found is None:
        raise InfrastructureError("the guest has neither apt-get nor dnf", hint="give the machine an image that can install packages")
    return found


def packages(folder: Path, manager: Manager) -> list[Package]:
    """The packages of a release. UsageError where there is none."""
    files = sorted(folder.glob(f"*{manager.suffix}"))
    if not files:
        raise UsageError(f"{folder} holds no {manager.suffix}", hint="name the folder that './inv release' has made")
    return [manager.read(path) for path in files]
