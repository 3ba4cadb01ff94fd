# SPDX-License-Identifier: Apache-2.0
"""The packages with a kernel's headers, as the distribution has them: for a guest that builds modules itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels import archive
from ci.manifest import KernelSpec
from ci.model import KernelTarget

_VERSION = "2"  # changed together with what is made here
_NAMES = ("linux-headers-", "linux-kbuild-")
# Stands for a package that nobody needs: newer headers depend on the image, which the guest has booted from outside.
_STAND_IN = """\
Package: {name}
Version: {version}
Architecture: all
Maintainer: vexci <vexci@example.org>
Description: stands for the kernel that runs already
"""


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
                image = f"linux-image-{target.release}"
                if any(image in package.depends for package in found.values()):
                    _stand_in(folder, image, wanted[f"linux-headers-{target.release}"])
                return
        raise InfrastructureError(
            f"the archive no longer has the headers of {target.release} in the version of the kernel",
            hint=f"./inv kernels --fetch {spec.name} takes the newest",
        )

    folder = store.cached("header-packages", store.sha256_text(_VERSION, target.origin)[:32], make)
    return sorted(folder.glob("*.deb"))


def _stand_in(folder: Path, name: str, version: str) -> None:
    tree = folder / "stand-in"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN").chmod(0o755)  # whatever the umask: dpkg-deb refuses others
    (tree / "DEBIAN/control").write_text(_STAND_IN.format(name=name, version=version))
    process.output(["dpkg-deb", "--root-owner-group", "--build", tree, folder / f"{name}.deb"])
    shutil.rmtree(tree)
