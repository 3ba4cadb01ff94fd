# SPDX-License-Identifier: Apache-2.0
"""What is not what it claims to be does not pass verification (B3, B4, B5, V4)."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ci import store, verify
from ci.model import Artifact, Check, KernelTarget, Kind
from ci.store import RunFolder
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.unit


def artifact(path: Path, kind: Kind) -> Artifact:
    """What a build would have recorded of this very file."""
    return Artifact(
        name="thing",
        kind=kind,
        path=path,
        sha256=store.sha256_file(path) if path.is_file() else "0" * 64,
        size=path.stat().st_size if path.exists() else 0,
        features=("fuse_support",),
        target="6.1.0-cloud" if kind is Kind.KERNEL_MODULE else builds.TRIPLE,
        kernel=None,
        commit="unknown",
        dirty=True,
        inputs_sha256="1" * 64,
        started=time.time() - 60,
        modified=path.stat().st_mtime if path.exists() else 0.0,
        warnings=0,
        reused=False,
        log="log",
    )


def failing(folder: Path, made: Artifact, *, inputs: str = "1" * 64) -> list[Check]:
    spec = builds.DAEMON if made.kind is Kind.DAEMON else builds.MODULE
    kernel = KernelTarget("k", "6.1.0-cloud", "x86_64", "cloud", "apt", folder) if made.kind is Kind.KERNEL_MODULE else None
    found = verify.verify(Subject(made, spec, kernel, inputs, RunFolder(folder)))
    assert found
    return [check for check in found if not check.verdict.ok]


@pytest.fixture
def daemon(tmp_path: Path) -> Path:
    """A real program that answers as the manifest says: a copy of Python cannot, so a C program is compiled."""
    return compiled(tmp_path, 'puts(c == 2 && !strcmp(v[1], "--version") ? "{\\"features\\": [\\"fuse_support\\"]}" : "Usage: demo_fuse");')


def compiled(folder: Path, body: str) -> Path:
    source = folder / "daemon.c"
    source.write_text(f"#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nint main(int c, char **v) {{ {body} return 0; }}\n")
    subprocess.run(["gcc", "-w", "-o", folder / "daemon", source], check=True, timeout=60)
    return folder / "daemon"


def test_a_daemon_that_is_what_it_claims_passes(tmp_path: Path, daemon: Path) -> None:
    assert failing(tmp_path, artifact(daemon, Kind.DAEMON)) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('puts("Usage: demo_fuse"); return 3;', "exit 3"),
        ("for (;;) pause();", "did not answer within"),
        ('puts("Usage: another");', "its answer lacks: 'Usage: demo_fuse'"),
        ("*(volatile int *)0 = 1;", "killed by SIGSEGV"),
        ('puts("Usage: demo_fuse"); puts("{}");', "no JSON object"),
        ('fputs("Usage: demo_fuse", stderr);', "its answer lacks: 'Usage: demo_fuse'"),
        ('for (;;) puts("Usage: demo_fuse");', "flooded its log"),
        ('puts(c == 2 && !strcmp(v[1], "--version") ? "{\\"features\\": 1}" : "Usage: demo_fuse");', "'features' is no list"),
        (
            'puts(c == 2 && !strcmp(v[1], "--version") ? "{\\"features\\": []}" : "Usage: demo_fuse");',
            "shows only: nothing",
        ),
    ],
    ids=["exits non-zero", "hangs", "says something else", "crashes", "no JSON", "errors only", "floods", "no list", "lacks the feature"],
)
def test_a_daemon_that_does_not_answer_as_documented_fails_v4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, says: str
) -> None:
    monkeypatch.setattr(verify.daemon, "ANSWER_SECONDS", 1.0)
    wrong = failing(tmp_path, artifact(compiled(tmp_path, body), Kind.DAEMON))
    assert wrong and {check.id for check in wrong} == {"V4"}
    assert any(says in check.detail for check in wrong), [check.detail for check in wrong]


def test_a_feature_that_nothing_can_show_is_not_believed(tmp_path: Path, daemon: Path) -> None:
    made = artifact(daemon, Kind.DAEMON)
    spec = replace(builds.DAEMON, feature_probe=None)
    found = verify.verify(Subject(made, spec, None, made.inputs_sha256, RunFolder(tmp_path)))
    assert "no way to observe features" in next(check.detail for check in found if not check.verdict.ok)


def ar_archive(path: Path) -> None:
    member = path.with_name("member.o")
    member.write_bytes(b"\x7fELF")
    subprocess.run(["ar", "rc", path, member], check=True, timeout=20)


def other_architecture(path: Path) -> None:
    shutil.copyfile(sys.executable, path)
    with open(path, "r+b") as file:
        file.seek(18)
        file.write(struct.pack("<H", 183))  # EM_AARCH64


def cut_off(path: Path) -> None:
    path.write_bytes(Path(sys.executable).resolve().read_bytes()[:90])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (ar_archive, "ar archive"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_text("not found\n"), "no ELF file"),
        (other_architecture, "EM_AARCH64"),
        (cut_off, "damaged ELF file"),
    ],
    ids=["ar archive", "empty", "text", "another architecture", "cut off"],
)
def test_what_is_no_module_at_all_fails_b5(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "demo.ko"
    make(path)  # type: ignore[operator]
    wrong = failing(tmp_path, artifact(path, Kind.KERNEL_MODULE))
    assert [check.id for check in wrong] == ["B5"] and says in wrong[0].detail


def test_an_object_that_is_no_module_has_no_modinfo(tmp_path: Path) -> None:
    source = tmp_path / "demo.c"
    source.write_text("int x;\n")
    subprocess.run(["gcc", "-c", "-o", tmp_path / "demo.ko", source], check=True, timeout=60)
    wrong = failing(tmp_path, artifact(tmp_path / "demo.ko", Kind.KERNEL_MODULE))
    assert [check.id for check in wrong] == ["V1"] and "no kernel module" in wrong[0].detail


def test_a_library_is_no_program(tmp_path: Path) -> None:
    source = tmp_path / "lib.c"
    source.write_text("int x;\n")
    subprocess.run(["gcc", "-shared", "-o", tmp_path / "daemon", source], check=True, timeout=60)
    wrong = failing(tmp_path, artifact(tmp_path / "daemon", Kind.DAEMON))
    assert [check.id for check in wrong] == ["V4"] and "a library or an object" in wrong[0].detail


def test_a_script_and_a_program_that_may_not_be_executed_are_no_daemon(tmp_path: Path, daemon: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho 'Usage: demo_fuse'\n")
    script.chmod(0o755)
    wrong = failing(tmp_path, artifact(script, Kind.DAEMON))
    assert [check.id for check in wrong] == ["B5"] and "no ELF file" in wrong[0].detail
    daemon.chmod(0o644)
    wrong = failing(tmp_path, artifact(daemon, Kind.DAEMON))
    assert [check.id for check in wrong] == ["V4"] and "no execute permission" in wrong[0].detail


def test_a_file_that_is_missing_a_link_or_a_folder_fails_b4(tmp_path: Path, daemon: Path) -> None:
    missing = failing(tmp_path, artifact(tmp_path / "nothing", Kind.DAEMON))
    (tmp_path / "folder").mkdir()
    folder = failing(tmp_path, artifact(tmp_path / "folder", Kind.DAEMON))
    (tmp_path / "link").symlink_to(daemon)
    link = failing(tmp_path, artifact(tmp_path / "link", Kind.DAEMON))
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    dangling = failing(tmp_path, artifact(tmp_path / "dangling", Kind.DAEMON))
    for wrong, says in ((missing, "not there"), (folder, "a folder"), (link, "a symbolic link"), (dangling, "a symbolic link")):
        assert [check.id for check in wrong] == ["B4"] and says in wrong[0].detail


def test_a_file_that_was_changed_after_the_build_fails_b4(tmp_path: Path, daemon: Path) -> None:
    made = artifact(daemon, Kind.DAEMON)
    with open(daemon, "ab") as file:
        file.write(b"x")
    assert "B4" in [check.id for check in failing(tmp_path, made)]


def test_a_file_that_is_older_than_its_build_or_than_its_sources_fails_b3(tmp_path: Path, daemon: Path) -> None:
    made = artifact(daemon, Kind.DAEMON)
    assert [check.id for check in failing(tmp_path, replace(made, started=time.time() + 60))] == ["B3"]
    wrong = failing(tmp_path, made, inputs="2" * 64)
    assert [check.id for check in wrong] == ["B3"] and "stale artifact" in wrong[0].detail
