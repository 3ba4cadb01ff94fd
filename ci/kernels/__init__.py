# SPDX-License-Identifier: Apache-2.0
"""Kernel targets: which release to build for and to boot, with its headers, image and modules. One provider a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ci import manifest, model
from ci.errors import UsageError
from ci.kernels import apt, host

Say = Callable[[str], None]


@dataclass(frozen=True)
class Listed:
    """One line of a list of kernels. `state` is known (not fetched yet), downloaded, or missing; `size` is in bytes on disk."""

    name: str
    provider: str
    state: str
    release: str
    size: int


def resolve(spec: manifest.KernelSpec, *, say: Say, refresh: bool = False) -> model.KernelTarget:
    """The kernel that a spec stands for, downloaded where need be; `refresh` looks for a newer release at once.

    Raises UsageError with the fix where this machine cannot have it (the caller skips an optional one), and
    InfrastructureError where the download failed.
    """
    if spec.provider == "apt":
        return apt.resolve(spec, say=say, refresh=refresh)
    if spec.provider == "host":
        return host.resolve(spec)
    raise UsageError(f"the kernel '{spec.name}' has the unknown provider '{spec.provider}'", hint="providers: apt, host")


def listing(specs: Iterable[manifest.KernelSpec]) -> list[Listed]:
    """What is known of each kernel without any download or search."""
    rows = []
    for spec in specs:
        provider = {"apt": apt, "host": host}[spec.provider]
        state, release, size = provider.peek(spec)
        rows.append(Listed(spec.name, spec.provider, state, release, size))
    return rows
