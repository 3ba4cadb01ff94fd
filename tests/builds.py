# SPDX-License-Identifier: Apache-2.0
"""Small real projects for build tests: a crate without dependencies, a module of a few lines."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

from ci.build.job import Job
from ci.manifest import ArtifactSpec, KernelSpec, Probe
from ci.model import KernelTarget, Kind
from ci.revision import Revision
from ci.store import RunFolder

CARGO_TOML = """\
[package]
name = "demo"
version = "0.1.0"
edition = "2021"

[features]
fuse_support = []

[[bin]]
name = "demo_fuse"
path = "src/main.rs"
required-features = ["fuse_support"]
"""

MAIN_RS = r"""
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--help") => println!("Usage: demo_fuse"),
        Some("--version") => println!("{{\"features\": [{}]}}", if cfg!(feature = "fuse_support") { "\"fuse_support\"" } else { "" }),
        _ => std::process::exit(2),
    }
}
"""

MODULE_C = """\
#include <linux/module.h>
static int __init demo_init(void) { return 0; }
static void __exit demo_exit(void) { }
module_init(demo_init);
module_exit(demo_exit);
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
"""

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
    (folder / "Cargo.lock").write_text('version = 3\n\n[[package]]\nname = "demo"\nversion = "0.1.0"\n')
    (folder / "src/main.rs").write_text(MAIN_RS)
    return folder


def module(root: Path) -> Path:
    """A module that does nothing."""
    folder = root / "kernel"
    folder.mkdir(parents=True)
    (folder / "Kbuild").write_text("obj-m := demo.o\n")
    (folder / "demo.c").write_text(MODULE_C)
    return folder


def job(root: Path, spec: ArtifactSpec, kernel: KernelTarget | None = None) -> Job:
    """A build of `spec` below `root`, with a run folder of its own."""
    return Job(replace(spec, folder=root / spec.folder), root, RunFolder(root), Revision("unknown", True), kernel)


def kernel_61() -> KernelTarget:
    """The 6.1 cloud kernel of this machine's package sources, as vexci.yaml has it."""
    from ci import kernels

    return kernels.resolve(KernelSpec("debian-6.1", "apt", "6.1-cloud"), say=print)
