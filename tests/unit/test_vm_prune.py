# SPDX-License-Identifier: Apache-2.0
"""Memory snapshots stay within their limits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ci.manifest import SnapshotLimits
from ci.vm import prune

pytestmark = pytest.mark.unit
MIB = 1 << 20


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path))
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))
    for name, days, size in (("new", 0, 3), ("week", 7, 3), ("month", 30, 1)):
        folder = tmp_path / "snapshots" / name
        folder.mkdir(parents=True)
        (folder / "memory").write_bytes(os.urandom(size * MIB))
        os.utime(folder, (time.time() - days * 86400,) * 2)
    (tmp_path / "snapshots" / ".making-x").mkdir()
    return tmp_path / "snapshots"


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_what_was_not_used_for_long_goes(cache: Path) -> None:
    said: list[str] = []
    assert prune.prune(SnapshotLimits(size=100, age=14), say=said.append) >= MIB
    assert left(cache) == [".making-x", "new", "week"] and "last used 30.0 days ago" in said[0]


def test_the_oldest_go_until_the_rest_fits(cache: Path) -> None:
    prune.prune(SnapshotLimits(size=5, age=100), say=print)
    assert left(cache) == [".making-x", "month", "new"], "week did not fit beside new, month does"


def test_the_one_used_last_stays_though_it_is_larger_than_the_limit(cache: Path) -> None:
    prune.prune(SnapshotLimits(size=1, age=100), say=print)
    assert left(cache) == [".making-x", "new"]


def test_everything_goes_on_request_but_not_what_is_being_made(cache: Path) -> None:
    prune.prune(SnapshotLimits(), everything=True, say=print)
    assert left(cache) == [".making-x"]


def test_nothing_is_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "none"))
    assert prune.prune(SnapshotLimits(), say=print) == 0
