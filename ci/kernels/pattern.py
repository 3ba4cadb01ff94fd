# SPDX-License-Identifier: Apache-2.0
"""Kernel names as Debian writes them, and the patterns that choose among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ci.errors import UsageError

# 6.1.0-56-cloud-amd64, 6.12.117+deb12-cloud-amd64, 6.1.0-56-amd64, 6.1.0-56-rt-amd64
_RELEASE = re.compile(
    r"(?P<base>\d+\.\d+\.\d+)(?P<suffix>[+~][a-z0-9.+~]+)?(?:-(?P<abi>\d+))?(?:-(?P<flavour>[a-z]+))?-(?P<arch>[a-z0-9]+)"
)
# 6.1-cloud, 6.12, 6.1.0-56-cloud
_PATTERN = re.compile(r"(?P<base>\d+(?:\.\d+){1,2})(?:-(?P<abi>\d+))?(?:-(?P<flavour>[a-z]+))?")


@dataclass(frozen=True)
class Release:
    """One kernel release, taken apart; `flavour` is empty for the plain kernel."""

    name: str
    base: tuple[int, ...]
    suffix: tuple[int, ...]
    abi: int
    flavour: str
    arch: str

    @property
    def order(self) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
        """Sorts from old to new among releases of one flavour."""
        return (self.base, self.abi, self.suffix)

    @property
    def series(self) -> str:
        """The shortest pattern that chooses it, such as `6.1-cloud`."""
        return f"{self.base[0]}.{self.base[1]}" + (f"-{self.flavour}" if self.flavour else "")


def parse_release(name: str) -> Release | None:
    """A release name taken apart, or None where it is none (a metapackage's `6.1-cloud-amd64`, a `-common` package)."""
    found = _RELEASE.fullmatch(name)
    if found is None:
        return None
    return Release(
        name, numbers(found["base"]), numbers(found["suffix"] or ""), int(found["abi"] or 0), found["flavour"] or "", found["arch"]
    )


def numbers(text: str) -> tuple[int, ...]:
    """All numbers in a text, in order: 6.12.117 is newer than 6.12.9."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def check(pattern: str, where: str) -> re.Match[str]:
    """The pattern taken apart, or a UsageError that shows how one is written."""
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        raise UsageError(
            f"{where}: '{pattern}' is not a kernel pattern", hint="write a version and perhaps a flavour, such as 6.1, 6.1-cloud or 6.12-rt"
        )
    return found


def matching(pattern: str, releases: Iterable[Release], where: str = "pattern") -> list[Release]:
    """The releases that the pattern means, newest first."""
    wanted = check(pattern, where)
    base = numbers(wanted["base"])
    found = [
        release
        for release in releases
        if release.base[: len(base)] == base and release.flavour == (wanted["flavour"] or "") and wanted["abi"] in (None, str(release.abi))
    ]
    return sorted(found, key=lambda release: release.order, reverse=True)
