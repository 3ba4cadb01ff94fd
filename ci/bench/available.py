# SPDX-License-Identifier: Apache-2.0
"""What this machine must have for a benchmark on it: without a workload's program nothing begins; a missing yardstick is skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ci.bench import containers
from ci.bench.system import System
from ci.errors import InfrastructureError, UsageError
from ci.manifest import BenchmarkSpec

FUSE = Path("/dev/fuse")
_PLACES = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def require(spec: BenchmarkSpec, systems: Sequence[System], *, fuse: Path = FUSE, path: str = "") -> None:
    """Raise where nothing could be measured: UsageError without fio, InfrastructureError where no daemon can be mounted."""
    if any(item.tool == "fio" for item in spec.workloads):
        require_fio(spec.name, path=path)
    daemons = [system.name for system in systems if system.filesystem.startswith("fuse.")]
    if daemons and not os.access(fuse, os.R_OK | os.W_OK):
        why = "is not there" if not fuse.exists() else "may not be opened"
        raise InfrastructureError(
            f"{daemons[0]} cannot be mounted: {fuse} {why}", hint="modprobe fuse, or give this container the device /dev/fuse"
        )


def require_fio(benchmark: str, *, path: str = "") -> None:
    """UsageError where fio is not installed."""
    if not _program("fio", path):
        raise UsageError(f"the benchmark '{benchmark}' needs fio, which is not installed", hint="apt-get install fio")


def marked(system: System, *, path: str = "") -> System:
    """The system as this machine can run it; or with the reason in `absent` where it cannot."""
    if system.compose is not None:
        return containers.found(system, path=path or _PLACES)
    missing = [name for name in system.programs if not _program(name, path)]
    if not missing:
        return system
    return replace(system, absent=f"the program '{missing[0]}' is not installed; apt-get install {missing[0]}")


def _program(name: str, path: str) -> bool:
    return shutil.which(name, path=path or _PLACES) is not None
