# SPDX-License-Identifier: Apache-2.0
"""Many guests one after the other in one process: each is restored, passes the smoke suite and is destroyed, and nothing may grow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from ci import leftovers, store
from ci.errors import InfrastructureError, ProductFailure
from ci.manifest import MachineSpec
from ci.model import Accelerator, Series
from ci.store import RunFolder
from ci.vm import registry, snapshot
from ci.vm.boot import Boot
from ci.vm.guest import guest
from ci.vm.machine import Machine

GROWTH_MIB = 24  # what Python's allocator may keep; a leak of one thread or buffer a cycle would be more in 100 cycles
COUNT = 100
# Cycles that are not counted: in them libraries are loaded, and where there was none the snapshot is made. The smoke suite takes turns on
# the module and the daemon, so that there is one for each.
WARM_UP = 2
_SECONDS = 60.0

# What is done in the guest of the cycle with this number (from 0); raises where it fails.
Work = Callable[[Machine, int], None]


@dataclass(frozen=True)
class Cycles:
    """What a number of cycles showed: seconds from each request to the first answer, of each whole cycle, and the footprint before and
    after."""

    seconds: list[float]
    whole: list[float]
    before: dict[str, float]
    after: dict[str, float]

    @property
    def growth(self) -> dict[str, float]:
        """What is more than before; of memory only what is more than an allocator may keep."""
        grown = {name: self.after[name] - self.before[name] for name in self.before if self.after[name] > self.before[name]}
        return {name: much for name, much in grown.items() if name != "memory" or much >= GROWTH_MIB}


def footprint(kept: Path) -> dict[str, float]:
    """What must not grow: memory (MiB), descriptors, threads, children, guests (each a domain of its own), disk blocks of the snapshot
    `kept`."""
    own = psutil.Process()
    return {
        "memory": own.memory_info().rss / (1 << 20),
        "descriptors": own.num_fds(),
        "threads": own.num_threads(),
        "children": len(own.children(recursive=True)),
        "domains": sum(1 for _ in (leftovers.state_dir() / "g").glob("*")),
        "disk": sum(path.stat().st_blocks for path in kept.rglob("*") if path.is_file()),
    }


def cycles(
    spec: MachineSpec,
    boot: Boot,
    accelerator: Accelerator,
    work: Work,
    *,
    count: int,
    root: Path,
    run: RunFolder,
    progress: Callable[[str], None],
) -> Cycles:
    """Restore, work and destroy `count` times, after the warm-up. Raises where a guest or its work fails, where it was not restored, or
    leaves its QEMU behind."""
    kept = store.cache_dir() / snapshot.FOLDER / snapshot.key(spec, boot, accelerator)
    seconds: list[float] = []
    whole: list[float] = []
    before: dict[str, float] = {}
    for number in range(WARM_UP + count):
        if number == WARM_UP:
            before = footprint(kept)
        progress(f"cycle {number - WARM_UP + 1}/{count}" if number >= WARM_UP else f"warm-up {number + 1}/{WARM_UP}")
        begin = time.monotonic()
        with guest(spec, boot, accelerator=accelerator, run=run, root=root, name="cycle", progress=lambda _: None, warm=True) as machine:
            if not machine.restored:
                raise InfrastructureError("no guest was restored from memory; --cold boots are not what is counted here")
            machine.run(["true"], deadline=_SECONDS, check=True)
            seconds.append(time.monotonic() - begin)
            work(machine, number)
            uuid = machine.facts.uuid
        if registry.qemu_processes(uuid):
            raise InfrastructureError(f"QEMU outlived its guest in cycle {number}")
        whole.append(time.monotonic() - begin)
    return Cycles(seconds[WARM_UP:], whole[WARM_UP:], before, footprint(kept))


def measure(
    spec: MachineSpec,
    boot: Boot,
    accelerator: Accelerator,
    work: Work,
    *,
    root: Path,
    run: RunFolder,
    progress: Callable[[str], None],
    count: int = COUNT,
) -> list[Series]:
    """The seconds of each of `count` cycles: of the restore, and of all. ProductFailure where something has grown."""
    done = cycles(spec, boot, accelerator, work, count=count, root=root, run=run, progress=progress)
    raw = run.file("bench", "cycles", "samples.json")
    raw.write_text(json.dumps({**done.__dict__, "growth": done.growth}, indent=1) + "\n")
    evidence = run.evidence("samples", raw)
    if done.growth:
        words = ", ".join(f"{name} by {much:g}" for name, much in done.growth.items())
        raise ProductFailure(f"after {count} guests this process has grown: {words}", evidence=(raw,))
    dimensions = {
        "machine": f"{spec.cpus} CPUs, {spec.memory} MiB",
        "accelerator": accelerator.name,
        "cycles": f"{count} in a row: restore, smoke, destroy",
        "memory": f"{done.after['memory'] - done.before['memory']:+.1f} MiB from the first to the last",
    }
    kept = (evidence,)
    return [
        Series("restore", "cycles", "request to first answer", "s", "lower", tuple(done.seconds), dimensions, evidence=kept),
        Series("restore, smoke, destroy", "cycles", "one cycle", "s", "lower", tuple(done.whole), dimensions, evidence=kept),
    ]
