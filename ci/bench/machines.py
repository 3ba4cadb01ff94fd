# SPDX-License-Identifier: Apache-2.0
"""How fast guests come up: cold, and from memory, from the request to the first command's answer; and how fast files travel.

Everything is timed in one process, in interleaved rounds, so that the ratio of the two is of one moment.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ci import process
from ci.manifest import MachineSpec
from ci.model import Accelerator, Evidence, Series, Verdict
from ci.store import RunFolder
from ci.vm.boot import Boot
from ci.vm.guest import guest
from ci.vm.machine import Machine

FILE_MIB = 100
_FIRST_SECONDS = 60.0
_SCP_SECONDS = 600.0


@dataclass
class _Taken:
    cold: list[float] = field(default_factory=list)
    restored: list[float] = field(default_factory=list)
    by_disk: list[float] = field(default_factory=list)
    over_scp: list[float] = field(default_factory=list)


def measure(
    spec: MachineSpec,
    boot: Boot,
    accelerator: Accelerator,
    *,
    root: Path,
    run: RunFolder,
    rounds: int,
    progress: Callable[[str], None],
) -> list[Series]:
    """Series in seconds and in MiB/s; the warm-up round makes the snapshot and is not counted."""
    taken = _Taken()
    file = run.file("bench", "machines", "random")
    file.write_bytes(os.urandom(FILE_MIB << 20))
    for number in range(rounds + 1):
        for warm in (False, True):
            progress(f"{f'round {number}/{rounds}' if number else 'warm-up'}  {'restore' if warm else 'cold boot'}")
            begin = time.monotonic()
            name = f"bench-{'warm' if warm else 'cold'}-{number}"
            with guest(spec, boot, accelerator=accelerator, run=run, root=root, name=name, progress=progress, warm=warm) as machine:
                machine.run(["true"], deadline=_FIRST_SECONDS, check=True)
                seconds = time.monotonic() - begin
                if number and warm == machine.restored:
                    (taken.restored if warm else taken.cold).append(seconds)
                if number and warm and machine.restored:
                    taken.by_disk.append(_speed(machine, file))
                    taken.over_scp.append(_scp(machine, file))
    file.unlink()
    raw = run.file("bench", "machines", "samples.json")
    raw.write_text(json.dumps(taken.__dict__, indent=1) + "\n")
    return _series(taken, spec, accelerator, rounds, run.evidence("samples", raw))


def _speed(machine: Machine, file: Path) -> float:
    """MiB/s of one file into the guest."""
    begin = time.monotonic()
    machine.put(file, "/var/tmp/bench-file")
    return FILE_MIB / (time.monotonic() - begin)


def _scp(machine: Machine, file: Path) -> float:
    """MiB/s of the same file into the same guest with the real scp, its login included."""
    begin = time.monotonic()
    process.output(machine.scp_argv(file, "/var/tmp/bench-file-scp"), deadline=_SCP_SECONDS)
    return FILE_MIB / (time.monotonic() - begin)


def _series(taken: _Taken, spec: MachineSpec, accelerator: Accelerator, rounds: int, evidence: Evidence) -> list[Series]:
    ratios = [warm / cold for warm, cold in zip(taken.restored, taken.cold, strict=False)]
    parts = [scp / disk for scp, disk in zip(taken.over_scp, taken.by_disk, strict=False)]
    rows = (
        ("cold boot", "guest", "request to first answer", "s", "lower", taken.cold),
        ("restore", "guest", "request to first answer", "s", "lower", taken.restored),
        ("restore", "guest", "ratio to the cold boot", "times", "lower", ratios),
        ("scp", "copy", "random file into the guest", "MiB/s", "higher", taken.over_scp),
        ("disk", "copy", "time as a part of scp's", "times", "lower", parts),
        ("disk", "copy", "random file into the guest", "MiB/s", "higher", taken.by_disk),
    )
    dimensions = {"machine": f"{spec.cpus} CPUs, {spec.memory} MiB", "accelerator": accelerator.name, "rounds": str(rounds)}
    missing = "no guest was restored from memory; the log says why"
    return [
        Series(
            system=system,
            workload=workload,
            metric=metric,
            unit=unit,
            better=better,
            samples=tuple(samples),
            dimensions=dimensions,
            failure=None if samples else missing,
            verdict=Verdict.PASS if samples else Verdict.INFRA,
            evidence=(evidence,),
        )
        for system, workload, metric, unit, better, samples in rows
    ]
