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
from ci.validate import run_suite, run_together
from ci.validate.differential import reproducer
from tests.integration.test_smoke import MANIFEST, built
from tests.localguest import LocalGuest, keep_inside, lasting, needs_mount

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


def specimen(daemon: tuple[ArtifactSpec, Artifact, Path], folder: Path, monkeypatch: pytest.MonkeyPatch, *lie: str) -> ArtifactSpec:
    """The daemon as the manifest has it, on a small volume below `folder`, with the lie's words before its command."""
    spec, artifact, mkfs = daemon
    keep_inside(monkeypatch, folder)
    mount = (*lie, *(word.replace("{artifact}", str(artifact.path)) for word in spec.mount))
    return replace(spec, mount=mount, prepare=((str(mkfs), "{volume}", "64M"),), check=())


def judge(
    daemon: tuple[ArtifactSpec, Artifact, Path], folder: Path, monkeypatch: pytest.MonkeyPatch, suite: str, only: tuple[str, ...], *lie: str
) -> SuiteResult:
    spec = specimen(daemon, folder, monkeypatch, *lie)
    chosen = SuiteSpec(suite, (spec.name,), 1, 120.0, 20.0)
    return run_suite(LocalGuest(), chosen, spec, daemon[1], run=RunFolder(folder), only=("mount", *only, "unmount"))


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


@pytest.mark.soak
def test_a_size_that_only_random_operations_come_by(
    daemon: tuple[ArtifactSpec, Artifact, Path], liar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No case of posix makes a file of such a size: all of its truncations pass. The suite differential finds it, and shrinks it."""
    groups = ("truncate", "sparse", "content")
    blind = judge(daemon, tmp_path / "blind", monkeypatch, "posix", groups, *preload(liar, "size"))
    assert blind.verdict is Verdict.PASS and len(blind.cases) > 40, blind.detail
    chosen = SuiteSpec("differential", ("vexfs-fuse",), 4, 120.0, 20.0, (("seed", "1"), ("sequences", "120")))
    for lie, verdict in (("nothing", Verdict.PASS), ("size", Verdict.FAIL)):
        spec, run = specimen(daemon, tmp_path / lie, monkeypatch, *preload(liar, lie)), RunFolder(tmp_path / lie)
        with lasting() as guest:
            result = run_together(guest, chosen, [(spec, daemon[1])], run=run)
        assert result.verdict is verdict, result.detail
    (wrong,) = (case for case in result.cases if case.verdict is Verdict.FAIL)
    assert "truncate(" in wrong.detail
    (path,) = (item.path for item in result.evidence if item.kind == "reproducer")
    assert len(reproducer.read(run.path / path)) <= 3
