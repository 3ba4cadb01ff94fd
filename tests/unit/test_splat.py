# SPDX-License-Identifier: Apache-2.0
"""The scanner finds what the kernel says is wrong with it, names the class, and is not fooled by other text."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci import splat
from ci.model import Verdict
from ci.splat.scan import patterns

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "splats"
BAD = sorted((GOLDEN / "bad").glob("*.log"))
BENIGN = sorted((GOLDEN / "benign").glob("*.log"))


def sample(path: Path) -> tuple[list[str], str]:
    """What a sample expects, and its log without the comments on top."""
    lines = path.read_bytes().decode().split("\n")
    comments = [line for line in lines if line.startswith("# ")]
    return [line.removeprefix("# expect: ") for line in comments if line.startswith("# expect: ")], "\n".join(lines[len(comments) :])


def found(text: str, **options: str) -> list[str]:
    return [f"{s.klass} {s.verdict} {s.pattern}" for s in splat.scan(text, **options)]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_sample_raises_exactly_what_it_says(path: Path) -> None:
    expected, log = sample(path)
    assert expected, f"{path} expects nothing"
    assert found(log) == expected


@pytest.mark.parametrize("path", BENIGN, ids=lambda path: path.stem)
def test_a_benign_sample_raises_nothing(path: Path) -> None:
    expected, log = sample(path)
    assert expected == []
    assert found(log) == []


def test_every_pattern_has_a_sample() -> None:
    shown = {line.split()[2] for path in BAD for line in sample(path)[0]}
    assert {pattern.id for pattern in patterns()} - shown == set()


def test_every_class_has_a_pattern() -> None:
    assert {pattern.klass for pattern in patterns()} == {f"K{number}" for number in range(1, 8)}


def test_there_are_samples() -> None:
    assert len(BAD) > 40
    assert len(BENIGN) > 5


def test_the_excerpt_holds_the_whole_report_and_nothing_else() -> None:
    _, log = sample(GOLDEN / "bad" / "warning-at.612.log")
    (only,) = splat.scan(log)
    lines = only.excerpt.split("\n")
    assert "cut here" in lines[0]
    assert "end trace" in lines[-1]
    assert log.split("\n")[only.line - 1].endswith(only.title)


def test_a_splat_names_the_case_that_ran() -> None:
    _, log = sample(GOLDEN / "bad" / "busy-inodes.612.log")
    assert {s.during for s in splat.scan(log)} == {"case unmount"}


def test_a_mark_after_the_splat_does_not_count() -> None:
    log = "[   1.000000] vexci: case one\n[   1.100000] kernel BUG at fs/x.c:1!\n[   1.200000] vexci: case two\n"
    assert [s.during for s in splat.scan(log)] == ["case one"]


def test_what_a_program_wrote_is_known_from_the_guests_log() -> None:
    null = "BUG: kernel NULL pointer dereference, address: 0"
    console = f"[   12.000000] {null}\n[   13.000000] kernel BUG at fs/x.c:1!\n"
    guest_log = f"user  :warn  : [   12.000000] {null}\nkern  :crit  : [   13.000000] kernel BUG at fs/x.c:1!\n"
    assert found(console) == ["K1 panic null-dereference"]  # alone, the console cannot tell
    assert found(console, guest_log=guest_log) == ["K1 panic kernel-bug"]


def test_a_second_report_begins_inside_an_unfinished_one() -> None:
    lines = ["BUG: kernel NULL pointer dereference, address: 0", "------------[ cut here ]------------", "kernel BUG at fs/x.c:1!"]
    log = "\n".join(f"[   {number}.000000] {line}" for number, line in enumerate(lines))
    assert found(log) == ["K1 panic null-dereference", "K1 panic kernel-bug"]


def test_memory_corruption_inside_a_stall_is_not_hidden() -> None:
    log = "[   1.000000] INFO: task mv:9 blocked for more than 120 seconds.\n[   1.100000] BUG: KASAN: use-after-free in demo+0x1/0x2\n"
    assert found(log) == ["K4 hang hung-task", "K5 panic kasan"]


def test_failure_is_the_first_that_speaks_of_the_product() -> None:
    oom = "[   1.000000] Out of memory: Killed process 9 (cc1) total-vm:1kB\n"
    assert splat.failure(oom) is None
    text = splat.failure(oom + "[   2.000000] kernel BUG at fs/x.c:1!\n")
    assert text is not None
    assert text.startswith("kernel BUG at fs/x.c:1!\n")


def test_the_worst_of_nothing_is_a_pass() -> None:
    assert splat.worst_verdict([]) is Verdict.PASS
    assert splat.worst_verdict(splat.scan("[   1.000000] kernel BUG at fs/x.c:1!")) is Verdict.PANIC
