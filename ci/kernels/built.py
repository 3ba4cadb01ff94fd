# SPDX-License-Identifier: Apache-2.0
"""What a kernel tree that was built holds, and how it is laid out in the cache as a distribution's packages would be.

Only what a module's build reads is kept of the tree (a hundredth of it), as linux-headers packages do.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ci import process
from ci.errors import InfrastructureError, UsageError
from ci.kernels.host import headers_release
from ci.kernels.unpack import headers_in, image_in, prove

_IMAGES = {"x86_64": "arch/x86/boot/bzImage", "aarch64": "arch/arm64/boot/Image"}
_FOLDERS = {"x86_64": "x86", "aarch64": "arm64"}
_INSTALL_SECONDS = 300.0
# Taken as a whole, if they are there.
_KEPT_FILES = (".config", "Module.symvers", "System.map", "Makefile", "Kbuild", "Kconfig", "tools/objtool/objtool")
_KEPT_FOLDERS = ("scripts", "include", "arch/{arch}/include", "tools/include")
_BUILD_FILE = re.compile(r"Makefile.*|Kbuild.*|Kconfig.*|module\.lds")
# What a build leaves in the kept folders that no module's build reads.
_LEFTOVER = re.compile(r".*\.(o|a|ko|mod|mod\.c|cmd)")


def check(tree: Path, what: str) -> str:
    """The release of a tree for which modules can be built. UsageError where it is no such tree (B8, B9)."""
    release = headers_release(tree)
    if not release:
        raise UsageError(f"{what}: {tree} is no configured kernel tree (it has no include/generated/utsrelease.h)", hint="build the kernel")
    missing = [name for name in ("Makefile", "Module.symvers", "scripts/mod/modpost") if not (tree / name).is_file()]
    if missing:
        raise UsageError(f"{what}: the kernel in {tree} is not built: it lacks {', '.join(missing)}", hint=f"make -C {tree}")
    return release


def image_of(tree: Path) -> Path | None:
    """The bootable image of a built tree, if it was made."""
    image = tree / _IMAGES.get(os.uname().machine, "none")
    return image if image.is_file() else None


def install_modules(tree: Path, into: Path, release: str, *, make: Sequence[str], log: Path) -> None:
    """Put the tree's modules, stripped, and depmod's tables to `into`/lib/modules/<release>."""
    depmod = process.find_program("depmod", hint="apt-get install kmod")
    argv = [*make, f"INSTALL_MOD_PATH={into}", "INSTALL_MOD_STRIP=1", f"DEPMOD={depmod}", "modules_install"]
    done = process.run(argv, limits=process.Limits(_INSTALL_SECONDS), log=log, cwd=tree, what="installing the kernel's modules")
    if not done.ok:
        tail = " / ".join(log.read_text(errors="backslashreplace").strip().splitlines()[-3:])
        raise InfrastructureError(f"installing the modules of {release}: {done.how}: {tail}", evidence=(log,))
    folder = into / "lib/modules" / release
    if not folder.is_dir():
        raise InfrastructureError(f"make modules_install made no {folder}", evidence=(log,))
    for link in ("build", "source"):  # they lead into the tree that was built, which need not stay
        (folder / link).unlink(missing_ok=True)
    _tables(folder, into, release, depmod)


def _tables(folder: Path, into: Path, release: str, depmod: str) -> None:
    """depmod's tables also where the kernel has not one module: `make` leaves them out then."""
    for name in ("modules.order", "modules.builtin"):
        (folder / name).touch()
    process.output([depmod, "-b", into, release], deadline=120)
    (folder / "modules.devname").touch()


def pack(tree: Path, into: Path, release: str, *, make: Sequence[str], log: Path) -> None:
    """Lay out headers, image and modules of a built tree below `into`; the tree itself is taken apart for it."""
    image = image_of(tree)
    if image is None:
        raise InfrastructureError(f"the build of {release} succeeded and made no image", evidence=(log,))
    install_modules(tree, into, release, make=make, log=log)
    (into / "boot").mkdir()
    os.rename(image, image_in(into, release))
    headers = headers_in(into, release)
    headers.mkdir(parents=True)
    for file in _kept(tree):
        target = headers / file.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(file, target)
    (into / "lib/modules" / release / "build").symlink_to(os.path.relpath(headers, into / "lib/modules" / release))
    prove(into, release)


def _kept(tree: Path) -> Iterator[Path]:
    """The files of a built tree that the build of a module may read."""
    arch = _FOLDERS.get(os.uname().machine, os.uname().machine)
    folders = [tree / name.format(arch=arch) for name in _KEPT_FOLDERS]
    whole = {path for folder in folders for path in _files(folder)}
    build_files = {
        path
        for path in _files(tree)
        if _BUILD_FILE.fullmatch(path.name) and (path.relative_to(tree).parts[0] != "arch" or path.is_relative_to(tree / "arch" / arch))
    }
    names = {tree / name for name in _KEPT_FILES if (tree / name).is_file()}
    return iter(sorted({path for path in whole if not _LEFTOVER.fullmatch(path.name)} | build_files | names))


def _files(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder):
        yield from (Path(at, name) for name in names)


def drop(tree: Path) -> None:
    """Remove what is left of a tree that was packed."""
    shutil.rmtree(tree)
