# SPDX-License-Identifier: Apache-2.0
"""The exerciser and the churn of the suite stress on this machine's own file system, and on one that answers wrongly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.validate.guest import churn, stress
from ci.validate.guest.context import Context, Failed, Plan
from ci.validate.guest.exerciser import Exerciser
from ci.validate.guest.machine import BORROWED

pytestmark = pytest.mark.unit


@pytest.fixture
def t(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv(BORROWED, "1")
    place = str(tmp_path)
    plan = Plan("stress", "x", "daemon", "", "", "", "ext4", (), place, place, True, "marker", 60.0, 20.0)
    writer = os.open(os.devnull, os.O_WRONLY)
    yield Context(plan, writer)
    os.close(writer)


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


def test_every_stressor_with_a_size_is_one_of_the_suites() -> None:
    assert set(stress.SIZES) <= set(stress.STRESSORS)
