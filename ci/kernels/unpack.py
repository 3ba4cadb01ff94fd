# SPDX-License-Identifier: Apache-2.0
"""Unpacks kernel packages into a folder of their own and makes that folder independent of where it lies.

Debian's header packages expect to be installed at /usr/src: a Makefile includes an absolute path, and
lib/modules/<release>/build is an absolute link. Left as they are they would silently use whatever headers the
system has installed there (B8).
"""

from __future__ import annotations

import lzma
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ci import process
from ci.errors import InfrastructureError
from ci.kernels.host import headers_release
from ci.kernels.packages import failed

_INCLUDE = re.compile(r"^include /usr/src/(\S+)$", re.MULTILINE)


def headers_in(tree: Path, release: str) -> Path:
    """The folder that `make -C` takes."""
    return tree / "usr/src" / f"linux-headers-{release}"


def image_in(tree: Path, release: str) -> Path:
    """The bootable kernel."""
    return tree / "boot" / f"vmlinuz-{release}"


def modules_in(tree: Path, release: str) -> Path:
    """lib/modules/<release>, wherever the distribution puts it."""
    merged = tree / "usr/lib/modules" / release
    return merged if merged.is_dir() else tree / "lib/modules" / release


def unpack(archives: Iterable[Path], tree: Path, release: str) -> None:
    """Unpack the archives into `tree` and make it usable there; InfrastructureError where it would not be."""
    for archive in archives:
        _tool(["dpkg-deb", "-x", archive, tree], f"unpacking {archive.name}", tree)
    relink(tree)
    relocate_makefile(headers_in(tree, release) / "Makefile")
    modules = modules_in(tree, release)
    inflate(modules)
    base = tree / "usr" if modules.is_relative_to(tree / "usr/lib") else tree
    _tool([process.find_program("depmod", hint="apt-get install kmod"), "-b", base, release], "listing the modules' dependencies", tree)
    prove(tree, release)


def relink(tree: Path) -> None:
    """Make absolute links that point to something inside the tree relative."""
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            link = Path(folder, name)
            if not link.is_symlink() or not os.readlink(link).startswith("/"):
                continue
            target = tree / os.readlink(link).lstrip("/")
            if os.path.lexists(target):
                link.unlink()
                link.symlink_to(os.path.relpath(target, folder))


def relocate_makefile(makefile: Path) -> None:
    """Let it include its common part from beside itself instead of from /usr/src."""
    text = makefile.read_text()
    relocated = _INCLUDE.sub(r"include $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../\1", text)
    if "/usr/src" in relocated:
        raise InfrastructureError(f"{makefile} refers to /usr/src in a way that is not known: {text.strip()[:200]}")
    makefile.write_text(relocated)


def inflate(modules: Path) -> None:
    """Store xz-compressed modules plain: an emulated guest would take long to unpack them at each load."""
    for path in sorted(modules.rglob("*.ko.xz")):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()


def prove(tree: Path, release: str) -> None:
    """Check that everything is there and is of this release."""
    needed = (headers_in(tree, release) / "scripts/Makefile.build", image_in(tree, release), modules_in(tree, release) / "modules.dep")
    for path in needed:
        if not path.exists() or not path.resolve().is_relative_to(tree.resolve()):
            raise InfrastructureError(f"the packages of {release} did not bring {path.relative_to(tree)}")
    found = headers_release(headers_in(tree, release))
    if found != release:
        raise InfrastructureError(f"the headers of {release} say that they are those of {found or 'nothing'}")


def _tool(argv: list[str | Path], what: str, folder: Path) -> None:
    done = process.run(argv, limits=process.Limits(300), log=process.scratch_file("unpack.log"), what=what)
    if not done.ok:
        raise failed(what, done, folder)
