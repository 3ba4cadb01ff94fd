# SPDX-License-Identifier: Apache-2.0
"""The packages with a kernel's headers, as the distribution has them: for a guest that builds modules itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ci import store
from ci.errors import InfrastructureError, UsageError
from ci.kernels import archive
from ci.manifest import KernelSpec
from ci.model import KernelTarget

_NAMES = ("linux-headers-", "linux-kbuild-")


def packages(spec: KernelSpec, target: KernelTarget, *, say: Callable[[str], None]) -> list[Path]:
    """The .deb files of exactly the version that the kernel is of, from the cache or downloaded now.

    UsageError where the kernel is no package of a distribution, InfrastructureError where they cannot be had any more.
    """
    rows = [row.partition(" ")[::2] for row in target.origin.split(", ")]
    wanted = {name: version for name, version in rows if name.startswith(_NAMES)}
    if spec.provider != "apt" or not wanted:
        raise UsageError(f"the kernel {spec.name} does not come from packages", hint="let the machine use one of the provider 'apt'")

    def make(folder: Path) -> None:
        for lists, _ in archive.candidates(spec.archives, say, f"headers of {target.release}"):
            found = lists.show(wanted)
            if {name: package.version for name, package in found.items()} == wanted:
                say(f"downloading the headers of {target.release} as packages")
                lists.download(found.values(), folder)
                return
        raise InfrastructureError(
            f"the archive no longer has the headers of {target.release} in the version of the kernel",
            hint=f"./inv kernels --fetch {spec.name} takes the newest",
        )

    folder = store.cached("header-packages", store.sha256_text(target.origin)[:32], make)
    return sorted(folder.glob("*.deb"))
