# SPDX-License-Identifier: Apache-2.0
"""Kernels of the machine's own distribution: the newest release that matches a pattern, fetched with apt and never installed."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels import archive
from ci.kernels.packages import GoneError, Lists, Package
from ci.kernels.pattern import Release, check, matching, parse_release
from ci.kernels.unpack import headers_in, image_in, modules_in, unpack
from ci.manifest import KernelSpec
from ci.model import KernelTarget

Say = Callable[[str], None]

# How long the answer to "which release is the newest?" is believed without asking apt again.
REMEMBER_SECONDS = 86400.0
# Where installed packages lie.
_SYSTEM = Path("/")
# A change of how packages are unpacked makes every cached kernel anew.
_VERSION = "1"
_PARTS = re.compile(r"linux-(headers-.*-common(-[a-z]+)?|kbuild-.*)")


@dataclass(frozen=True)
class _Choice:
    """A release with all packages that make it whole."""

    release: Release
    packages: tuple[Package, ...]

    @property
    def key(self) -> str:
        rows = sorted(f"{package.name}={package.version}={package.sha256}" for package in self.packages)
        return f"{self.release.name}-{store.sha256_text(_VERSION, *rows)[:16]}"


def resolve(spec: KernelSpec, *, say: Say, refresh: bool = False) -> KernelTarget:
    """The newest kernel for the pattern, downloaded at its first use.

    Raises UsageError where the machine's sources offer none, InfrastructureError where it cannot be fetched.
    """
    where = f"kernels.{spec.name}.pattern"
    check(spec.pattern, where)
    if not refresh:
        remembered = _remembered(spec)
        if remembered is not None and remembered.time + REMEMBER_SECONDS > time.time():
            return _target(spec, remembered)
    process.find_program("apt-cache", hint="the provider 'apt' needs Debian or Ubuntu; elsewhere use the provider 'host'")
    choice, tree = _find(spec, where, say)
    folder = tree.name or str(_SYSTEM)
    memory = _Memory(choice.release.name, choice.release.flavour, folder, _origin(choice), time.time())
    store.atomic_write(_memory_file(spec), json.dumps(memory.__dict__))
    return _target(spec, memory)


def peek(spec: KernelSpec) -> tuple[str, str, tuple[Path, ...]]:
    """State, release and folders for a list, from what is remembered."""
    memory = _remembered(spec)
    if memory is None:
        return ("known", "", ())
    tree = store.cache_dir() / "kernels" / memory.folder
    if tree == _SYSTEM:
        release = memory.release
        return ("installed", release, (headers_in(tree, release), image_in(tree, release), modules_in(tree, release)))
    return ("downloaded", memory.release, (tree,))


def _find(spec: KernelSpec, where: str, say: Say) -> tuple[_Choice, Path]:
    """The choice and its unpacked tree, from the first package lists that offer it as it can be had."""
    offered: set[str] = set()
    trouble: InfrastructureError | None = None
    for lists, failure in archive.candidates(spec.archives, say, f"kernel for '{spec.pattern}'"):
        choice, more = _choose(spec.pattern, lists, where)
        if choice is None:
            offered |= more
            trouble = None if more else failure
            continue
        try:
            return choice, _installed(choice) or _fetch(choice, lists, say)
        except GoneError as error:
            say(f"the package lists are out of date: the archive no longer has {choice.release.name} ({error.hint})")
            trouble = error
    raise trouble or _not_offered(spec, where, offered)


def _installed(choice: _Choice) -> Path | None:
    """The system's root, where just these packages are installed there and can be read; a kernel of another version does not count."""
    release = choice.release.name
    if not _whole(_SYSTEM, release):
        return None
    names = [package.name for package in choice.packages]
    asked = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status} ${Version}\\n", *names]
    done = process.run(asked, limits=process.Limits(30), stderr=process.scratch_file("dpkg-query.err"))
    installed = {f"{package.name} installed {package.version}" for package in choice.packages}
    return _SYSTEM if done.ok and installed == set(done.text().splitlines()) else None


def _whole(tree: Path, release: str) -> bool:
    """Whether headers, image and modules of a release are below `tree`, for us to read."""
    paths = (headers_in(tree, release) / "Makefile", image_in(tree, release), modules_in(tree, release) / "modules.dep")
    return all(os.access(path, os.R_OK) for path in paths)


def _choose(pattern: str, lists: Lists, where: str) -> tuple[_Choice | None, set[str]]:
    """The newest whole match, and the patterns for which the lists have headers at all."""
    arch = process.output(["dpkg", "--print-architecture"]).strip()
    prefix = "linux-headers-"
    parsed = (parse_release(name.removeprefix(prefix)) for name in lists.names(prefix))
    releases = [release for release in parsed if release is not None and release.arch == arch]
    candidates = matching(pattern, releases, where)
    shown = lists.show(name for release in candidates for name in _main_packages(release))
    for release in candidates:
        headers, signed, unsigned = (shown.get(name) for name in _main_packages(release))
        image = signed or unsigned
        if headers is None or image is None:
            continue
        parts = lists.show(name for name in headers.depends if _PARTS.fullmatch(name))
        return _Choice(release, (headers, image, *_closure(parts, lists))), set()
    return None, {release.series for release in releases}


def _main_packages(release: Release) -> tuple[str, str, str]:
    return (f"linux-headers-{release.name}", f"linux-image-{release.name}", f"linux-image-{release.name}-unsigned")


def _closure(parts: dict[str, Package], lists: Lists) -> Iterable[Package]:
    """The common headers and kbuild, also where only the common headers ask for kbuild."""
    more = {name for part in parts.values() for name in part.depends if _PARTS.fullmatch(name)} - set(parts)
    return [*parts.values(), *lists.show(more).values()]


def _fetch(choice: _Choice, lists: Lists, say: Say) -> Path:
    """The unpacked tree of a choice, from the cache or downloaded now."""

    def make(folder: Path) -> None:
        size = sum(package.size for package in choice.packages)
        say(f"downloading kernel {choice.release.name} ({size / 1e6:.0f} MB, {len(choice.packages)} packages)")
        packages = folder / "archives"
        packages.mkdir()
        unpack(lists.download(choice.packages, packages), folder, choice.release.name)
        for package in packages.iterdir():
            package.unlink()
        packages.rmdir()

    return store.cached("kernels", choice.key, make)


def _not_offered(spec: KernelSpec, where: str, offered: set[str]) -> UsageError:
    order = sorted(offered, key=lambda series: ([int(part) for part in re.findall(r"\d+", series)], series))
    hint = f"offered are: {', '.join(order)}" if order else "this machine's package sources offer no Debian kernel at all"
    return UsageError(
        f"{where}: this machine's package sources offer no kernel for '{spec.pattern}'",
        hint=f"{hint}\n'archives:' in vexci.yaml declares other package sources; 'optional: true' lets a run go on without it",
    )


def _origin(choice: _Choice) -> str:
    return ", ".join(f"{package.name} {package.version}" for package in choice.packages)


@dataclass(frozen=True)
class _Memory:
    """What a pattern was resolved to; `folder` is the cache entry's name, or `/` for an installed one; `time` in epoch seconds."""

    release: str
    flavour: str
    folder: str
    origin: str
    time: float


def _memory_file(spec: KernelSpec) -> Path:
    # The same pattern in other archives is another question.
    asked = [f"{each.uri} {each.suites} {each.components} {each.keyring}" for each in spec.archives]
    suffix = "" if archive.is_own(spec.archives) else f"-{store.sha256_text(*asked)[:8]}"
    return store.cache_dir() / "kernels" / "resolved" / f"apt-{spec.pattern}{suffix}.json"


def _remembered(spec: KernelSpec) -> _Memory | None:
    """What is remembered, if the kernel is still in the cache."""
    try:
        memory = _Memory(**json.loads(_memory_file(spec).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # never asked, or written by another version of this tool: ask apt
    tree = store.cache_dir() / "kernels" / memory.folder
    whole = _whole(tree, memory.release) if tree == _SYSTEM else tree.is_dir()
    return memory if whole else None


def _target(spec: KernelSpec, memory: _Memory) -> KernelTarget:
    tree = store.cache_dir() / "kernels" / memory.folder
    return KernelTarget(
        name=spec.name,
        release=memory.release,
        arch=os.uname().machine,
        flavour=memory.flavour,
        provider="apt",
        headers=headers_in(tree, memory.release),
        image=image_in(tree, memory.release),
        modules=modules_in(tree, memory.release),
        origin=memory.origin,
    )
