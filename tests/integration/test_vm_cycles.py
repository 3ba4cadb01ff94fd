# SPDX-License-Identifier: Apache-2.0
"""Guests come, pass the smoke suite and go, many times in one process: nothing grows, nothing stays. Twenty in CI, a hundred in the
benchmark and the soak run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ci import deploy, leftovers, store
from ci.bench.cycles import COUNT, Cycles, cycles
from ci.model import Verdict
from ci.validate import run_suite
from ci.vm.machine import Machine
from tests.integration.test_smoke import MANIFEST, SMOKE, built
from tests.vm_guest import SPEC, TCG, boot

SPECS = [spec for spec in MANIFEST.artifacts if not spec.mount or spec.name in SMOKE.artifacts]


def taken(count: int, project: Path, monkeypatch: pytest.MonkeyPatch) -> Cycles:
    """The cycles, in a state folder of their own, which is empty afterwards."""
    made = {spec.name: built(MANIFEST, spec.name, project) for spec in SPECS}
    monkeypatch.setenv("VEXCI_STATE", f"/tmp/vexci-cycles-{os.getpid()}")
    run = store.RunFolder(project)

    def work(machine: Machine, number: int) -> None:
        subject = SMOKE.artifacts[number % len(SMOKE.artifacts)]
        for spec, artifact in (*(made[spec.name] for spec in SPECS if not spec.mount), made[subject]):
            deploy.deploy(machine, spec, artifact)
        result = run_suite(machine, SMOKE, *made[subject], run=run)
        assert result.verdict is Verdict.PASS and len(result.cases) >= SMOKE.minimum, result.detail

    done = cycles(SPEC, boot(), TCG, work, count=count, root=project, run=run, progress=print)
    assert len(done.seconds) == len(done.whole) == count and set(done.before) == set(done.after) and done.before["descriptors"] > 2
    assert done.growth == {}, (done.before, done.after)
    (leftovers.state_dir() / "g").rmdir()
    return done


@pytest.mark.integration
@pytest.mark.timeout(1800)  # six minutes on a quiet machine
def test_twenty_guests_in_a_row_leave_nothing_and_nothing_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(20, tmp_path, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_guests_in_a_row_leave_nothing_and_nothing_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = taken(COUNT, tmp_path, monkeypatch)
    seconds = sorted(done.seconds)
    print(
        f"{COUNT} cycles: median {seconds[len(seconds) // 2]:.2f} s, {seconds[0]:.2f} to {seconds[-1]:.2f} s; {done.before}; {done.after}"
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    ("name", "more", "grown"),
    [("memory", 10, False), ("memory", 30, True), ("descriptors", 1, True), ("domains", 1, True), ("disk", -8, False)],
)
def test_what_is_more_than_before_is_growth(name: str, more: float, grown: bool) -> None:
    before = {"memory": 100.0, "descriptors": 9, "threads": 2, "children": 0, "domains": 0, "disk": 800}
    done = Cycles([], [], before, {**before, name: before[name] + more})
    assert (name in done.growth) is grown and len(done.growth) == int(grown)
