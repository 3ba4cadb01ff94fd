# SPDX-License-Identifier: Apache-2.0
"""./inv release of a small project: the same bytes each time, and nothing half-made whatever goes wrong in the middle of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import builds, tool
from tests.integration.test_record import MANIFEST

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900), pytest.mark.xdist_group("project")]

PACKAGES = """\
version: 1
packages:
  demo:
    summary: a small program
    description: It does nothing.
    section: admin
    license: Apache-2.0
    binaries: {daemon: /usr/bin/demo_fuse}
    completions: true
"""
# Prints completions; waits before that where it is told to, so that a test can come in between.
COMPLETIONS = """\
    match std::env::args().nth(1).as_deref() {
        Some("--completions") => {
            if std::env::var_os("DEMO_WAITS").is_some() { std::thread::sleep(std::time::Duration::from_secs(600)); }
            println!("complete demo_fuse");
        }
"""
DEADLINE = 200.0


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t.net"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a tag and one package, which no suite has to pass."""
    root = tmp_path / "project"
    folder = builds.crate(root)
    main = folder / "src/main.rs"
    main.write_text(main.read_text().replace("    match std::env::args().nth(1).as_deref() {\n", COMPLETIONS))
    (root / "packaging").mkdir()
    (root / "packaging/packages.yaml").write_text(PACKAGES)
    (root / "vexci.yaml").write_text(MANIFEST.replace("project: small\n", "project: small\nrelease: 0.1.0\n"))
    (root / ".gitignore").write_text("/.runs/\n/.build/\n/.vexci/\n/dist/\ntarget/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    git(root, "tag", "v0.1.0")
    return root


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders of this test's own for what the tool keeps while it runs; the state's is short because UNIX sockets live in it."""
    folder = Path(tempfile.mkdtemp(prefix="vxr-", dir="/tmp"))
    (folder / "tmp").mkdir()
    monkeypatch.setenv("VEXCI_STATE", str(folder / "state"))
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    yield folder
    shutil.rmtree(folder)


def release(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return tool.inv("release", "--version", "0.1.0", *words, config=project / "vexci.yaml")


def test_twice_it_is_the_same_bytes_also_from_another_clone(project: Path, scratch: Path, tmp_path: Path) -> None:
    done = release(project)
    assert done.returncode == 0, done.stdout
    git(tmp_path, "clone", "-q", str(project), str(tmp_path / "another"))
    again = release(tmp_path / "another")
    assert again.returncode == 0, again.stdout
    first, second = (
        {path.name: path.read_bytes() for path in (root / "dist/small-0.1.0").iterdir()} for root in (project, tmp_path / "another")
    )
    assert set(first) == set(second) and len(first) >= 6
    assert [name for name in first if first[name] != second[name]] == []
    done = release(project)
    assert done.returncode == 2 and "is already there" in done.stdout
    checked = tool.inv("release.verify", str(project / "dist/small-0.1.0"), "--unsigned", config=project / "vexci.yaml")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "more").write_text("x"), "the tree differs from its commit"),
        (lambda root: git(root, "tag", "-d", "v0.1.0"), "has no tag v0.1.0"),
        (lambda root: git(root, "commit", "-q", "--allow-empty", "-m", "more"), "has no tag v0.1.0"),
    ],
)
def test_a_tree_that_is_not_the_tagged_commit_leaves_nothing(project: Path, scratch: Path, spoil: object, said: str) -> None:
    spoil(project)  # type: ignore[operator]
    done = release(project)
    assert done.returncode == 1 and said in done.stdout, done.stdout
    assert not (project / "dist").exists()


def wait_for_packing(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the program runs whose completions go into the package: everything else of it is made."""
    end = time.monotonic() + DEADLINE
    while not any("demo_fuse --completions" in " ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def left(project: Path, scratch: Path) -> list[Path]:
    return [*(project / "dist").iterdir(), *scratch.glob("tmp/vexci-packages-*")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle_it_leaves_nothing(
    project: Path, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("DEMO_WAITS", "1")
    log = tmp_path / "log"
    process = tool.start("release", "--version", "0.1.0", config=project / "vexci.yaml", log=log)
    wait_for_packing(process, log)
    assert left(project, scratch), "there is something to leave"
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(60) == 130, log.read_text()
    assert left(project, scratch) == []


def test_killed_in_the_middle_the_next_start_clears_away(
    project: Path, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_WAITS", "1")
    log = tmp_path / "log"
    process = tool.start("release", "--version", "0.1.0", config=project / "vexci.yaml", log=log)
    wait_for_packing(process, log)
    process.kill()
    process.wait(60)
    assert left(project, scratch)
    monkeypatch.delenv("DEMO_WAITS")
    done = release(project)
    assert done.returncode == 0, done.stdout
    assert [path.name for path in left(project, scratch)] == ["small-0.1.0"]


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("leave", [4096, 200_000])
def test_a_full_disk_is_the_machine_s_fault_and_leaves_nothing(project: Path, scratch: Path, tmp_path: Path, leave: int) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "vexci-test", place], check=True, timeout=20)
    try:
        space = os.statvfs(place)
        (place / "ballast").write_bytes(b"x" * (space.f_bavail * space.f_frsize - leave))
        done = release(project, "--output", str(place / "out"))
        assert done.returncode == 3 and "the disk is full" in done.stdout, done.stdout
        assert "Traceback" not in done.stdout
        assert [path.name for path in place.iterdir()] == ["ballast"]
    finally:
        subprocess.run(["umount", "-l", place], check=True, timeout=20)
