# SPDX-License-Identifier: Apache-2.0
"""Modes of build and verify through the tool itself, on the zoo's crate and module with one thing wrong: the exit code, the verdict in
the record, and the sentence that says what, where and what to do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import builds, recordschema, tool

pytestmark = pytest.mark.zoo

CRATE = """\
version: 1
project: zoo
release: 0.1.0
artifacts:
  daemon:
    builder: cargo
    folder: fuse
    binary: demo_fuse
    features: [fuse_support]
    warnings: 0
    libraries: [libc.so.6, libgcc_s.so.1, ld-linux-x86-64.so.2]
    glibc: "2.36"
    help: {args: [--help], contains: ["Usage: demo_fuse"]}
    feature_probe: {args: [--version], key: features}
"""
MODULE = """\
version: 1
project: zoo
release: 0.1.0
artifacts:
  module:
    builder: kbuild
    folder: kernel
    module: demo
    kernels: [debian]
    license: GPL
    warnings: 0
kernels:
  debian: {provider: apt, pattern: 6.1-cloud}
"""


def nothing(_root: Path) -> None:
    """The specimen is wrong in its manifest alone."""


def moved(root: Path) -> None:
    (root / "fuse/.cargo").mkdir()
    (root / "fuse/.cargo/config.toml").write_text('[build]\ntarget-dir = "elsewhere"\n')


def says_something_else(root: Path) -> None:
    (root / "fuse/src/main.rs").write_text(builds.MAIN_RS.replace("Usage:", "Use:"))


def lacks_its_feature(root: Path) -> None:
    (root / "fuse/src/main.rs").write_text(builds.MAIN_RS.replace('feature = "fuse_support"', 'feature = "nothing"'))


def warns(root: Path) -> None:
    (root / "fuse/src/main.rs").write_text(builds.MAIN_RS + "fn unused() {}\n")


def another_version(root: Path) -> None:
    for name in ("Cargo.toml", "Cargo.lock"):
        path = root / "fuse" / name
        path.write_text(path.read_text().replace("0.1.0", "0.2.0"))


def has_no_headers(root: Path) -> None:
    (root / "nowhere").mkdir()


def forgets_a_fix(root: Path) -> None:
    (root / "kernel/fix.c").write_text("int demo_fix;\n")


@dataclass(frozen=True)
class Specimen:
    """`manifest`, with `old` replaced by `new`; what `spoil` does to the tree; the tool's words, and what must come of them."""

    manifest: str
    words: tuple[str, ...]
    exit: int
    verdict: str
    says: tuple[str, ...]
    spoil: Callable[[Path], None] = nothing
    old: str = ""
    new: str = ""
    folder: Callable[[Path], Path] = field(default=builds.crate)


BOTH = ("build", "verify")
SPECIMENS = {
    "B1": Specimen(
        CRATE, ("build",), 2, "usage", ("demo_fuse", "needs the feature", "fuse_support", "vexci.yaml:"), old="[fuse_support]", new="[]"
    ),
    "B7": Specimen(MODULE, BOTH, 1, "fail", ("B7", "fix.c"), forgets_a_fix, folder=builds.module),
    "B9": Specimen(
        MODULE,
        ("build",),
        2,
        "usage",
        ("kernels.debian.folder: ", "nowhere is no configured kernel tree", "-> build the kernel"),
        has_no_headers,
        old="{provider: apt, pattern: 6.1-cloud}",
        new="{provider: tree, folder: nowhere}",
        folder=builds.module,
    ),
    "V4": Specimen(CRATE, BOTH, 1, "fail", ("V4", "Usage: demo_fuse"), says_something_else),
    "V4 feature": Specimen(CRATE, BOTH, 1, "fail", ("V4", "fuse_support"), lacks_its_feature),
    "V5": Specimen(CRATE, BOTH, 1, "fail", ("V5", "the target has 2.4"), old='glibc: "2.36"', new='glibc: "2.4"'),
    "V6": Specimen(CRATE, BOTH, 1, "fail", ("V6", "Cargo.toml 0.2.0", "0.1.0"), another_version),
    "V9": Specimen(CRATE, BOTH, 1, "fail", ("V9", "1 warning, the budget is 0", "build/daemon.log"), warns),
}


def run(root: Path, specimen: Specimen) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    specimen.folder(root)
    assert specimen.old in specimen.manifest
    (root / "vexci.yaml").write_text(specimen.manifest.replace(specimen.old, specimen.new) if specimen.old else specimen.manifest)
    specimen.spoil(root)
    done = tool.inv(*specimen.words, config=root / "vexci.yaml")
    return done, recordschema.latest(root)


@pytest.mark.parametrize("mode", SPECIMENS)
def test_the_tool_gives_the_stated_verdict(tmp_path: Path, mode: str) -> None:
    specimen = SPECIMENS[mode]
    done, record = run(tmp_path, specimen)
    assert done.returncode == specimen.exit, done.stdout
    assert record["verdict"] == specimen.verdict
    assert all(words in done.stdout for words in specimen.says), done.stdout
    assert "Traceback" not in done.stdout and not (specimen.exit == 2 and (tmp_path / ".build").exists())


@pytest.mark.parametrize(("manifest", "folder"), [(CRATE, builds.crate), (MODULE, builds.module)])
def test_the_controls_pass(tmp_path: Path, manifest: str, folder: Callable[[Path], Path]) -> None:
    done, record = run(tmp_path, Specimen(manifest, BOTH, 0, "pass", (), folder=folder))
    assert done.returncode == 0 and record["verdict"] == "pass", done.stdout


def test_an_output_that_cargos_configuration_moves_is_found_b2(tmp_path: Path) -> None:
    done, record = run(tmp_path, Specimen(CRATE, BOTH, 0, "pass", (), moved))
    assert done.returncode == 0, done.stdout
    (artifact,) = record["artifacts"]  # type: ignore[misc]
    assert "/elsewhere/" in artifact["path"]  # type: ignore[index]


def test_a_dirty_tree_is_recorded_and_fails_for_a_release_v8(tmp_path: Path) -> None:
    specimen = Specimen(CRATE, BOTH, 0, "pass", ())
    builds.crate(tmp_path)
    (tmp_path / ".gitignore").write_text("target/\n.build/\n.runs/\n")
    (tmp_path / "vexci.yaml").write_text(specimen.manifest)
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = tool.inv("build", "verify", "--release", config=tmp_path / "vexci.yaml")
    assert clean.returncode == 0, clean.stdout
    (tmp_path / "fuse/src/main.rs").write_text(builds.MAIN_RS + "// changed\n")
    assert tool.inv("build", "verify", config=tmp_path / "vexci.yaml").returncode == 0
    assert recordschema.latest(tmp_path)["dirty"] is True
    done = tool.inv("verify", "--release", config=tmp_path / "vexci.yaml")
    assert done.returncode == 1 and "V8" in done.stdout and recordschema.latest(tmp_path)["verdict"] == "fail", done.stdout
