# SPDX-License-Identifier: Apache-2.0
"""Kernels that are built here: from a distribution's source package or a tarball, with configuration fragments.

A kernel is built once for everything that its bytes depend on (the source, the configuration, the compiler): the hash of that
is the name of its entry in the cache, and part of its release, so that a module of one can never be loaded into the other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ci import process, store
from ci.errors import Hang, InfrastructureError, UsageError
from ci.kernels import archive, built, download, kconfig
from ci.kernels.host import headers_release
from ci.kernels.packages import Lists, Package, failed
from ci.kernels.unpack import headers_in, image_in, modules_in
from ci.manifest import KernelSpec
from ci.model import KernelTarget

Say = Callable[[str], None]

# A change of how kernels are built makes every one anew.
_VERSION = "1"
_UNPACK_SECONDS = 900.0
_SILENCE = 600.0
_SAY_EVERY_SECONDS = 60.0
_TOOLS = {"make": "make", "flex": "flex", "bison": "bison", "bc": "bc", "perl": "perl", "xz": "xz-utils", "tar": "tar"}
# Programs of each compiler family with the packages that have them, and what the kernel's make is told.
_FAMILIES = {
    "gcc": ({"gcc": "gcc"}, ()),
    "clang": ({"clang": "clang", "ld.lld": "lld", "llvm-ar": "llvm"}, ("LLVM=1",)),
}
_ELF_HEADER = "gelf.h"


@dataclass(frozen=True)
class _Origin:
    """Where the source comes from: a package of a distribution or a tarball; `sha256` is that of the archive."""

    title: str
    sha256: str


def resolve(spec: KernelSpec, *, say: Say, refresh: bool = False) -> KernelTarget:
    """The kernel, built at its first use, which takes minutes.

    `refresh` looks for a newer source package; without it a kernel that was once built from these fragments is taken.
    Raises UsageError where it cannot be built here, InfrastructureError where the machine or the network failed.
    """
    known = _remembered(spec)
    if known is not None and not refresh:
        folder = store.cache_dir() / "kernels" / _key(spec, known)
        if folder.is_dir():
            return _target(spec, folder, known)
    precheck(spec)
    origin, fetch = _find(spec, say)
    folder = store.cached("kernels", _key(spec, origin), lambda entry: _make(spec, origin, fetch, entry, say))
    store.atomic_write(_memory_file(spec), json.dumps(asdict(origin)))
    return _target(spec, folder, origin)


def precheck(spec: KernelSpec) -> None:
    """Every program that building a kernel needs must be there (UsageError with the one command that installs them)."""
    missing = []
    for program, package in {**_TOOLS, **_FAMILIES[spec.toolchain][0]}.items():
        try:
            process.find_program(program)
        except UsageError:
            missing.append(package)
    argv = [spec.toolchain, "-x", "c", "-fsyntax-only", "-include", _ELF_HEADER, os.devnull]
    if not missing and not process.run(argv, limits=process.Limits(30), log=process.scratch_file("gelf.log")).ok:
        missing.append("libelf-dev")
    if missing:
        raise UsageError(
            f"the kernel '{spec.name}' cannot be built here: {', '.join(missing)} not installed",
            hint=f"apt-get install {' '.join(missing)}",
        )
    kconfig.options(spec.fragments)


def peek(spec: KernelSpec) -> tuple[str, str, tuple[Path, ...]]:
    """State, release and folders for a list."""
    origin = _remembered(spec)
    folder = store.cache_dir() / "kernels" / _key(spec, origin) if origin is not None else None
    if folder is None or not folder.is_dir():
        return ("known", "", ())
    return ("built", _release_in(folder), (folder,))


def _find(spec: KernelSpec, say: Say) -> tuple[_Origin, Callable[[Path], Path]]:
    """Where the source comes from, and a function that puts its archive into a folder."""
    if spec.tarball:
        path = download.tarball(spec, say)
        return _Origin(path.name, spec.sha256), lambda _: path
    lists, package = _package(spec, say)
    origin = _Origin(f"{package.name} {package.version}", package.sha256)
    return origin, lambda folder: _download(lists, package, folder, say)


def _package(spec: KernelSpec, say: Say) -> tuple[Lists, Package]:
    trouble = None
    for lists, failure in archive.candidates(spec.archives, say, spec.package):
        found = lists.show([spec.package])
        if found:
            return lists, found[spec.package]
        trouble = failure
    raise trouble or UsageError(
        f"kernels.{spec.name}.package: the package sources offer no '{spec.package}'",
        hint="Debian calls them linux-source-6.1, linux-source-6.12; 'archives:' declares other package sources",
    )


def _download(lists: Lists, package: Package, folder: Path, say: Say) -> Path:
    """The source tarball out of the package."""
    say(f"downloading {package.name} {package.version} ({package.size / 1e6:.0f} MB)")
    (deb,) = lists.download([package], folder)
    done = process.run(["dpkg-deb", "-x", deb, folder], limits=process.Limits(_UNPACK_SECONDS), log=process.scratch_file("dpkg.log"))
    if not done.ok:
        raise failed(f"unpacking {deb.name}", done, folder)
    deb.unlink()
    found = sorted((folder / "usr/src").glob("linux-source-*.tar.*"))
    if not found:
        raise InfrastructureError(f"{package.name} holds no source tarball")
    return found[0]


def _make(spec: KernelSpec, origin: _Origin, fetch: Callable[[Path], Path], entry: Path, say: Say) -> None:
    """Build the kernel in a folder inside of the entry that is being made: however it ends, nothing half-made stays."""
    work = entry / "work"
    work.mkdir()
    tree = _unpack(fetch(work), work)
    log = _log(spec)
    log.unlink(missing_ok=True)
    make = _make_command(spec, origin)
    kconfig.configure(tree, spec.base, spec.fragments, make=make, log=log)
    shutil.copyfile(tree / ".config", entry / "config")
    _compile(spec, tree, make, log, say)
    release = headers_release(tree)
    (entry / "release").write_text(release + "\n")
    built.pack(tree, entry, release, make=make, log=log)
    built.drop(work)


def _unpack(archive_file: Path, work: Path) -> Path:
    folder = work / "source"
    folder.mkdir()
    argv: list[str | Path] = ["tar", "-C", folder, "-xf", archive_file]
    done = process.run(
        argv, limits=process.Limits(_UNPACK_SECONDS), log=process.scratch_file("tar.log"), what="unpacking the kernel source"
    )
    if not done.ok:
        raise failed(f"unpacking {archive_file.name}", done, work)
    inside = list(folder.iterdir())
    tree = inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
    if not (tree / "scripts/kconfig").is_dir():
        raise UsageError(f"{archive_file} holds no kernel source (there is no scripts/kconfig in it)")
    return tree


def _make_command(spec: KernelSpec, origin: _Origin) -> list[str]:
    """make with everything that must not differ from one machine to the next."""
    compiler = ["ccache"] if shutil.which("ccache") else []
    return [
        "nice",
        "make",
        f"-j{process.cores()}",
        *_FAMILIES[spec.toolchain][1],
        f"CC={' '.join([*compiler, spec.toolchain])}",
        f"HOSTCC={' '.join([*compiler, spec.toolchain])}",
        f"LOCALVERSION=-{re.sub('[^a-z0-9]+', '-', spec.name.lower())[:20]}-{_key(spec, origin)[-8:]}",
        "KBUILD_BUILD_TIMESTAMP=@0",
        "KBUILD_BUILD_USER=vexci",
        "KBUILD_BUILD_HOST=vexci",
        "KBUILD_BUILD_VERSION=1",
    ]


def _compile(spec: KernelSpec, tree: Path, make: list[str], log: Path, say: Say) -> None:
    how = "with ccache" if shutil.which("ccache") else "without ccache, which would make the next build quicker"
    say(f"building the kernel '{spec.name}' on {process.cores()} processors {how}; this takes minutes, once; its log: {log}")
    told = time.monotonic()

    def progress(seconds: float) -> None:
        nonlocal told
        if time.monotonic() - told > _SAY_EVERY_SECONDS:
            told = time.monotonic()
            say(f"  kernel '{spec.name}': {log.read_bytes().count(b'  CC ')} files compiled in {seconds / 60:.0f} minutes")

    limits = process.Limits(spec.deadline, silence=min(_SILENCE, spec.deadline), log_bytes=256 << 20)
    # The folder's name must not be part of what ccache compares: it is another one each time.
    env = {**os.environ, "LC_ALL": "C", "CCACHE_NOHASHDIR": "1"}
    try:
        done = process.run(
            [*make, "bzImage" if os.uname().machine == "x86_64" else "Image", "modules"],
            limits=limits,
            log=log,
            cwd=tree,
            env=env,
            progress=progress,
            what=f"the kernel '{spec.name}'",
        )
    except KeyboardInterrupt:  # some gigabytes go away now, which takes its time
        say(f"  interrupted; removing what was built of the kernel '{spec.name}'")
        raise
    except Hang as error:  # a kernel that is not the product says nothing about it
        raise InfrastructureError(error.message, hint=error.hint, evidence=error.evidence) from error
    if not done.ok:
        raise _failure(spec, log, done)
    built.check(tree, f"the kernel '{spec.name}'")


def _failure(spec: KernelSpec, log: Path, done: process.Completed) -> InfrastructureError:
    text = log.read_text(errors="backslashreplace")
    if "No space left on device" in text:
        return failed(f"building the kernel '{spec.name}'", done, log.parent)
    errors = [line for line in text.splitlines() if re.search(r"\berror:|\*\*\*|Error \d", line)] or text.strip().splitlines()[-1:]
    return InfrastructureError(
        f"the kernel '{spec.name}' does not build ({done.how}): {' / '.join(errors[:2])}", hint=f"the whole log: {log}", evidence=(log,)
    )


def _key(spec: KernelSpec, origin: _Origin) -> str:
    wanted = [f"{option.name}={option.value}" for option in kconfig.options(spec.fragments)]
    digest = store.sha256_text(_VERSION, origin.sha256, spec.base, os.uname().machine, _compiler(spec.toolchain), *wanted)
    return f"{spec.name}-{digest[:16]}"


def _compiler(family: str) -> str:
    """The compiler's version: another one makes another kernel, and modules must be made by the same."""
    argv = ["gcc", "-dumpfullversion", "-dumpmachine"] if family == "gcc" else [family, "--version"]
    return process.output(argv).strip().replace("\n", " ")


def _log(spec: KernelSpec) -> Path:
    folder = store.cache_dir() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"kernel-{spec.name}.log"


def _memory_file(spec: KernelSpec) -> Path:
    return store.cache_dir() / "kernels" / "resolved" / f"source-{store.sha256_text(spec.package, spec.tarball, spec.sha256)[:16]}.json"


def _remembered(spec: KernelSpec) -> _Origin | None:
    try:
        return _Origin(**json.loads(_memory_file(spec).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # never built, or written by another version of this tool: look again


def _release_in(folder: Path) -> str:
    return (folder / "release").read_text().strip()


def _target(spec: KernelSpec, folder: Path, origin: _Origin) -> KernelTarget:
    release = _release_in(folder)
    return KernelTarget(
        name=spec.name,
        release=release,
        arch=os.uname().machine,
        flavour=spec.name,
        provider="source",
        headers=headers_in(folder, release),
        image=image_in(folder, release),
        modules=modules_in(folder, release),
        origin=f"{origin.title}, {folder.name}",
    )
