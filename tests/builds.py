# SPDX-License-Identifier: Apache-2.0
"""Small real projects for build tests, which lie in the zoo: a crate without dependencies, a module of a few lines."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace
from pathlib import Path

from ci.build.job import Job
from ci.manifest import ArtifactSpec, KernelSpec, Probe
from ci.model import KernelTarget, Kind
from ci.revision import Revision
from ci.store import RunFolder

ZOO = Path(__file__).with_name("zoo")


def _source(name: str) -> str:
    """A file of the zoo without its first line, which says its licence."""
    return (ZOO / name).read_text().partition("\n")[2]


CARGO_TOML = _source("crate/Cargo.toml")
MAIN_RS = _source("crate/src/main.rs")
MODULE_C = _source("module/demo.c")

DAEMON = ArtifactSpec(
    name="daemon",
    kind=Kind.DAEMON,
    builder="cargo",
    folder=Path("fuse"),
    output="demo_fuse",
    features=("fuse_support",),
    help=Probe(("--help",), ("Usage: demo_fuse",)),
    feature_probe=Probe(("--version",), key="features"),
    deadline=120,
)
MODULE = ArtifactSpec(
    name="module",
    kind=Kind.KERNEL_MODULE,
    builder="kbuild",
    folder=Path("kernel"),
    output="demo.ko",
    profile="",
    license="GPL",
    deadline=120,
)
TRIPLE = f"{platform.machine()}-unknown-linux-gnu"


def crate(root: Path) -> Path:
    """A crate whose only binary needs the feature fuse_support."""
    folder = root / "fuse"
    (folder / "src").mkdir(parents=True)
    (folder / "Cargo.toml").write_text(CARGO_TOML)
    shutil.copy(ZOO / "crate/Cargo.lock", folder)
    (folder / "src/main.rs").write_text(MAIN_RS)
    return folder


def module(root: Path) -> Path:
    """A module that does nothing."""
    folder = root / "kernel"
    folder.mkdir(parents=True)
    (folder / "Kbuild").write_text(_source("module/Kbuild"))
    (folder / "demo.c").write_text(MODULE_C)
    return folder


def job(root: Path, spec: ArtifactSpec, kernel: KernelTarget | None = None) -> Job:
    """A build of `spec` below `root`, with a run folder of its own."""
    return Job(replace(spec, folder=root / spec.folder), root, RunFolder(root), Revision("unknown", True), kernel)


def kernel_61() -> KernelTarget:
    """The 6.1 cloud kernel of this machine's package sources, as vexci.yaml has it."""
    from ci import kernels

    return kernels.resolve(KernelSpec("debian-6.1", "apt", "6.1-cloud"), say=print)
