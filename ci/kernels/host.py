# SPDX-License-Identifier: Apache-2.0
"""The running kernel, where its headers are installed. It is built for and never booted: nothing is loaded into the host."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ci.errors import UsageError
from ci.manifest import KernelSpec
from ci.model import KernelTarget

MODULES = Path("/lib/modules")
_RELEASE = re.compile(r'#define UTS_RELEASE "([^"]*)"')


def resolve(spec: KernelSpec) -> KernelTarget:
    """The running kernel as a target; UsageError where its headers are missing or are another kernel's (B8, B9)."""
    release = os.uname().release
    headers = MODULES / release / "build"
    if not (headers / "Makefile").is_file():
        raise UsageError(
            f"the headers of the running kernel {release} are not installed ({headers} does not exist)",
            hint=f"apt-get install linux-headers-{release} (a kernel that no distribution made has no such package: ask its maker)",
        )
    found = headers_release(headers)
    if found != release:
        raise UsageError(
            f"{headers} holds the headers of {found or 'no configured kernel'}, but {release} runs",
            hint=f"apt-get install --reinstall linux-headers-{release}",
        )
    flavour = release.rpartition("-")[2]
    return KernelTarget(spec.name, release, os.uname().machine, flavour, "host", headers.resolve(), origin=str(headers.resolve()))


def peek(spec: KernelSpec) -> tuple[str, str, tuple[Path, ...]]:
    """State, release and folders for a list."""
    release = os.uname().release
    headers = MODULES / release / "build"
    return ("installed", release, (headers.resolve(),)) if (headers / "Makefile").is_file() else ("missing", release, ())


def headers_release(headers: Path) -> str:
    """The release that a folder of headers was configured for, as its modules' vermagic will say; empty if it says none."""
    try:
        found = _RELEASE.search((headers / "include/generated/utsrelease.h").read_text())
    except OSError:
        return ""
    return found.group(1) if found else ""
