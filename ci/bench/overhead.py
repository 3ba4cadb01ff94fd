# SPDX-License-Identifier: Apache-2.0
"""What the harness itself costs: the same fio on the same tmpfs, through the tool and by hand, in interleaved rounds.

By hand is what a person would type: a mount, fio, an unmount, nothing beside it. Through the tool the agent watches fio, its log and the
processor time of its tree. Both report fio's own number, so what differs is what the harness takes away from fio.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ci.bench import payload
from ci.bench.host import INSIDE, Host
from ci.bench.jobs import Place, job, perform
from ci.bench.systems import reference
from ci.bench.workloads import Setting, Workload, workload
from ci.errors import InfrastructureError, ProductFailure, of
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Evidence, Series, Verdict
from ci.process import Limits, run, scratch_file
from ci.samples import Interval, median_interval
from ci.store import RunFolder

BOUND = 0.02
ROUNDS = 11
QUICK_ROUNDS = 5
_SECONDS = 300.0
_WHOLE, _QUICK = "4g", "512m"  # that fio writes or reads in one round
_BY_HAND = 'mount -t tmpfs -o size=256m by-hand "$0" && "$@" && umount "$0"'
_PROFILES = {
    "sequential-write": {"rw": "write", "bs": "128k", "size": "128m"},
    "random-read": {"rw": "randread", "bs": "4k", "size": "128m"},
}
HAND, TOOL = "fio by hand", "fio through the tool"


@dataclass
class Taken:
    """MiB/s of each counted round, in pairs."""

    hand: list[float] = field(default_factory=list)
    tool: list[float] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [tool / hand for tool, hand in zip(self.tool, self.hand, strict=True)]


@dataclass(frozen=True)
class Found:
    """What the rounds of one profile say of the bound."""

    profile: str
    interval: Interval

    @property
    def verdict(self) -> str:
        """`within`, `beyond`, or `not shown`: the interval reaches over the bound."""
        if self.interval.low >= 1 - BOUND:
            return "within"
        return "beyond" if self.interval.high < 1 - BOUND else "not shown"

    def __str__(self) -> str:
        low, high = self.interval.low, self.interval.high
        said = {"within": "within", "beyond": "beyond", "not shown": "not shown to be within"}[self.verdict]
        words = f"{self.profile}: {TOOL} is {self.interval.median:.3f} times as fast as by hand (95 % interval {low:.3f} to {high:.3f})"
        return f"{words}: {said} {BOUND:.0%}"


def measure(run_folder: RunFolder, *, rounds: int, quick: bool, progress: Callable[[str], None]) -> tuple[list[Series], list[Found]]:
    """Both ways in turn, each first in every second round, after a round that is not counted."""
    host = Host()
    series: list[Series] = []
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="vexci-overhead-", dir="/var/tmp") as scratch:
        bundle = payload.write(Path(scratch) / "bench.pyz")
        place = Place(payload=str(bundle), work=f"{scratch}/run", tidy=True, inside=INSIDE)
        for name, options in _PROFILES.items():
            item = workload(WorkloadSpec(name, "fio", tuple({**options, "io_size": _QUICK if quick else _WHOLE}.items())))
            taken = Taken()
            for number in range(rounds + 1):
                progress(f"{f'round {number}/{rounds}' if number else 'warm-up'}  {name}")
                folder = run_folder.file("bench", "overhead", name, f"round-{number}" if number else "warm-up", "_").parent
                ways: list[Callable[[], tuple[str, float]]] = [
                    partial(_by_hand, item, Path(scratch), folder),
                    partial(_through, host, item, place, folder, number),
                ]
                values = dict(way() for way in (ways if number % 2 else ways[::-1]))
                if number:
                    taken.hand.append(values[HAND])
                    taken.tool.append(values[TOOL])
                    raw = folder / "bandwidth.json"
                    raw.write_text(json.dumps(values, indent=1) + "\n")
                    taken.evidence.append(run_folder.evidence("samples", raw))
            found.append(Found(name, median_interval(taken.ratios)))
            series += _series(item, taken, rounds)
    return series, found


def require(found: list[Found]) -> None:
    """ProductFailure where the harness is shown to take more than the bound."""
    beyond = [each for each in found if each.verdict == "beyond"]
    if beyond:
        raise ProductFailure(f"the harness takes more from fio than it may: {beyond[0]}")


def _by_hand(item: Workload, scratch: Path, folder: Path) -> tuple[str, float]:
    point, output = scratch / "by-hand", folder / "by-hand.json"
    point.mkdir(exist_ok=True)
    argv = item.tool.command(item.options, Setting(directory=str(point), output=str(output), payload=""))
    errors = scratch_file("by-hand")
    done = run([*INSIDE, "sh", "-c", _BY_HAND, point, *argv], limits=Limits(_SECONDS), stderr=errors)
    if not done.ok:
        tail = done.error_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise InfrastructureError(f"fio by hand: {done.how}: {tail[0]}")
    return HAND, _bandwidth(item, output)


def _through(host: Host, item: Workload, place: Place, folder: Path, number: int) -> tuple[str, float]:
    spec = BenchmarkSpec("overhead", ("tmpfs",), (), ROUNDS, _SECONDS, 60, place="host")
    todo = job(spec, reference("tmpfs"), item, place, f"{item.name}-{number}", warm_up=False)
    outcome = perform(host, todo, place, folder / "tool")
    if outcome.verdict is not Verdict.PASS:
        raise of(outcome.verdict, f"fio through the tool, {outcome.phase}: {outcome.detail}")
    return TOOL, _bandwidth(item, outcome.folder / item.tool.raw)


def _bandwidth(item: Workload, path: Path) -> float:
    values: Mapping[str, float] = item.tool.values(path, item.options)
    return values[item.metrics[0].name]


def _series(item: Workload, taken: Taken, rounds: int) -> list[Series]:
    dimensions = {
        "kernel": os.uname().release,
        "cpus": str(os.cpu_count()),
        "machine": "this host",
        "file system": "tmpfs",
        "options": item.stated,
        "rounds": str(rounds),
        "warm-up": "1 round, not counted",
        "order": "interleaved, each way first in turn",
        "benchmark": "overhead",
    }
    rows = (
        (HAND, "bandwidth", "MiB/s", taken.hand),
        (TOOL, "bandwidth", "MiB/s", taken.tool),
        (TOOL, "ratio to fio by hand", "times", taken.ratios),
    )
    return [
        Series(system, item.name, metric, unit, "higher", tuple(values), dimensions, evidence=tuple(taken.evidence))
        for system, metric, unit, values in rows
    ]
