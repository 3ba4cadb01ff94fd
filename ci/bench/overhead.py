# SPDX-License-Identifier: Apache-2.0
"""What the harness itself costs: the same fio on the same tmpfs, through the tool and by hand, in interleaved rounds.

By hand is what a person would type: a mount, fio, an unmount, nothing beside it. Through the tool the agent watches fio, its log and the
processor time of its tree. Both report fio's own number, so what differs is what the harness takes away from fio.

On a busy machine bandwidth says little. There two numbers bound it that other programs hardly touch: what fio does in a second of its own
processor time, and how much of a processor the agent takes while it watches.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
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


@dataclass(frozen=True)
class Sample:
    """fio's bandwidth, and its work in a second of its own processor time (MiB/s); `share` is of one processor, what watching took."""

    bandwidth: float
    work: float
    share: float = 0.0


@dataclass
class Taken:
    """The counted rounds, in pairs."""

    hand: list[Sample] = field(default_factory=list)
    tool: list[Sample] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)

    def ratios(self, name: str) -> list[float]:
        """Of each round, through the tool over by hand."""
        return [getattr(tool, name) / getattr(hand, name) for tool, hand in zip(self.tool, self.hand, strict=True)]


@dataclass(frozen=True)
class Found:
    """What the rounds of one profile say of the bound: the ratios of bandwidth and of work, and the median share of a processor."""

    profile: str
    bandwidth: Interval
    work: Interval
    share: float

    @property
    def verdict(self) -> str:
        """`within` or `beyond` where the whole interval of the bandwidth is; else `within by processor time`, or `not shown`."""
        if self.bandwidth.low >= 1 - BOUND:
            return "within"
        if self.bandwidth.high < 1 - BOUND:
            return "beyond"
        return "within by processor time" if self.work.low - self.share >= 1 - BOUND else "not shown"

    def __str__(self) -> str:
        said = {"not shown": "not shown to be within"}.get(self.verdict, self.verdict)
        ratios = f"bandwidth {_words(self.bandwidth)}, work per processor second {_words(self.work)}"
        watching = f"watching took {self.share:.2%} of a processor"
        return f"{self.profile}: through the tool over by hand: {ratios}; {watching}: {said} {BOUND:.0%}"


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
                ways: list[Callable[[], tuple[str, Sample]]] = [
                    partial(_by_hand, item, Path(scratch), folder),
                    partial(_through, host, item, place, folder, number),
                ]
                values = dict(way() for way in (ways if number % 2 else ways[::-1]))
                if number:
                    taken.hand.append(values[HAND])
                    taken.tool.append(values[TOOL])
                    raw = folder / "samples.json"
                    raw.write_text(json.dumps({way: asdict(sample) for way, sample in values.items()}, indent=1) + "\n")
                    taken.evidence.append(run_folder.evidence("samples", raw))
            shares = statistics.median(sample.share for sample in taken.tool)
            found.append(Found(name, median_interval(taken.ratios("bandwidth")), median_interval(taken.ratios("work")), shares))
            series += _series(item, taken, rounds)
    return series, found


def require(found: list[Found]) -> None:
    """ProductFailure where the harness is shown to take more than the bound."""
    beyond = [each for each in found if each.verdict == "beyond"]
    if beyond:
        raise ProductFailure(f"the harness takes more from fio than it may: {beyond[0]}")


def _by_hand(item: Workload, scratch: Path, folder: Path) -> tuple[str, Sample]:
    point, output = scratch / "by-hand", folder / "by-hand.json"
    point.mkdir(exist_ok=True)
    argv = item.tool.command(item.options, Setting(directory=str(point), output=str(output), payload=""))
    errors = scratch_file("by-hand")
    done = run([*INSIDE, "sh", "-c", _BY_HAND, point, *argv], limits=Limits(_SECONDS), stderr=errors)
    if not done.ok:
        tail = done.error_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise InfrastructureError(f"fio by hand: {done.how}: {tail[0]}")
    return HAND, _sample(item, output)


def _through(host: Host, item: Workload, place: Place, folder: Path, number: int) -> tuple[str, Sample]:
    spec = BenchmarkSpec("overhead", ("tmpfs",), (), ROUNDS, _SECONDS, 60, place="host")
    todo = job(spec, reference("tmpfs"), item, place, f"{item.name}-{number}", warm_up=False)
    outcome = perform(host, todo, place, folder / "tool")
    if outcome.verdict is not Verdict.PASS:
        raise of(outcome.verdict, f"fio through the tool, {outcome.phase}: {outcome.detail}")
    watching = json.loads((outcome.folder / "result.json").read_text())["watching"]
    return TOOL, _sample(item, outcome.folder / item.tool.raw, watching["processor"] / watching["elapsed"])


def _sample(item: Workload, path: Path, share: float = 0.0) -> Sample:
    """fio counts its processor time as percentages of the run."""
    bandwidth = item.tool.values(path, item.options)[item.metrics[0].name]
    text = path.read_text()
    part = json.loads(text[text.index("{") :])["jobs"][0]
    busy = (float(part["usr_cpu"]) + float(part["sys_cpu"])) / 100
    if busy <= 0:
        raise ProductFailure("fio reports no processor time", evidence=(path,))
    return Sample(bandwidth, bandwidth / busy, share)


def _words(found: Interval) -> str:
    return f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"


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
    rows: list[tuple[str, str, str, str, list[float]]] = []
    for name, metric in (("bandwidth", "bandwidth"), ("work", "work per processor second")):
        for way, samples in ((HAND, taken.hand), (TOOL, taken.tool)):
            rows.append((way, metric, "MiB/s", "higher", [getattr(sample, name) for sample in samples]))
        rows.append((TOOL, f"{metric}, ratio to fio by hand", "times", "higher", taken.ratios(name)))
    rows.append((TOOL, "processor time of watching", "% of one", "lower", [100 * sample.share for sample in taken.tool]))
    return [
        Series(system, item.name, metric, unit, better, tuple(values), dimensions, evidence=tuple(taken.evidence))
        for system, metric, unit, better, values in rows
    ]
