# SPDX-License-Identifier: Apache-2.0
"""Broken modules and daemons in a real guest, each with the verdict that the smoke suite must give.

The order matters: what only answers wrongly comes first, what damages the guest's kernel comes last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci.errors import ProductFailure
from ci.manifest import SuiteSpec
from ci.model import Case, KernelTarget, SuiteResult, Verdict
from ci.validate import run_suite
from tests import builds
from tests.smokeguest import ZOO, Since, SmokeGuest, daemon, module, zoo_modules

pytestmark = [pytest.mark.zoo, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def kernel() -> KernelTarget:
    return builds.kernel_61()


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory, kernel: KernelTarget) -> Path:
    return zoo_modules(tmp_path_factory.mktemp("zoo") / "modules", kernel)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmokeGuest]:
    with SmokeGuest(tmp_path_factory.mktemp("guest")) as shared:
        yield shared


def line_of(words: str) -> int:
    """Where these words stand in the specimens' source, counted from 1."""
    lines = (ZOO / "kernel" / "zoofs.c").read_text().splitlines()
    (found,) = (number for number, line in enumerate(lines, 1) if words in line)
    return found


def case(result: SuiteResult, name: str) -> Case:
    (found,) = (item for item in result.cases if item.id == name)
    return found


def test_the_same_file_system_without_a_defect_passes_every_case(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    """The control: what the specimens fail for is their defect, and nothing else."""
    spec, artifact = module(modules, "good", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, minimum=29)
    assert result.detail == "29 pass"
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("defect", "name", "words"),
    [
        ("write_lies", "write-read", "differs at byte 0: expected 6d5d29b8058bdf65, got 0000000000000000"),
        ("read_nothing", "write-read", "by reading to its end: expected 1048576, got 0"),
        ("rename_lost", "rename-file", "rename-old: expected ENOENT, but it succeeded"),
        ("truncate_keeps", "truncate", "differs at byte 4097: expected 0000000000000000"),
    ],
)
def test_a_wrong_answer_is_a_failure_that_names_it(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget, defect: str, name: str, words: str
) -> None:
    spec, artifact = module(modules, defect, kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, only=("load", "mount", name, "unmount"))
    assert result.verdict is Verdict.FAIL
    assert case(result, name).verdict is Verdict.FAIL
    assert words in result.detail
    assert case(result, "mount").verdict is case(result, "unmount").verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("defect", "verdict", "words"),
    [
        ("silent", Verdict.HANG, "has mounted something at /mnt/vexci/zoo_silent; its log is empty"),
        ("quits", Verdict.FAIL, "ended with exit 0 instead of serving the mount; its log ends: mounted at /mnt/vexci/zoo_quits"),
        ("pretends", Verdict.FAIL, "ended with exit 0 instead of serving the mount; its log is empty"),
        ("wrong_type", Verdict.FAIL, "/mnt/vexci/zoo_wrong_type has a mount of type tmpfs, expected fuse.zoo"),
    ],
)
def test_a_daemon_that_does_not_serve_the_mount(guest: SmokeGuest, tmp_path: Path, defect: str, verdict: Verdict, words: str) -> None:
    spec, artifact = daemon(tmp_path, defect)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, operation_deadline=5)
    assert result.verdict is verdict
    assert words in result.detail
    assert {item.verdict for item in result.cases[1:]} == {Verdict.SKIP}
    assert guest.machine().run(["pgrep", "-x", artifact.name[:15]], deadline=10).returncode == 1
    assert f" /mnt/vexci/{artifact.name} " not in guest.machine().run(["cat", "/proc/mounts"], deadline=10).stdout


def test_another_build_than_the_deployed_one_is_found_out_in_the_suite(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget, tmp_path: Path
) -> None:
    old_spec, old = module(modules, "good", kernel)
    other = zoo_modules(tmp_path / "other", kernel, "good", comment="/* another build */\n")
    _, new = module(other, "good", kernel)
    guest.deploy(old_spec, old)
    result = guest.judge(old_spec, new, only=("load", "mount", "identity", "unmount"))
    assert result.verdict is Verdict.FAIL
    assert "a stale build?" in case(result, "identity").detail


def test_a_loaded_build_that_cannot_be_replaced_is_a_failure_with_both_ids(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget, tmp_path: Path
) -> None:
    spec, old = module(modules, "good", kernel)
    running = guest.deploy(spec, old).running_id
    machine = guest.machine()
    machine.run(["mkdir", "-p", "/mnt/held"], deadline=10, check=True)
    machine.run(["mount", "-t", "zoo_good", "zoo_good", "/mnt/held"], deadline=10, check=True)
    _, new = module(zoo_modules(tmp_path / "other", kernel, "good", comment="/* another build */\n"), "good", kernel)
    with pytest.raises(ProductFailure) as caught:
        guest.deploy(spec, new)
    machine.run(["umount", "/mnt/held"], deadline=10, check=True)
    assert running in str(caught.value)
    assert "cannot let it go" in str(caught.value)
    assert "reference count" in caught.value.hint
    replaced = guest.deploy(spec, new)
    assert replaced.running_id == replaced.built_id != running


def test_a_daemon_of_another_build_that_still_runs_is_a_failure_with_both_hashes(guest: SmokeGuest, tmp_path: Path) -> None:
    spec, old = daemon(tmp_path / "one", "silent", 1)
    _, new = daemon(tmp_path / "two", "silent", 2)
    place = guest.deploy(spec, old).guest_path
    machine = guest.machine()
    machine.run(["sh", "-c", f"{place} /mnt >/dev/null 2>&1 </dev/null &"], deadline=10, check=True)
    with pytest.raises(ProductFailure) as caught:
        guest.deploy(spec, new)
    machine.run(["pkill", "-x", "zoo_silent"], deadline=10, check=True)
    assert old.sha256 in str(caught.value)
    assert new.sha256 in str(caught.value)


@pytest.mark.parametrize(
    ("suite", "name", "words"),
    [
        ("smoke", "mount-again", "No such file or directory"),  # T3: what was written is gone after the remount
        ("faults", "no-volume", "a volume of zeros was mounted"),  # T6: mounts anything
        ("crash", "recorded-1", "was fsynced with ['t0', 't1', 't2'] in it, and has []"),  # T8: fsync says yes and does nothing
    ],
)
def test_a_file_system_that_keeps_everything_in_memory(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget, suite: str, name: str, words: str
) -> None:
    """It mounts whatever it is given, and its fsync lies; that its manifest calls it persistent is what the suites hold it to."""
    spec, artifact = module(modules, "good", kernel)
    mount = ("mount", "-t", spec.filesystem, "{volume}", "{mountpoint}")
    spec = replace(spec, mount=mount, prepare=(("truncate", "-s", "16M", "{volume}"),), persistent=True)
    guest.deploy(spec, artifact)
    chosen = SuiteSpec(suite, (spec.name,), 1, 120.0, 15.0, (("operations", "10"), ("cuts", "8")))
    only = ("load", "mount", "unmount", name)
    result = run_suite(Since(guest.machine()), chosen, spec, artifact, run=guest.run, only=only)
    assert result.verdict is case(result, name).verdict is Verdict.FAIL
    assert words in case(result, name).detail


def test_a_module_that_can_never_be_unloaded(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "never_unloads", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact)
    assert result.verdict is Verdict.FAIL
    assert "the reference count of zoo_never_unloads is 1 with nothing mounted" in result.detail


def test_a_module_that_the_kernel_refuses_is_explained_by_the_kernel(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    whole = modules / "zoo_good.ko"
    damaged = modules / "zoo_damaged.ko"
    damaged.write_bytes(whole.read_bytes().replace(kernel.release.encode() + b" SMP ", kernel.release.encode() + b" UMP "))
    spec, artifact = module(modules, "damaged", kernel)
    with pytest.raises(ProductFailure) as caught:
        guest.deploy(spec, artifact)
    assert f"built for another kernel: version magic '{kernel.release} UMP " in str(caught.value)


def test_a_mount_that_never_returns_is_a_hang_with_its_kernel_stack(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "mount_hang", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, operation_deadline=5)
    machine = guest.machine()
    machine.run(["sh", "-c", "echo 1 > /sys/module/zoo_mount_hang/parameters/release"], deadline=10, check=True)
    assert result.verdict is Verdict.HANG
    assert "no return from: mount -t zoo_mount_hang zoo_mount_hang /mnt/vexci/zoo_mount_hang" in result.detail
    stacks = next(guest.run.path / item.path for item in result.evidence if item.path.endswith("mount.stacks.txt"))
    assert "State:\tD (disk sleep)" in stacks.read_text()
    assert "zoo_fill_super" in stacks.read_text()
    assert any(item.kind == "diagnosis" and item.path.endswith("sysrq.txt") for item in result.evidence)


def test_a_kernel_warning_condemns_a_case_that_passed(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "unlink_warns", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, only=("load", "mount", "mkdir", "unlink", "unmount"))
    assert result.verdict is Verdict.PANIC
    assert "K2 WARNING: CPU:" in result.detail
    assert "(during: case unlink: " in result.detail, "the operation, too"
    # addr2line of binutils 2.40 takes the file that includes zoofs.c as a whole for it; the line is right.
    assert f" at zoo_unlink_warns.c:{line_of('WARN_ONCE(1')} (zoo_unlink+0x" in result.detail
    assert case(result, "unlink").detail.endswith("the case itself: pass")
    assert case(result, "mkdir").verdict is Verdict.PASS


def test_sleeping_in_atomic_context_condemns_a_case_that_passed(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "sleeps_atomic", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, only=("load", "mount", "unlink", "unmount"))
    assert result.verdict is Verdict.PANIC
    assert "K2 BUG: scheduling while atomic: " in result.detail
    assert case(result, "unlink").verdict is Verdict.PANIC
    assert case(result, "unlink").detail.endswith("the case itself: pass")


@pytest.mark.parametrize(
    ("defect", "name", "words"),
    [
        ("write_lies", "exerciser", "expected"),
        pytest.param("rename_lost", "churn", "is still there after it was renamed", marks=pytest.mark.soak),
        pytest.param("truncate_keeps", "exerciser", "expected", marks=pytest.mark.soak),
    ],
)
def test_what_lies_fails_the_suite_stress(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget, defect: str, name: str, words: str
) -> None:
    chosen = SuiteSpec("stress", (), 1, 120.0, 30.0, (("seconds", "2"),))
    for which, verdict in (("good", Verdict.PASS), (defect, Verdict.FAIL)):
        spec, artifact = module(modules, which, kernel)
        guest.deploy(spec, artifact)
        only = ("load", "mount", name, "unmount")
        result = run_suite(Since(guest.machine()), chosen, spec, artifact, run=guest.run, only=only)
        assert case(result, name).verdict is verdict, result.detail
    assert words in case(result, name).detail


def test_objects_that_a_module_leaves_behind_are_a_leak(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "object_leak", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, only=("load", "mount", "unmount"))
    assert result.verdict is Verdict.PANIC
    assert "K6 BUG zoo_object_leak_cache" in result.detail
    assert "Objects remaining" in result.detail


def test_an_oops_in_listing_is_a_panic_and_ends_the_suite(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "ls_oops", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact)
    assert result.verdict is Verdict.PANIC
    assert "K1 BUG: kernel NULL pointer dereference" in result.detail
    assert "(during: case mkdir: " in result.detail
    assert f" at zoo_ls_oops.c:{line_of('WRITE_ONCE(nothing')} (zoo_" in result.detail
    (splats,) = (item.path for item in result.evidence if item.kind == "splats")
    assert "  <- zoo_ls_oops.c:" in (guest.run.path / splats).read_text()
    assert case(result, "mkdir").verdict is Verdict.PANIC
    assert case(result, "write-read").detail == "not run: the kernel crashed in mkdir"


def test_an_inode_that_is_never_let_go_is_a_leak(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    spec, artifact = module(modules, "inode_leak", kernel)
    guest.deploy(spec, artifact)
    result = guest.judge(spec, artifact, only=("load", "mount", "unlink", "unmount"))
    assert result.verdict is Verdict.PANIC
    assert "K6 VFS: Busy inodes after unmount of zoo_inode_leak" in result.detail
    assert case(result, "unlink").verdict is Verdict.PASS
    assert case(result, "unmount").verdict is Verdict.PANIC


def test_a_kernel_that_dies_in_mid_suite_is_a_panic_at_once(guest: SmokeGuest, tmp_path: Path) -> None:
    spec, artifact = daemon(tmp_path, "crashes")
    guest.deploy(spec, artifact)
    begin = time.monotonic()
    result = guest.judge(spec, artifact, operation_deadline=60)
    assert time.monotonic() - begin < 30
    assert result.verdict is Verdict.PANIC
    assert result.detail.startswith("K1 Kernel panic - not syncing: sysrq triggered crash (during: case mount: wait until ")
    assert case(result, "mount").verdict is Verdict.PANIC
    guest.discard()


def test_a_guest_that_is_lost_without_a_word_of_its_kernel_is_infra(guest: SmokeGuest, tmp_path: Path) -> None:
    spec, artifact = daemon(tmp_path, "powers_off")
    guest.deploy(spec, artifact)  # in a new guest
    result = guest.judge(spec, artifact, operation_deadline=60)
    assert result.verdict is Verdict.INFRA
    assert "during: mount: " in result.detail
    assert case(result, "mount").verdict is Verdict.INFRA
    assert {item.verdict for item in result.cases[1:]} == {Verdict.SKIP}


def test_a_task_that_the_kernel_calls_hung_is_a_hang_with_the_kernels_own_words(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget
) -> None:
    """The operation's deadline is longer than the kernel's patience: the kernel says it first."""
    spec, artifact = module(modules, "never_mounts", kernel)
    guest.deploy(spec, artifact)
    machine = guest.machine()
    machine.run(["sh", "-c", "echo 3 >/proc/sys/kernel/hung_task_timeout_secs"], deadline=10, check=True)
    result = guest.judge(spec, artifact, operation_deadline=15)
    assert result.verdict is Verdict.HANG
    assert "K4 INFO: task mount:" in result.detail and "blocked for more than 3 seconds" in result.detail
    assert case(result, "mount").verdict is Verdict.HANG
    assert "(zoo_fill_super+0x" in case(result, "mount").detail, "where it waits"
    guest.discard()  # nobody ever mounts anything there again
