# SPDX-License-Identifier: Apache-2.0
"""The benchmark gives each broken system its verdict, leaves nothing behind, and goes on with the next."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from ci import procfs
from ci.bench import Stopped, payload, reference, run
from ci.bench.guest.mounts import at
from ci.bench.jobs import Outcome, job, perform
from ci.bench.system import System
from ci.bench.workloads import workload
from ci.errors import GuestPanic, InfrastructureError
from ci.guest import GuestResult
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Series, Verdict
from tests.zoo import bench_specimens as specimens
from tests.zoo.bench_host import HostGuest, mounts_below, needs_root, place, processes_with, run_folder

pytestmark = [pytest.mark.zoo, needs_root]

METADATA = WorkloadSpec("metadata", "metadata", (("files", "20"),))


def spec(*systems: str, silence: float = 1.0, deadline: float = 20.0) -> BenchmarkSpec:
    return BenchmarkSpec("files", systems, (METADATA,), 5, deadline, silence)


def measure(tmp_path: Path, system: System, shell: str | None = None, **limits: float) -> Outcome:
    """One measurement of one system; `shell` is put before the workload's own command."""
    where = place(tmp_path)
    guest = HostGuest()
    Path(where.payload).parent.mkdir(parents=True)
    payload.write(Path(where.payload))
    todo = job(spec(system.name, **limits), system, workload(METADATA), where, "one", warm_up=False)
    if shell is not None:
        todo = replace(todo, command=["sh", "-c", shell.replace("{mountpoint}", todo.mountpoint) + shlex.join(todo.command)])
    try:
        return perform(guest, todo, where, tmp_path / "found")
    finally:
        assert mounts_below(tmp_path) == []
        assert processes_with(str(tmp_path)) == []


def only(series: list[Series], system: str) -> list[Series]:
    return [item for item in series if item.system == system]


def test_a_good_daemon_is_measured_so_that_the_others_fail_for_their_fault_alone(tmp_path: Path) -> None:
    outcome = measure(tmp_path, specimens.GOOD_DAEMON)
    assert (outcome.verdict, outcome.leftover) == (Verdict.PASS, ()), outcome
    assert (outcome.folder / "metadata.json").stat().st_size > 0


@pytest.mark.parametrize("server", [specimens.GOOD_SERVER, specimens.POLITE_SERVER], ids=lambda each: str(each.mount[0]))
def test_a_good_server_is_measured_and_stopped_and_cleaned_up_behind(server: System, tmp_path: Path) -> None:
    outcome = measure(tmp_path, server)
    assert (outcome.verdict, outcome.leftover) == (Verdict.PASS, ()), outcome
    assert (Path(place(tmp_path).work) / "one/cleaned").exists()


@pytest.mark.parametrize(
    ("server", "verdict", "words"),
    [
        (specimens.DEAD_SERVER, Verdict.FAIL, "exit 4 before it answered: no space left"),
        (specimens.DEAF_SERVER, Verdict.HANG, "no progress"),
    ],
    ids=["dead", "deaf"],
)
def test_what_a_broken_server_leaves_elsewhere_is_cleaned_up_too(server: System, verdict: Verdict, words: str, tmp_path: Path) -> None:
    outcome = measure(tmp_path, server)
    assert outcome.verdict is verdict and words in outcome.detail, outcome
    assert (Path(place(tmp_path).work) / "one/cleaned").exists()


def test_a_daemon_that_hangs_with_an_empty_log_is_a_hang_with_its_stacks(tmp_path: Path) -> None:
    outcome = measure(tmp_path, specimens.SILENT_DAEMON)
    assert outcome.verdict is Verdict.HANG
    assert outcome.phase == "mount"
    assert "no progress for 1 s" in outcome.detail
    assert "its log is empty" in outcome.detail
    index = (outcome.folder / "diagnosis" / "index.txt").read_text()
    assert "sleep" in index
    assert "<the log is empty>" in index
    stack = next((outcome.folder / "diagnosis").glob("process-*.txt")).read_text()
    assert "nanosleep" in stack


def test_what_a_hanging_daemon_started_is_killed_also_outside_its_process_group(tmp_path: Path) -> None:
    outcome = measure(tmp_path, specimens.SCATTERED_DAEMON)
    assert outcome.verdict is Verdict.HANG
    assert processes_with("7654321") == []


def test_a_daemon_that_died_while_the_folder_under_it_answers_is_a_failure(tmp_path: Path) -> None:
    outcome = measure(tmp_path, specimens.GOOD_DAEMON, shell=specimens.DIE_FIRST)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.phase == "proof after"
    assert "the daemon ended" in outcome.detail or "the folder underneath answers" in outcome.detail


def test_a_mount_that_vanished_while_the_folder_under_it_answers_is_a_failure(tmp_path: Path) -> None:
    outcome = measure(tmp_path, reference("tmpfs"), shell=specimens.DIE_FIRST)
    assert (outcome.verdict, outcome.phase) == (Verdict.FAIL, "proof after")
    assert "the folder underneath answers" in outcome.detail
    # The workload itself was content, which is why its exit code proves nothing.
    assert (outcome.folder / "metadata.json").exists()


def test_a_mount_that_was_replaced_by_another_of_the_same_type_is_a_failure(tmp_path: Path) -> None:
    outcome = measure(tmp_path, reference("tmpfs"), shell="mount -t tmpfs other {mountpoint}; exec ")
    assert (outcome.verdict, outcome.phase) == (Verdict.FAIL, "proof after")
    assert "another mount" in outcome.detail


@pytest.mark.parametrize(
    ("system", "verdict", "words"),
    [
        (specimens.DEAD_DAEMON, Verdict.FAIL, "exit 3 before it mounted: no such device"),
        (specimens.LYING_MOUNT, Verdict.FAIL, "the folder underneath answers"),
        (specimens.OTHER_MOUNT, Verdict.FAIL, "of type 'tmpfs', expected 'vexfs'"),
        (specimens.HANGING_MOUNT, Verdict.HANG, "made no progress"),
        (specimens.LOUD_DAEMON, Verdict.FAIL, "flooded its log"),
        (replace(specimens.GOOD_DAEMON, setup=(("no-such-program-here",),)), Verdict.INFRA, "is not in the guest"),
        (replace(specimens.GOOD_DAEMON, setup=(("false",),)), Verdict.INFRA, "ended with exit 1"),
    ],
    ids=["dead", "lying", "other", "hanging-mount", "loud", "program-missing", "setup-fails"],
)
def test_each_broken_system_gets_its_verdict(tmp_path: Path, system: System, verdict: Verdict, words: str) -> None:
    outcome = measure(tmp_path, system)
    assert outcome.verdict is verdict
    assert words in outcome.detail


def test_a_workload_that_stalls_is_a_hang_although_its_daemon_is_well(tmp_path: Path) -> None:
    outcome = measure(tmp_path, specimens.GOOD_DAEMON, shell="sleep 1000; ", silence=2.0)
    assert (outcome.verdict, outcome.phase) == (Verdict.HANG, "workload")


def test_a_workload_that_is_busy_for_ever_ends_at_the_deadline(tmp_path: Path) -> None:
    outcome = measure(tmp_path, reference("tmpfs"), shell="while :; do :; done; ", deadline=3.0)
    assert (outcome.verdict, outcome.phase) == (Verdict.HANG, "workload")
    assert "did not end within 3 s" in outcome.detail


def test_a_workload_that_works_silently_is_left_alone(tmp_path: Path) -> None:
    busy = "i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done; exec "
    outcome = measure(tmp_path, reference("tmpfs"), shell=busy, silence=0.4)
    assert outcome.verdict is Verdict.PASS, outcome


def test_a_workload_that_says_it_is_done_and_left_no_result_is_a_failure(tmp_path: Path) -> None:
    outcome = measure(tmp_path, reference("tmpfs"), shell="exit 0; ")
    assert (outcome.verdict, outcome.phase) == (Verdict.FAIL, "workload")
    assert "left no result" in outcome.detail


def test_the_run_goes_on_with_the_next_system_after_a_hang(tmp_path: Path) -> None:
    silent, tmpfs = specimens.SILENT_DAEMON, reference("tmpfs")
    series = run(HostGuest(), spec("silent", "tmpfs"), (silent, tmpfs), run=run_folder(tmp_path), progress=print, place=place(tmp_path))
    assert {(item.verdict, item.samples) for item in only(series, "silent")} == {(Verdict.HANG, ())}
    assert all("its log is empty" in (item.failure or "") for item in only(series, "silent"))
    assert all(any(e.kind == "diagnosis" for e in item.evidence) for item in only(series, "silent"))
    assert [len(item.samples) for item in only(series, "tmpfs")] == [5] * 5


DAEMON = Path(__file__).parents[2] / "fuse/target/x86_64-unknown-linux-gnu/release/vexfs_fuse"
needs_daemon = pytest.mark.skipif(not DAEMON.is_file(), reason=f"{DAEMON} is not built: ./inv build")
# Mounts for real; what comes after the mount is the specimen's.
START = f"{DAEMON} --foreground {{mountpoint}} & until grep -q ' {{mountpoint}} ' /proc/self/mountinfo; do sleep 0.05; done; "


@needs_daemon
def test_a_real_daemon_that_stops_answering_is_a_hang_that_shows_who_waits_for_whom(tmp_path: Path) -> None:
    stopped = System("stopped", "fuse.vexfs", foreground=True, mount=("sh", "-c", START + "kill -STOP $!; sleep 1000"))
    hidden = at(procfs.FUSE_CONNECTIONS) is None
    outcome = measure(tmp_path, stopped, silence=2.0)
    assert outcome.verdict is Verdict.HANG, outcome
    assert outcome.phase in ("proof before", "workload")
    waiting = (outcome.folder / "diagnosis" / "fuse.txt").read_text()
    assert re.search(r"connection \d+: [1-9]\d* waiting", waiting), waiting
    assert (at(procfs.FUSE_CONNECTIONS) is None) == hidden, "what was mounted to see that is not left behind"
    stacks = "".join(path.read_text() for path in (outcome.folder / "diagnosis").glob("process-*.txt"))
    assert "fuse" in stacks, "the kernel stack shows where it waits"
    assert "(stopped)" in stacks, "and the daemon that should answer is there with its state"


@needs_daemon
def test_a_real_daemon_that_is_killed_in_the_middle_is_a_failure(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    system = System(
        "killed", "fuse.vexfs", foreground=True, mount=("sh", "-c", f"echo $$ > {number}; exec {DAEMON} --foreground {{mountpoint}}")
    )
    outcome = measure(tmp_path, system, shell=f"kill -KILL $(cat {number}); exec ")
    assert outcome.verdict is Verdict.FAIL, outcome
    assert outcome.phase == "workload"


class PanickingGuest(HostGuest):
    """Panics when the ninth measurement starts."""

    def run(self, argv: object, **options: object) -> GuestResult:  # type: ignore[override]
        if sum("agent" in command for command in self.commands) == 8:
            raise GuestPanic("BUG: kernel NULL pointer dereference")
        return super().run(argv, **options)  # type: ignore[arg-type]


def test_a_panic_takes_all_numbers_and_says_whose_it_was(tmp_path: Path) -> None:
    systems = (specimens.GOOD_DAEMON, reference("tmpfs"))
    series = run(PanickingGuest(), spec("good", "tmpfs"), systems, run=run_folder(tmp_path), progress=print, place=place(tmp_path))
    good, tmpfs = only(series, "good"), only(series, "tmpfs")
    assert {item.verdict for item in good} == {Verdict.PANIC}
    assert {item.verdict for item in tmpfs} == {Verdict.INFRA}
    assert all(item.samples == () for item in series)
    assert all("while good was measured" in (item.failure or "") for item in tmpfs)
    assert all(any(e.kind == "samples" for e in item.evidence) for item in tmpfs), "what was measured before is kept as evidence"


class LostGuest(HostGuest):
    """Never answers."""

    def run(self, argv: object, **options: object) -> GuestResult:  # type: ignore[override]
        raise InfrastructureError("the guest does not answer")


def test_a_guest_that_never_answers_leaves_series_that_say_so(tmp_path: Path) -> None:
    series = run(LostGuest(), spec("tmpfs"), (reference("tmpfs"),), run=run_folder(tmp_path), progress=print, place=place(tmp_path))
    assert {(item.verdict, item.samples) for item in series} == {(Verdict.INFRA, ())}
    assert {item.failure for item in series} == {"the guest cannot be prepared: the guest does not answer"}


def test_the_index_of_a_diagnosis_is_written_before_anything_else(tmp_path: Path) -> None:
    files = procfs.collect([2**22 + 1], tmp_path / "diagnosis")
    assert files[0].name == "index.txt"
    assert "is alive" in files[0].read_text()


class StoppedGuest(HostGuest):
    """Somebody presses Ctrl-C when the tenth measurement starts: two systems, the warm-up, then three and a half rounds."""

    def run(self, argv: object, **options: object) -> GuestResult:  # type: ignore[override]
        if sum("agent" in command for command in self.commands) == 9:
            raise KeyboardInterrupt("SIGINT")
        return super().run(argv, **options)  # type: ignore[arg-type]


def test_ctrl_c_keeps_what_was_measured_and_says_how_much_that_is(tmp_path: Path) -> None:
    systems = (specimens.GOOD_DAEMON, reference("tmpfs"))
    with pytest.raises(Stopped) as stopped:
        run(StoppedGuest(), spec("good", "tmpfs"), systems, run=run_folder(tmp_path), progress=print, place=place(tmp_path))
    assert stopped.value.args == ("SIGINT",), "whoever ends the run must know the signal"
    found = stopped.value.series
    assert {item.verdict for item in found} == {Verdict.INTERRUPTED}
    assert [len(item.samples) for item in only(found, "good")] == [4] * 5
    assert [len(item.samples) for item in only(found, "tmpfs")] == [3] * 5
    assert {item.failure for item in only(found, "tmpfs")} == {"interrupted after 3 of 5 rounds"}
    assert mounts_below(tmp_path) == []
