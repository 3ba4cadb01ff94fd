# SPDX-License-Identifier: Apache-2.0
"""The daemon with its answers changed on the way to the kernel, on this machine: the suites posix and vectors must see it.

`daemons/liar.c` is preloaded into the daemon as it was built. No guest is needed.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, SuiteResult, Verdict
from ci.store import RunFolder
from ci.validate import run_suite
from tests.integration.test_smoke import MANIFEST, built
from tests.localguest import LocalGuest, keep_inside, needs_mount

pytestmark = [
    pytest.mark.zoo,
    needs_mount,
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.getuid() != 0, reason="a FUSE mount for all users needs root"),
    pytest.mark.timeout(600),
]
SOURCE = Path(__file__).parent / "daemons" / "liar.c"


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("liar") / "liar.so"
    subprocess.run(["cc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True, timeout=60)
    return library


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtifactSpec, Artifact, Path]:
    """The daemon with its manifest, and mkfs."""
    folder = tmp_path_factory.mktemp("build")
    spec, artifact = built(MANIFEST, "vexfs-fuse", folder)
    _, mkfs = built(MANIFEST, "vexfs-mkfs", folder)
    return spec, artifact, mkfs.path


def judge(
    daemon: tuple[ArtifactSpec, Artifact, Path], folder: Path, monkeypatch: pytest.MonkeyPatch, suite: str, only: tuple[str, ...], *lie: str
) -> SuiteResult:
    spec, artifact, mkfs = daemon
    keep_inside(monkeypatch, folder)
    mount = (*lie, *(word.replace("{artifact}", str(artifact.path)) for word in spec.mount))
    spec = replace(spec, mount=mount, prepare=((str(mkfs), "{volume}", "64M"),), check=())
    chosen = SuiteSpec(suite, (spec.name,), 1, 120.0, 20.0)
    return run_suite(LocalGuest(), chosen, spec, artifact, run=RunFolder(folder), only=("mount", *only, "unmount"))


def preload(liar: Path, lie: str) -> tuple[str, ...]:
    return "env", f"LD_PRELOAD={liar}", f"ZOO_LIE={lie}"


@pytest.mark.parametrize(
    ("suite", "only", "lie", "case", "words"),
    [
        ("posix", ("folders", "sticky"), "errno", "folders.rmdir-with-file", "expected ENOTEMPTY, got EPERM"),
        ("vectors", ("search-l2-3", "search-cosine-16"), "distance", "search-l2-3", "got 0.5 of inode"),
    ],
)
def test_a_lie_is_caught_and_without_it_all_pass(
    daemon: tuple[ArtifactSpec, Artifact, Path],
    liar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite: str,
    only: tuple[str, ...],
    lie: str,
    case: str,
    words: str,
) -> None:
    honest = judge(daemon, tmp_path / "honest", monkeypatch, suite, only)
    assert honest.verdict is Verdict.PASS, honest.detail
    silent = judge(daemon, tmp_path / "silent", monkeypatch, suite, only, *preload(liar, "nothing"))
    assert silent.verdict is Verdict.PASS, "the library alone changes nothing"
    lying = judge(daemon, tmp_path / "lying", monkeypatch, suite, only, *preload(liar, lie))
    assert lying.verdict is Verdict.FAIL
    failed = {item.id: item.detail for item in lying.cases if item.verdict is Verdict.FAIL}
    assert any(name.startswith(case) and words in detail for name, detail in failed.items()), failed
