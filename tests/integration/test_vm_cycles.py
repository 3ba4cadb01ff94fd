# SPDX-License-Identifier: Apache-2.0
"""Guests come and go many times in one process: nothing grows, nothing stays. Quick in CI, longer in the soak run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from ci import leftovers, store
from ci.vm import registry, snapshot
from ci.vm.guest import guest
from tests.vm_guest import SPEC, TCG, boot

# One suite's work in small: mount, write, read back, unmount.
SMOKE = "mkdir -p /mnt/x && mount -t tmpfs none /mnt/x && echo content > /mnt/x/f && grep -q content /mnt/x/f && umount /mnt/x"
GROWTH_MIB = 24  # what Python's allocator may keep; a leak of one thread or buffer a cycle would be more in 100 cycles


def footprint(cache: Path) -> dict[str, float]:
    """What must not grow: memory (MiB), descriptors, threads, children, guests' folders, shared memory, files of the snapshot."""
    own = psutil.Process()
    return {
        "memory": own.memory_info().rss / (1 << 20),
        "descriptors": own.num_fds(),
        "threads": own.num_threads(),
        "children": len(own.children(recursive=True)),
        "folders": sum(1 for _ in (leftovers.state_dir() / "g").glob("*")),
        "disk": sum(path.stat().st_blocks for path in cache.rglob("*") if path.is_file()),
    }


def cycles(count: int, project: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Restore, work, destroy; the seconds from each request to the first command's answer."""
    monkeypatch.setenv("VEXCI_STATE", f"/tmp/vexci-cycles-{os.getpid()}")
    run, files, seconds = store.RunFolder(project), boot(), []
    snapshots = store.cache_dir() / snapshot.FOLDER / snapshot.key(SPEC, files, TCG)
    before: dict[str, float] = {}
    for number in range(count + 1):
        begin = time.monotonic()
        with guest(SPEC, files, accelerator=TCG, run=run, root=project, name="cycle", progress=lambda _: None, warm=True) as machine:
            assert machine.restored
            assert machine.run(["true"], deadline=30).ok
            seconds.append(time.monotonic() - begin)
            assert machine.run(["sh", "-c", SMOKE], deadline=60).ok
            uuid = machine.facts.uuid
        assert registry.qemu_processes(uuid) == []
        if number == 0:  # libraries are loaded now and, where there was none, the snapshot is made
            before = footprint(snapshots)
    after = footprint(snapshots)
    assert after.pop("memory") - before.pop("memory") < GROWTH_MIB
    assert after == before
    (leftovers.state_dir() / "g").rmdir()
    return seconds[1:]


@pytest.mark.integration
def test_twenty_guests_in_a_row_leave_nothing_and_nothing_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycles(20, tmp_path, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("count", [100])
def test_many_guests_in_a_row_leave_nothing_and_nothing_grows(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = sorted(cycles(count, tmp_path, monkeypatch))
    print(f"{count} cycles: median {seconds[len(seconds) // 2]:.2f} s, {seconds[0]:.2f} to {seconds[-1]:.2f} s")
