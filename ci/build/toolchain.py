# SPDX-License-Identifier: Apache-2.0
"""The compilers of modules. A module must be made by the family of compilers that made its kernel.

The kernel's own flags go to the module's compiler, and neither gcc nor clang takes all of the other's.
"""

from __future__ import annotations

import re

from ci import process
from ci.build.job import Job
from ci.errors import UsageError
from ci.model import KernelTarget

# What make is told, and the programs that must be there.
_VARIABLES: dict[str, tuple[tuple[str, str], ...]] = {"gcc": (), "clang": (("LLVM", "1"),)}
_PROGRAMS = {"gcc": ("gcc",), "clang": ("clang", "ld.lld")}
_HINTS = {"gcc": "./inv doctor --fix installs it", "clang": "apt-get install clang lld"}


def variables(name: str) -> tuple[tuple[str, str], ...]:
    """The make variables of a toolchain; the empty name is the usual one."""
    return _VARIABLES[name or "gcc"]


def made_by(kernel: KernelTarget) -> str:
    """The family that compiled a kernel, by its configuration: `gcc` or `clang`; empty where it does not say."""
    try:
        text = (kernel.headers / "include/config/auto.conf").read_text()
    except OSError:
        return ""
    found = re.search(r"^CONFIG_CC_IS_(GCC|CLANG)=y$", text, re.MULTILINE)
    return found.group(1).lower() if found else ""


def check(job: Job, kernel: KernelTarget) -> None:
    """Refuse a compiler that is not installed, or is not of the kernel's family (UsageError)."""
    name = job.toolchain or "gcc"
    made = made_by(kernel)
    if made and made != name:
        raise UsageError(
            f"{job.label}: the kernel {kernel.release} was compiled by {made}, and a module for it cannot be compiled by {name}",
            hint=f"--toolchain {made}, or a kernel that {name} compiled",
        )
    for program in _PROGRAMS[name]:
        process.find_program(program, hint=_HINTS[name])
