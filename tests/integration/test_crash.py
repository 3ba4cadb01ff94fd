# SPDX-License-Identifier: Apache-2.0
"""The crash suite on the project's own artifacts in a real guest; and on a disk that lies, where it must fail (T8)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci.errors import VexciError
from ci.guest import Guest
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, SuiteResult, Verdict
from ci.store import RunFolder
from ci.validate import run_suite
from ci.validate.power import run_power
from tests.integration.test_smoke import MANIFEST, built
from tests.powerguest import SharedLives
from tests.smokeguest import Since, SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CRASH: SuiteSpec = next(suite for suite in MANIFEST.suites if suite.name == "crash")
Product = tuple[ArtifactSpec, Artifact]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmokeGuest]:
    with SmokeGuest(tmp_path_factory.mktemp("guest")) as shared:
        for tool in (item.name for item in MANIFEST.artifacts if not item.mount):
            shared.deploy(*built(MANIFEST, tool, tmp_path_factory.mktemp("build")))
        yield shared


@pytest.fixture(scope="module", params=CRASH.artifacts)
def product(request: pytest.FixtureRequest, guest: SmokeGuest, tmp_path_factory: pytest.TempPathFactory) -> Product:
    made = built(MANIFEST, request.param, tmp_path_factory.mktemp("build"))
    guest.deploy(*made)
    return made


def judged(guest: SmokeGuest, product: Product, *only: str, **options: str) -> SuiteResult:
    suite = replace(CRASH, minimum=1, options=tuple({**dict(CRASH.options), **options}.items()))
    return run_suite(Since(guest.machine()), suite, *product, run=guest.run, only=only)


def test_what_was_fsynced_is_there_after_every_crash(guest: SmokeGuest, product: Product) -> None:
    result = judged(guest, product)
    assert {case.verdict for case in result.cases} == {Verdict.PASS}, result.detail
    assert len(result.cases) == CRASH.minimum
    for case in result.cases:
        if case.id == "old-ends":
            assert case.detail.startswith("4 files grew"), case
        elif case.id != "load":
            assert "promises kept" in case.detail and "vectors" in case.detail, case


def test_faults_are_reported_and_lose_nothing(guest: SmokeGuest, product: Product) -> None:
    suite = next(suite for suite in MANIFEST.suites if suite.name == "faults")
    only = ("load", "no-volume", "full-disk", "write-errors", "flipped-1")
    result = run_suite(Since(guest.machine()), replace(suite, minimum=4), *product, run=guest.run, only=only)
    assert {case.verdict for case in result.cases} == {Verdict.PASS}, result.detail


@pytest.mark.parametrize(("lying", "verdict"), [("", Verdict.PASS), ("yes", Verdict.FAIL)])
def test_the_power_of_a_guest_is_cut(tmp_path: Path, lying: str, verdict: Verdict) -> None:
    """The next guest finds every promise kept; on a disk that forgets what was flushed it must not."""
    suite = next(suite for suite in MANIFEST.suites if suite.name == "power")
    suite = replace(suite, options=(("cuts", "1"), ("seed", "3")))
    what = [built(MANIFEST, name, tmp_path) for name in ("vexfs-mkfs", "vexfs-fsck", "vexfs-kernel")]
    run = RunFolder(tmp_path)
    result = run_power(
        suite, *what[-1], lives=lambda: SharedLives(tmp_path, run, what, lies=bool(lying)), kernel="6.1", run=run, progress=print
    )
    assert result.verdict is verdict, result.detail
    assert ("promises kept" if verdict is Verdict.PASS else "recover: after the power cut") in result.cases[0].detail


# A file without a name is durable and open, and stays so until there is no guest any more.
HOLD = """
import os, sys, time
handle = os.open(sys.argv[1] + "/open", os.O_CREAT | os.O_RDWR)
os.write(handle, b"x" * (1 << 20))
os.fsync(handle)
os.unlink(sys.argv[1] + "/open")
os.fsync(os.open(sys.argv[1], os.O_RDONLY))
print(os.statvfs(sys.argv[1]).f_bfree, flush=True)
time.sleep(600)
"""


def test_what_was_open_without_a_name_when_the_guest_was_destroyed_is_freed_by_the_next_mount(tmp_path: Path) -> None:
    what = [built(MANIFEST, name, tmp_path) for name in ("vexfs-mkfs", "vexfs-fsck", "vexfs-kernel")]
    mkfs, fsck = "/opt/vexci/vexfs-mkfs/mkfs_vexfs", "/opt/vexci/vexfs-fsck/fsck_vexfs"
    lives = SharedLives(tmp_path, RunFolder(tmp_path), what)
    try:
        guest, device = lives.begin()
        free = "stat -f -c '%f %d' /mnt"
        before = shell(guest, f"{mkfs} {device} >/dev/null; mount -t vexfs {device} /mnt; {free}")
        held: list[int] = []

        def cut(line: str) -> None:
            held.append(int(line))
            lives.destroy()

        with pytest.raises(VexciError):
            guest.run(["python3", "-c", HOLD, "/mnt"], deadline=60, on_line=cut)
        lives.lose(random.Random(1))
        guest, device = lives.begin()
        after = shell(guest, f"mount -t vexfs {device} /mnt; sync; {free}")
        told = shell(guest, f"dmesg; umount /mnt; {fsck} -n {device} >/dev/null")
        assert "cleaned 1 orphans" in told
        assert after == before and held[0] <= int(before.split()[0]) - 256
    finally:
        lives.close()


def shell(guest: Guest, text: str) -> str:
    done = guest.run(["bash", "-euo", "pipefail", "-c", text], deadline=120)
    assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"
    return done.stdout


def test_a_disk_that_forgets_what_it_was_told_to_flush_is_found_out(guest: SmokeGuest, product: Product) -> None:
    result = judged(guest, product, "load", "recorded-1", lying_disk="yes")
    (case,) = (case for case in result.cases if case.id == "recorded-1")
    assert (result.verdict, case.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "after a cut behind write" in case.detail
    assert result.evidence
