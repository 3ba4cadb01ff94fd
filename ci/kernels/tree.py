# SPDX-License-Identifier: Apache-2.0
"""A kernel tree that somebody built: taken where it is, and never written to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ci import process, store
from ci.errors import UsageError
from ci.kernels import built
from ci.kernels.host import headers_release
from ci.kernels.unpack import modules_in
from ci.manifest import KernelSpec
from ci.model import KernelTarget

Say = Callable[[str], None]


def resolve(spec: KernelSpec, *, say: Say) -> KernelTarget:
    """The tree as a target; it can be booted where its image was made. UsageError where it is not built."""
    tree = _folder(spec)
    release = built.check(tree, f"kernels.{spec.name}.folder")
    image = built.image_of(tree)
    key = _key(tree, release)
    return KernelTarget(
        name=spec.name,
        release=release,
        arch=os.uname().machine,
        flavour=spec.name,
        provider="tree",
        headers=tree,
        image=image,
        modules=_modules(tree, release, key, say) if image is not None else None,
        origin=f"{tree} ({key})",
    )


def peek(spec: KernelSpec) -> tuple[str, str, tuple[Path, ...]]:
    """State, release and folders for a list."""
    tree = _folder(spec)
    release = headers_release(tree)
    return ("built", release, (tree,)) if release and (tree / "Module.symvers").is_file() else ("missing", release, ())


def _folder(spec: KernelSpec) -> Path:
    if spec.folder is None:
        raise UsageError(f"kernels.{spec.name}.folder is missing", hint="name the folder of a built kernel")
    return spec.folder.resolve()


def _key(tree: Path, release: str) -> str:
    """Changes whenever the kernel or one of its modules was built anew."""
    files = [tree / name for name in (".config", "Module.symvers", "modules.order", "modules.builtin") if (tree / name).is_file()]
    order = tree / "modules.order"
    modules = [tree / Path(line).with_suffix(".ko") for line in order.read_text().split()] if order.is_file() else []
    image = built.image_of(tree)
    times = [f"{path} {path.stat().st_mtime_ns}" for path in (*modules, *([image] if image else [])) if path.is_file()]
    return store.sha256_tree(tree, files, release, *times)[:16]


def _modules(tree: Path, release: str, key: str, say: Say) -> Path:
    """The tree's modules, installed into the cache: a guest needs them with depmod's tables."""

    def make(folder: Path) -> None:
        say(f"installing the modules of {tree} into the cache")
        log = process.scratch_file("modules_install.log")
        built.install_modules(tree, folder, release, make=["make"], log=log)

    return modules_in(store.cached("kernels", f"{release}-modules-{key}", make), release)
