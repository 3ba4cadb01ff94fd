# SPDX-License-Identifier: Apache-2.0
"""The smoke suite and its judge, on filesystems of this machine: what is broken must be told, and why."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ci.errors import GuestPanic, InfrastructureError
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Case, Kind, SuiteResult, Verdict
from ci.store import RunFolder, sha256_file
from ci.validate import bundle, run_suite
from ci.validate.guest import mounts, smoke
from ci.validate.guest.context import Plan
from ci.validate.transcript import Transcript
from tests.localguest import LocalGuest, keep_inside, needs_mount

pytestmark = [pytest.mark.unit, needs_mount]

# Everything but what loads or unloads a module.
CASES = tuple(entry.id for entry in smoke.TABLE.entries if entry.id not in ("load", "identity", "unload", "load-again", "start-again"))
WARNING = "[   99.000000] WARNING: CPU: 0 PID: 9 at fs/inode.c:336 drop_nlink+0x28/0x40\n"


@pytest.fixture(autouse=True)
def inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep_inside(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def module_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ELF file with a module's identity; it is never loaded."""
    folder = tmp_path_factory.mktemp("module")
    source = folder / "demo.c"
    source.write_text('__attribute__((section(".modinfo"))) const char v[] = "srcversion=0123456789ABCDEF";\n')
    subprocess.run(["cc", "-c", "-o", folder / "demo.ko", source], check=True)
    return folder / "demo.ko"


def artifact(path: Path, kind: Kind) -> Artifact:
    return Artifact(
        name="demo",
        kind=kind,
        path=path,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        features=(),
        target="x",
        kernel=None,
        commit="",
        dirty=False,
        inputs_sha256="",
        started=0.0,
        modified=0.0,
        warnings=0,
        reused=False,
        log="",
    )


def suite(minimum: int = 1, deadline: float = 60.0, operation_deadline: float = 5.0) -> SuiteSpec:
    return SuiteSpec("smoke", ("demo",), minimum, deadline, operation_deadline)


def kernel_spec(*mount: str, filesystem: str = "tmpfs", persistent: bool = False) -> ArtifactSpec:
    return ArtifactSpec(
        "demo", Kind.KERNEL_MODULE, "kbuild", Path("kernel"), "demo.ko", filesystem=filesystem, mount=mount, persistent=persistent
    )


TMPFS = kernel_spec("mount", "-t", "tmpfs", "none", "{mountpoint}")


def judge(
    module_file: Path,
    tmp_path: Path,
    spec: ArtifactSpec = TMPFS,
    *,
    guest: LocalGuest | None = None,
    only: tuple[str, ...] = CASES,
    asked: SuiteSpec | None = None,
) -> SuiteResult:
    target = artifact(module_file, Kind.KERNEL_MODULE)
    return run_suite(guest or LocalGuest(), asked or suite(), spec, target, run=RunFolder(tmp_path), only=only)


def case(result: SuiteResult, name: str) -> Case:
    (found,) = (item for item in result.cases if item.id == name)
    return found


def test_a_right_filesystem_passes_every_case(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, asked=suite(minimum=len(CASES)))
    assert result.detail == f"{len(CASES)} pass"
    assert result.verdict is Verdict.PASS
    assert [item.id for item in result.cases] == list(CASES)


EXT4 = replace(
    kernel_spec("mount", "-t", "ext4", "-o", "loop", "{volume}", "{mountpoint}", filesystem="ext4", persistent=True),
    prepare=(("truncate", "-s", "64M", "{volume}"), ("mkfs.ext4", "-q", "-F", "{volume}")),
)


@pytest.mark.skipif(not Path("/dev/loop-control").exists() or os.getuid() != 0, reason="a loop mount needs root and loop devices")
def test_a_filesystem_on_a_volume_that_the_manifest_prepares_passes_and_its_data_outlive_a_remount(
    module_file: Path, tmp_path: Path
) -> None:
    result = judge(module_file, tmp_path, EXT4)
    assert result.verdict is Verdict.PASS, [(item.id, item.detail) for item in result.cases if not item.verdict.ok]
    assert list(Path("/var/tmp").glob("smoke-demo-*.volume")) == []


def test_a_volume_that_cannot_be_prepared_is_a_failure_in_the_words_of_the_command(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, replace(EXT4, prepare=(("sh", "-c", "echo no such mkfs; exit 4"),)))
    assert result.verdict is Verdict.FAIL and "exit 4: no such mkfs" in result.detail


def test_a_mount_that_mounts_nothing_is_a_failure_and_nothing_runs_on_the_folder_below(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, kernel_spec("true"))
    assert result.verdict is Verdict.FAIL
    assert "nothing is mounted at" in case(result, "mount").detail
    assert "nothing is mounted at" in result.detail
    assert {item.verdict for item in result.cases[1:]} == {Verdict.SKIP}
    assert list((tmp_path / "mnt" / "demo").iterdir()) == []


def test_a_mount_of_another_type_is_a_failure(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, kernel_spec("mount", "-t", "tmpfs", "none", "{mountpoint}", filesystem="vexfs"))
    assert result.verdict is Verdict.FAIL
    assert "has a mount of type tmpfs, expected vexfs" in case(result, "mount").detail


def test_a_bind_of_the_folder_above_is_no_proof_of_a_mount(module_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    above = mounts.at_type(str(tmp_path / "mnt"))
    result = judge(module_file, tmp_path, kernel_spec("mount", "--bind", "{mountpoint}", "{mountpoint}", filesystem=above))
    assert result.verdict is Verdict.FAIL
    assert "st_dev" in case(result, "mount").detail


def test_a_mount_command_that_fails_is_quoted(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, kernel_spec("sh", "-c", "echo no such device; exit 32"))
    assert result.verdict is Verdict.FAIL
    assert "exit 32: no such device" in result.detail


def test_an_operation_that_does_not_return_is_a_hang_with_stacks(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, kernel_spec("sleep", "73"), asked=suite(operation_deadline=1))
    assert result.verdict is Verdict.HANG
    assert case(result, "mount").detail.startswith("no return from: sleep 73 (waited 1 s, operation deadline)")
    assert {item.verdict for item in result.cases[1:]} == {Verdict.SKIP}
    (stacks,) = (item for item in result.evidence if item.path.endswith("mount.stacks.txt"))
    text = next(tmp_path.rglob("mount.stacks.txt")).read_text()
    assert "sleep 73" in text
    assert "State:" in text
    assert stacks.sha256
    assert any(item.kind == "diagnosis" for item in result.evidence)


def test_the_suites_deadline_stops_it(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, kernel_spec("sleep", "74"), asked=suite(deadline=1, operation_deadline=30))
    assert result.verdict is Verdict.HANG
    assert "suite deadline" in case(result, "mount").detail


def test_zero_cases_are_a_failure(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, only=("there-is-no-such-case",))
    assert result.verdict is Verdict.FAIL
    assert result.detail == "0 cases ran, the suite 'smoke' asks for at least 1; no cases"


def test_fewer_cases_than_the_minimum_are_a_failure_although_all_passed(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, only=("mount", "mkdir"), asked=suite(minimum=3))
    assert result.verdict is Verdict.FAIL
    assert "2 cases ran, the suite 'smoke' asks for at least 3" in result.detail


def test_data_that_lived_in_memory_only_is_found_missing_after_remount(module_file: Path, tmp_path: Path) -> None:
    spec = kernel_spec("mount", "-t", "tmpfs", "none", "{mountpoint}", persistent=True)
    result = judge(module_file, tmp_path, spec)
    assert result.verdict is Verdict.FAIL
    assert case(result, "mount-again").detail.endswith("kept'")
    assert "No such file" in case(result, "mount-again").detail


def test_the_running_build_must_be_the_built_one(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, only=("mount", "identity"))
    assert result.verdict is Verdict.FAIL
    assert (
        "expected 'srcversion 0123456789ABCDEF, build id (none)', got 'srcversion (none), build id (none)'"
        in case(result, "identity").detail
    )


def test_nothing_is_loaded_into_the_kernel_of_this_machine(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, only=("load", "mount"))
    assert result.verdict is Verdict.FAIL
    assert "nothing is ever loaded" in case(result, "load").detail


def test_the_kernels_complaint_condemns_a_case_that_passed(module_file: Path, tmp_path: Path) -> None:
    guest = LocalGuest(after=f"[   98.000000] vexci: case mkdir\n{WARNING}[   99.500000] vexci: case create\n")
    result = judge(module_file, tmp_path, guest=guest)
    assert result.verdict is Verdict.PANIC
    assert case(result, "mkdir").verdict is Verdict.PANIC
    assert case(result, "mkdir").detail.endswith("the case itself: pass")
    assert case(result, "create").verdict is Verdict.PASS
    assert "K2 WARNING: CPU: 0 PID: 9 at fs/inode.c:336" in result.detail
    assert any(item.path.endswith("splats.txt") for item in result.evidence)


def test_a_guest_that_had_complained_before_proves_nothing(module_file: Path, tmp_path: Path) -> None:
    guest = LocalGuest(console=WARNING)
    result = judge(module_file, tmp_path, guest=guest)
    assert result.verdict is Verdict.INFRA
    assert "had complained before" in result.detail
    assert guest.ran == []
    assert result.cases == ()


def test_a_lost_guest_is_infra_where_its_console_is_clean(module_file: Path, tmp_path: Path) -> None:
    guest = LocalGuest(lost=InfrastructureError("the guest was lost"), lost_at='"operation": "write 1048576')
    result = judge(module_file, tmp_path, guest=guest)
    assert result.verdict is Verdict.INFRA
    assert case(result, "write-read").verdict is Verdict.INFRA
    assert "(during: write-read: write 1048576 bytes to" in result.detail
    assert case(result, "unmount").verdict is Verdict.SKIP


def test_a_lost_guest_is_a_panic_where_its_console_shows_why(module_file: Path, tmp_path: Path) -> None:
    panic = "[   99.000000] vexci: case write-read\n[   99.100000] Kernel panic - not syncing: Fatal exception\n"
    guest = LocalGuest(lost=InfrastructureError("the guest was lost"), lost_at='"operation": "write 1048576', after=panic)
    result = judge(module_file, tmp_path, guest=guest)
    assert result.verdict is Verdict.PANIC
    assert case(result, "write-read").verdict is Verdict.PANIC
    assert result.detail.startswith("K1 Kernel panic - not syncing: Fatal exception (during: case write-read)")


def test_a_lost_guest_died_in_the_step_that_its_console_shows_last(module_file: Path, tmp_path: Path) -> None:
    """A step is told with a delay, so that a guest can die in one that was never told; its kernel's log had it at once."""
    shown = "[   99.000000] vexci: case write-read\n[   99.100000] vexci: operation write the last byte\n"
    guest = LocalGuest(lost=InfrastructureError("the guest was lost"), lost_at='"case": "write-read"', after=shown)
    result = judge(module_file, tmp_path, guest=guest)
    assert "(during: write-read: write the last byte)" in result.detail
    assert case(result, "write-read").detail == "the guest was lost (during: write the last byte)"


@pytest.mark.parametrize(
    ("mark", "step", "expected"),
    [
        (("case b", "cut"), "write", "b: cut"),  # the beginning of b was not told
        (("case a", "cut"), "write", "a: cut"),
        (("case a", ""), "write", "a: write"),
        (("case before", "cut"), "write", "a: write"),  # it had ended
        (("suite x on y ended", "cut"), "write", "a: write"),
        (("", ""), "write", "a: write"),
    ],
)
def test_what_the_console_shows_last_completes_what_was_told(mark: tuple[str, str], step: str, expected: str) -> None:
    transcript = Transcript(lambda _: None, planned=("before", "a", "b"), cases=[Case("before", Verdict.PASS, "", 0.0)])
    transcript.current, transcript.operation = "a", step
    transcript.mark(*mark)
    assert transcript.in_progress == expected


def test_a_panic_that_the_machine_saw_is_a_panic(module_file: Path, tmp_path: Path) -> None:
    guest = LocalGuest(lost=GuestPanic("the guest's kernel failed"), lost_at='"case": "mkdir"')
    result = judge(module_file, tmp_path, guest=guest)
    assert result.verdict is Verdict.PANIC
    assert case(result, "mkdir").verdict is Verdict.PANIC


@pytest.mark.parametrize(("killed", "verdict"), [("python3", Verdict.INFRA), ("demo.ko", Verdict.FAIL)])
def test_memory_that_ran_out_says_whose_process_was_killed(module_file: Path, tmp_path: Path, killed: str, verdict: Verdict) -> None:
    oom = f"[   99.000000] Out of memory: Killed process 9 ({killed}) total-vm:1kB\n"
    result = judge(module_file, tmp_path, guest=LocalGuest(after=oom))
    assert result.verdict is verdict
    assert ("is the artifact's own" in result.detail) == (verdict is Verdict.FAIL)


def test_an_agent_that_is_killed_is_no_pass(module_file: Path, tmp_path: Path) -> None:
    result = judge(module_file, tmp_path, kernel_spec("sh", "-c", "kill -KILL $(cut -d' ' -f4 /proc/$PPID/stat)"))
    assert result.verdict is Verdict.INFRA
    assert "the agent in the guest ended early" in result.detail
    assert case(result, "mount").verdict is Verdict.INFRA
    assert case(result, "unmount").verdict is Verdict.SKIP


def daemon(tmp_path: Path, script: str, **limits: float) -> SuiteResult:
    """The suite on a daemon that is a shell script."""
    path = tmp_path / "opt" / "demo" / "demo_fuse"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    spec = ArtifactSpec("demo", Kind.DAEMON, "cargo", Path("fuse"), path.name, filesystem="fuse.demo", mount=("{artifact}", "{mountpoint}"))
    return run_suite(LocalGuest(), suite(**limits), spec, artifact(path, Kind.DAEMON), run=RunFolder(tmp_path))


def test_a_silent_daemon_that_never_mounts_is_a_hang_that_names_its_empty_log(tmp_path: Path) -> None:
    result = daemon(tmp_path, "exec sleep 75", operation_deadline=2)
    assert result.verdict is Verdict.HANG
    assert "has mounted something at" in result.detail
    assert "its log is empty" in result.detail
    assert subprocess.run(["pgrep", "-f", "^sleep 75$"], check=False, stdout=subprocess.DEVNULL).returncode == 1


def test_a_daemon_that_ends_without_a_mount_is_a_failure_with_its_words(tmp_path: Path) -> None:
    result = daemon(tmp_path, "echo cannot open /dev/demo; exit 3")
    assert result.verdict is Verdict.FAIL
    assert "ended with exit 3 instead of serving the mount; its log ends: cannot open /dev/demo" in result.detail


def test_a_daemon_that_goes_to_the_background_with_nothing_mounted_is_a_failure_and_is_ended(tmp_path: Path) -> None:
    result = daemon(tmp_path, "sleep 76 & exit 0")
    assert result.verdict is Verdict.FAIL
    assert "ended with exit 0 instead of serving the mount" in result.detail
    assert subprocess.run(["pgrep", "-f", "^sleep 76$"], check=False, stdout=subprocess.DEVNULL).returncode == 1


def test_a_daemon_that_mounts_another_type_is_a_failure(tmp_path: Path) -> None:
    result = daemon(tmp_path, 'mount -t tmpfs none "$1"; exec sleep 77')
    assert result.verdict is Verdict.FAIL
    assert "has a mount of type tmpfs, expected fuse.demo" in result.detail


def test_a_file_that_is_no_program_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "opt" / "demo" / "demo_fuse"
    path.parent.mkdir(parents=True)
    path.write_text("text")
    spec = ArtifactSpec("demo", Kind.DAEMON, "cargo", Path("fuse"), path.name, filesystem="fuse.demo", mount=("{artifact}", "{mountpoint}"))
    result = run_suite(LocalGuest(), suite(), spec, artifact(path, Kind.DAEMON), run=RunFolder(tmp_path))
    assert result.verdict is Verdict.FAIL
    assert "could not be started" in result.detail


def test_the_agent_travels_once(module_file: Path, tmp_path: Path) -> None:
    guest = LocalGuest()
    for _ in range(2):
        judge(module_file, tmp_path, guest=guest, only=("mount",))
    assert sum("agent-" in path for path in guest.puts) == 1


def test_the_agent_is_the_same_file_for_the_same_sources() -> None:
    assert bundle.agent() == bundle.agent()


def test_the_agent_imports_nothing_but_the_standard_library() -> None:
    import ast
    import sys

    for script in bundle.GUEST_FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(script.read_text())):
            if (isinstance(node, ast.ImportFrom) and node.level == 0) or isinstance(node, ast.Import):
                name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert str(name).split(".")[0] in sys.stdlib_module_names, f"{script.name} imports {name}"


def test_a_plan_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown keys: colour"):
        Plan.parse(json.dumps({"suite": "smoke", "colour": "red"}))


def test_two_cases_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two cases are called mount"):
        smoke.TABLE.case("mount")(lambda t: None)


def test_a_mount_point_with_blanks_is_found_in_mountinfo() -> None:
    text = r"36 35 98:3 / /mnt/a\040b rw,noatime shared:1 - fuse.demo demo rw"
    (mount,) = mounts.parse(text)
    assert (mount.point, mount.type) == ("/mnt/a b", "fuse.demo")


def test_lines_that_are_not_the_agents_are_kept_apart() -> None:
    transcript = Transcript(lambda _: None)
    for line in ("Traceback (most recent call last):", '{"event": "no-such-event"}', "[1, 2]"):
        transcript.take(line)
    assert len(transcript.stray) == 3
    assert transcript.cases == []
