# SPDX-License-Identifier: Apache-2.0
"""The exerciser and the churn of the suite stress on this machine's own file system, and on one that answers wrongly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.validate.guest import churn, stress, telling
from ci.validate.guest.context import Context, Failed, NotOffered, Plan
from ci.validate.guest.exerciser import Exerciser
from ci.validate.guest.machine import BORROWED

pytestmark = pytest.mark.unit


@pytest.fixture
def t(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv(BORROWED, "1")
    place = str(tmp_path)
    plan = Plan("stress", "x", "daemon", "", "", "", "ext4", (), place, place, True, "marker", 60.0, 20.0)
    return Context(plan, telling.nowhere())


def exercise(t: Context, steps: int = 400) -> None:
    exerciser = Exerciser(t, t.path("file"), 3)
    for _ in range(steps):
        exerciser.step()
    exerciser.whole()
    exerciser.close()


def test_the_exerciser_passes_where_nothing_is_wrong(t: Context) -> None:
    exercise(t)


def test_bytes_that_come_back_behind_a_truncation_are_found(t: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.ftruncate

    def keeps(descriptor: int, size: int) -> None:
        before = os.fstat(descriptor).st_size
        real(descriptor, size)
        if size > before:
            os.pwrite(descriptor, b"old", before)

    monkeypatch.setattr(os, "ftruncate", keeps)
    with pytest.raises(Failed, match=r"byte \d+ is 0x[0-9a-f]+, expected 0x00; seed 3, the last steps: "):
        exercise(t)


def test_a_write_that_stores_nothing_is_found(t: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, data, _offset: len(data))
    with pytest.raises(Failed, match="size 0, expected"):
        exercise(t)


def test_churn_passes_where_nothing_is_wrong(t: Context) -> None:
    churn.churn(t, 0.3)
    assert "names at the end" in t.detail


def test_a_rename_that_does_nothing_is_found(t: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", lambda _old, _new: None)
    with pytest.raises(Failed, match="is still there after it was renamed"):
        churn.churn(t, 0.3)


def test_links_that_are_not_counted_are_found(t: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    os.makedirs(t.path("churn", "0"))
    for number in (1, 2):
        os.mkdir(t.path("churn", str(number)))
    Path(t.path("churn", "0", "a")).write_text("")
    os.link(t.path("churn", "0", "a"), t.path("hidden"))
    with pytest.raises(Failed, match="names are not as many as their links"):
        churn._look(t, t.path("churn"))


def test_a_directory_that_was_renamed_before_it_was_removed_may_be_left(t: Context) -> None:
    for number in range(churn.FOLDERS):
        os.makedirs(t.path("churn", str(number)))
    os.mkdir(t.path("churn", "1", "n3"))
    assert churn._look(t, t.path("churn")) == 1
    os.mkdir(t.path("churn", "1", "n3", "below"))  # stands for a count that is wrong
    with pytest.raises(Failed, match="names are not as many as their links"):
        churn._look(t, t.path("churn"))


# Of stress-ng 0.15.06, as Debian 12 has it.
METRICS = """\
stress-ng: info:  [3] setting to a 1 second run per stressor
stress-ng: info:  [3] dispatching hogs: 2 sync-file
stress-ng: metrc: [3] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [3]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: metrc: [3] sync-file             6      1.02      0.00      0.03         5.86         186.51
stress-ng: info:  [3] successful run completed in 1.03s
"""


def test_a_stressor_that_did_nothing_does_not_pass_for_one_that_worked() -> None:
    assert stress.operations(METRICS, "sync-file") == 6
    assert stress.operations(METRICS.replace("    6  ", "    0  "), "sync-file") == stress.operations(METRICS, "hdd") == 0
    assert stress.operations("stress-ng: info:  [3] successful run completed in 1.03s", "hdd") == 0


SKIPPING = """\
stress-ng: info:  [331] dispatching hogs: 2 fiemap
stress-ng: info:  [332] fiemap: FS_IOC_FIEMAP not supported on the file system, skipping stressor, filesystem type: fuse
stress-ng: info:  [331] successful run completed in 0.04s
"""


@pytest.fixture
def stressed(t: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Runs a case of a stressor with a program in place of stress-ng that prints the texts, one a call."""

    def run(name: str, *texts: str) -> None:
        for number, text in enumerate(texts):
            (tmp_path / f"said-{number}").write_text(text)
        program = tmp_path / "stress-ng"
        program.write_text(
            f"#!/bin/sh\nn=$(cat {tmp_path}/n 2>/dev/null || echo 0)\necho $((n + 1)) >{tmp_path}/n\ncat {tmp_path}/said-$n\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        stress._stressor(name, 1.0)(t)

    return run


def test_a_stressor_that_is_not_for_this_file_system_is_not_offered(t: Context, stressed: Callable[..., None]) -> None:
    with pytest.raises(NotOffered, match="FS_IOC_FIEMAP not supported on the file system"):
        stressed("fiemap", SKIPPING)
    assert not os.path.exists(t.path("stress-ng-fiemap"))


def test_a_stressor_that_came_to_no_end_is_given_more_time_and_then_fails(t: Context, stressed: Callable[..., None]) -> None:
    nothing = METRICS.replace("    6  ", "    0  ")
    stressed("sync-file", nothing, METRICS)
    assert t.detail == "6 operations"
    os.unlink(t.path("n"))
    with pytest.raises(Failed, match="has not done one operation"):
        stressed("sync-file", nothing, nothing)


def test_every_stressor_with_a_size_is_one_of_the_suites() -> None:
    assert set(stress.SIZES) <= set(stress.STRESSORS)
