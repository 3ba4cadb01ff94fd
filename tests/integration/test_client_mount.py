# SPDX-License-Identifier: Apache-2.0
"""The Python client through the daemon, on this machine: every answer compared with numpy's."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import vexfs
from numpy.typing import NDArray

from tests.integration.test_smoke import MANIFEST, built

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration
BINARIES = ROOT / "fuse/target/x86_64-unknown-linux-gnu/release"
DEADLINE = 60
DIMENSIONS = (1, 3, 7, 16, 128, 768, 2048)


class Mounted:
    """A volume on an image in memory, mounted by the daemon; it can be unmounted, killed and mounted again."""

    def __init__(self, folder: Path) -> None:
        self.image, self.root, self.log = folder / "image", folder / "mnt", folder / "log"
        self.root.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(256 << 20)
        subprocess.run([BINARIES / "mkfs_vexfs", "-q", "-i", "8192", self.image], check=True, timeout=DEADLINE)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.mount()

    def mount(self) -> None:
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [BINARIES / "vexfs_fuse", "-f", "-o", "allow_other", "--image", self.image, self.root], stderr=log
            )
        end = time.monotonic() + DEADLINE
        while not os.path.ismount(self.root):
            assert self.daemon.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.01)

    def end(self, number: int) -> None:
        if self.daemon is not None:
            self.daemon.send_signal(number)
            code = self.daemon.wait(DEADLINE)
            self.daemon = None
            if number == signal.SIGKILL:
                subprocess.run(["umount", "-l", self.root], check=True, timeout=DEADLINE)
            else:
                assert code == 0, self.log.read_text()
        assert not os.path.ismount(self.root)

    def fsck(self) -> None:
        done = subprocess.run([BINARIES / "fsck_vexfs", "-n", self.image], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened")
    for name in ("vexfs-fuse", "vexfs-mkfs"):  # as the tool builds them: other flags would replace its files
        built(MANIFEST, name, tmp_path_factory.mktemp("build"))
    command = ["cargo", "build", "--release", "--bin", "fsck_vexfs", "--locked"]
    subprocess.run(command, cwd=ROOT / "fuse", check=True, capture_output=True, timeout=900)
    folder = Path(tempfile.mkdtemp(prefix="vexfs-client-", dir="/dev/shm"))
    try:
        found = Mounted(folder)
        try:
            yield found
        finally:
            if found.daemon is not None:
                found.end(signal.SIGTERM)
        found.fsck()
    finally:
        shutil.rmtree(folder)


def distances(metric: str, query: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The definition, in float64 throughout."""
    q, x = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        return np.asarray(((x - q) ** 2).sum(axis=1))
    if metric == "ip":
        return np.asarray(-(x @ q))
    return np.asarray(1 - (x @ q) / (np.linalg.norm(x, axis=1) * np.linalg.norm(q)))


def compare(found: vexfs.Collection, inodes: NDArray[np.uint64], vectors: NDArray[np.float32], k: int, seed: int) -> None:
    query = np.random.default_rng(seed).standard_normal(found.dimension).astype(np.float32)
    hits, got = found.search(query, k)
    want = distances(found.metric, query, vectors)
    scale = np.abs(want).max() + 1
    assert len(hits) == min(k, len(inodes)) and len(set(hits.tolist())) == len(hits)
    assert np.allclose(got, np.sort(want)[: len(got)], rtol=1e-5, atol=1e-7 * scale)
    by_inode = dict(zip(inodes.tolist(), want, strict=True))
    assert np.allclose(got, [by_inode[ino] for ino in hits.tolist()], rtol=1e-5, atol=1e-7 * scale)
    pairs = list(zip(got.tolist(), hits.tolist(), strict=True))
    assert pairs == sorted(pairs), "sorted by distance, then inode"


def test_results_are_numpys_for_every_metric_and_dimension_and_after_a_remount(mounted: Mounted) -> None:
    held = {}
    for metric in vexfs.METRICS:
        for dimension in DIMENSIONS:
            rng = np.random.default_rng(dimension)
            vectors = rng.standard_normal((200, dimension)).astype(np.float32)
            path = mounted.root / f"{metric}-{dimension}"
            with vexfs.Collection.create(path, dimension, metric) as found:
                inodes = found.add(np.arange(200), vectors)
                assert inodes[3] == os.stat(path / "3").st_ino and len(found) == 200
                compare(found, inodes, vectors, 10, 1)
                assert (found.get(inodes) == vectors).all()
            held[path] = (inodes, vectors)
    mounted.end(signal.SIGTERM)
    mounted.fsck()
    mounted.mount()
    for path, (inodes, vectors) in held.items():
        with vexfs.Collection.open(path) as found:
            compare(found, inodes, vectors, 1000, 2)


def test_ties_come_by_inode_and_a_search_can_go_on(mounted: Mounted) -> None:
    with vexfs.Collection.create(mounted.root / "ties", 4) as found:
        inodes = found.add(np.arange(3000), np.repeat(np.eye(4, dtype=np.float32), 750, axis=0))
        hits, got = found.search([1, 0, 0, 0], 2500)
        assert hits.tolist() == sorted(inodes[:750].tolist()) + sorted(inodes[750:].tolist())[:1750]
        assert got.tolist() == [0.0] * 750 + [2.0] * 1750
        assert found.search([1, 0, 0, 0], 3, (int(hits[0]), 0.0))[0].tolist() == hits[1:4].tolist()


def test_files_and_vectors_go_together(mounted: Mounted) -> None:
    path = mounted.root / "files"
    with vexfs.Collection.create(path, 2, "ip") as found:
        inodes = found.add([1, 2, 2**64 - 1], [[1, 0], [2, 0], [3, 0]], mode=0o600)
        assert sorted(os.listdir(path)) == ["1", "18446744073709551615", "2"]
        assert os.stat(path / "1").st_mode & 0o777 == 0o600
        (path / "2").write_text("a file like any other")
        os.unlink(path / "1")
        found.delete(inodes[1:2])
        found.set(inodes[2:], [[4, 0]])
        assert found.search([1, 0], 9)[0].tolist() == [inodes[2]] and found.search([1, 0], 9)[1].tolist() == [-4.0]
        with pytest.raises(vexfs.VexfsError, match="no vector") as caught:
            found.get(inodes[1:])
        assert caught.value.errno == errno.ENODATA
        with pytest.raises(vexfs.VexfsError, match="entry 1: ") as caught:
            found.add([5, 18446744073709551615], [[1, 1], [2, 2]], exclusive=True)
        assert (caught.value.errno, caught.value.done) == (errno.EEXIST, 1)
        with pytest.raises(vexfs.VexfsError, match="does not fit"):
            found.add([6], [[float("nan"), 0]])
        with pytest.raises(OSError) as crossed:
            os.rename(path / "5", mounted.root / "5")
        assert crossed.value.errno == errno.EXDEV
        plain = mounted.root / "plain"
        plain.mkdir()
        with pytest.raises(vexfs.VexfsError, match="make one with"):
            vexfs.Collection.open(plain)
        assert vexfs.info(plain).has_vectors
        for name in os.listdir(path):
            os.unlink(path / name)
    os.rmdir(path)


def test_what_was_synced_survives_a_kill(mounted: Mounted) -> None:
    path = mounted.root / "killed"
    vectors = np.random.default_rng(5).standard_normal((500, 33)).astype(np.float32)
    with vexfs.Collection.create(path, 33, "cosine") as found:
        inodes = found.add(np.arange(500), vectors)
        found.sync()
        found.add(np.arange(500, 600), vectors[:100])
        mounted.end(signal.SIGKILL)
    mounted.fsck()
    mounted.mount()
    with vexfs.Collection.open(path) as found:
        assert (found.get(inodes) == vectors).all() and 500 <= len(found) <= 600
        hits, _ = found.search(vectors[7], 2)
        assert inodes[7] in hits.tolist()


def test_searches_while_vectors_are_added_miss_none_that_was_there(mounted: Mounted) -> None:
    path = mounted.root / "busy"
    vectors = np.random.default_rng(6).standard_normal((4000, 16)).astype(np.float32)
    failures: list[BaseException] = []
    done = threading.Event()
    with vexfs.Collection.create(path, 16) as found:
        first = found.add(np.arange(100), vectors[:100])

        def search() -> None:
            try:
                with vexfs.Collection.open(path) as own:
                    while not done.is_set():
                        for i in range(0, 100, 9):
                            hits, got = own.search(vectors[i], 5)
                            assert hits[0] == first[i] and got[0] == 0.0 and (np.diff(got) >= 0).all()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            rest = found.add(np.arange(100, 4000), vectors[100:])
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not failures, failures
        compare(found, np.concatenate([first, rest]), vectors, 50, 7)


def test_somebody_else_may_only_what_the_directory_allows(mounted: Mounted) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    path = mounted.root / "mine"
    with vexfs.Collection.create(path, 1) as found:
        found.add([1], [[1]])
    os.chmod(path, 0o755)
    os.chmod(mounted.root, 0o755)
    os.chmod(mounted.root.parent, 0o755)
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "clients/python")!r})
import vexfs
os.setgroups([]); os.setgid(12345); os.setuid(12345)
found = vexfs.Collection.open({str(path)!r})
assert len(found.search([1], 1)[0]) == 1
try:
    found.add([2], [[2]])
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == errno.EACCES
    os.chmod(path, 0o700)
    os.chown(path, 4, 12345)
    denied = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE)
    assert denied.returncode != 0 and "Permission denied" in denied.stderr
