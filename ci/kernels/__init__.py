# SPDX-License-Identifier: Apache-2.0
"""Kernel targets: which release to build for and to boot, with its headers, image and modules. One provider a file.

host.py      the running kernel's headers
apt.py       packages of a distribution, by pattern
tree.py      a kernel tree that somebody built
source.py    built here, from a source package or a tarball and configuration fragments
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ci import manifest, model
from ci.errors import UsageError
from ci.kernels import apt, host, source, tree

Say = Callable[[str], None]


@dataclass(frozen=True)
class Listed:
    """One line of a list of kernels.

    `state` is known (not fetched yet), downloaded, installed, built, or missing; `size` is in bytes on disk; `where` is empty
    where there is nothing yet.
    """

    name: str
    provider: str
    state: str
    release: str
    size: int
    where: str = ""


def resolve(spec: manifest.KernelSpec, *, say: Say, refresh: bool = False) -> model.KernelTarget:
    """The kernel that a spec stands for, downloaded or built where need be; `refresh` looks for a newer release at once.

    Raises UsageError with the fix where this machine cannot have it (the caller skips an optional one), and
    InfrastructureError where the download or the build failed.
    """
    if spec.provider == "apt":
        return apt.resolve(spec, say=say, refresh=refresh)
    if spec.provider == "host":
        return host.resolve(spec)
    if spec.provider == "tree":
        return tree.resolve(spec, say=say)
    if spec.provider == "source":
        return source.resolve(spec, say=say, refresh=refresh)
    raise UsageError(f"the kernel '{spec.name}' has the unknown provider '{spec.provider}'", hint="providers: apt, host, source, tree")


def listing(specs: Iterable[manifest.KernelSpec]) -> list[Listed]:
    """What is known of each kernel without any download, build or search."""
    rows = []
    for spec in specs:
        provider = {"apt": apt, "host": host, "tree": tree, "source": source}[spec.provider]
        state, release, paths = provider.peek(spec)
        # The size of a tree that is not ours is nobody's question, and takes seconds to find out.
        size = 0 if spec.provider in ("tree", "host") else sum(_size(path) for path in paths)
        rows.append(Listed(spec.name, spec.provider, state, release, size, str(paths[0]) if paths else ""))
    return rows


def _size(path: Path) -> int:
    """Allocated bytes of a file or of everything below a folder."""
    if path.is_file():
        return path.stat().st_blocks * 512
    return sum(os.lstat(os.path.join(at, name)).st_blocks * 512 for at, _, names in os.walk(path) for name in names)
