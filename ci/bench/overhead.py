# SPDX-License-Identifier: Apache-2.0
"""What the harness itself costs: the same fio on the same tmpfs, through the tool and by hand, in interleaved rounds.

By hand is what a person would type: a mount, fio, an unmount, and nothing beside it: the tool sleeps in the kernel until that has ended.
Through the tool the agent watches fio, its log and the processor time of its tree. Both report fio's own number over the same time, so what
differs is what the harness takes away from fio. A round is four runs in the order tool, hand, hand, tool (or the reverse), and its ratio
that of the sums, so that a machine that becomes faster or slower while it lasts meets both alike.

On a busy machine bandwidth says little. There two numbers bound it that other programs hardly touch: what fio does in a second of its own
processor time, and how much of a processor the agent takes while it watches.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ci import process
from ci.bench import payload
from ci.bench.host import INSIDE, Host
from ci.bench.jobs import Place, job, perform
from ci.bench.systems import reference
from ci.bench.workloads import Setting, Workload, workload
from ci.errors import Hang, InfrastructureError, ProductFailure, of
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Evidence, Series, Verdict
from ci.samples import Interval, median_interval
from ci.store import RunFolder

BOUND = 0.02
ROUNDS = 25
QUICK_ROUNDS = 5
_LIMIT_SECONDS = 300.0
_RUN, _QUICK = "2s", "1s"  # that fio works each time
_BY_HAND = 'mount -t tmpfs -o size=256m by-hand "$0" && "$@" && umount "$0"'
_PROFILES = {
    "sequential-write": {"rw": "write", "bs": "128k", "size": "128m"},
    "random-read": {"rw": "randread", "bs": "4k", "size": "128m"},
}
HAND, TOOL = "fio by hand", "fio through the tool"
_ORDER = (TOOL, HAND, HAND, TOOL)


@dataclass(frozen=True)
class Sample:
    """fio's bandwidth, and its work in a second of its own processor time (MiB/s); `share` is of one processor, what watching took."""

    bandwidth: float
    work: float
    share: float = 0.0


def together(runs: Sequence[Sample]) -> Sample:
    """Runs of equal length as one: all that was moved over all the time, by the clock and by the processor."""
    bandwidth = statistics.fmean(each.bandwidth for each in runs)
    busy = statistics.fmean(each.bandwidth / each.work for each in runs)
    return Sample(bandwidth, bandwidth / busy, statistics.fmean(each.share for each in runs))


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
    series: list[Series] = []
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="vexci-overhead-", dir="/var/tmp") as scratch:
        bundle = payload.write(Path(scratch) / "bench.pyz")
        place = Place(payload=str(bundle), work=f"{scratch}/run", agent=sys.executable, tidy=True, inside=INSIDE)
        for name, options in _PROFILES.items():
            item = workload(WorkloadSpec(name, "fio", tuple({**options, "time_based": "1", "runtime": _QUICK if quick else _RUN}.items())))
            taken = Taken()
            for number in range(rounds + 1):
                progress(f"{f'round {number}/{rounds}' if number else 'warm-up'}  {name}")
                _round(run_folder, item, place, number, taken)
            shares = statistics.median(sample.share for sample in taken.tool)
            found.append(Found(name, median_interval(taken.ratios("bandwidth")), median_interval(taken.ratios("work")), shares))
            series += _series(item, taken, rounds)
    return series, found


def _round(run_folder: RunFolder, item: Workload, place: Place, number: int, taken: Taken) -> None:
    """Four runs; the round of number 0 is the warm-up."""
    folder = run_folder.file("bench", "overhead", item.name, f"round-{number}" if number else "warm-up", "_").parent
    runs: dict[str, list[Sample]] = {HAND: [], TOOL: []}
    for at, way in enumerate(_ORDER if number % 2 else [TOOL if way == HAND else HAND for way in _ORDER]):
        label = f"{number}-{at}"
        runs[way].append(_by_hand(item, place, folder, label) if way == HAND else _through(item, place, folder, label))
    if number:
        taken.hand.append(together(runs[HAND]))
        taken.tool.append(together(runs[TOOL]))
        raw = folder / "samples.json"
        raw.write_text(json.dumps({way: [asdict(sample) for sample in samples] for way, samples in runs.items()}, indent=1) + "\n")
        taken.evidence.append(run_folder.evidence("samples", raw))


def require(found: list[Found]) -> None:
    """ProductFailure where the harness is shown to take more than the bound."""
    beyond = [each for each in found if each.verdict == "beyond"]
    if beyond:
        raise ProductFailure(f"the harness takes more from fio than it may: {beyond[0]}")


def _by_hand(item: Workload, place: Place, folder: Path, label: str) -> Sample:
    point, output, log = Path(place.work) / "by-hand", folder / f"by-hand-{label}.json", folder / f"by-hand-{label}.log"
    point.mkdir(parents=True, exist_ok=True)
    argv = item.tool.command(item.options, Setting(directory=str(point), output=str(output), payload=""))
    with process.started([*INSIDE, "sh", "-c", _BY_HAND, point, *argv], stdout=log) as child:
        ended = process.wait_exit(child, _LIMIT_SECONDS)
    if not ended:
        raise Hang(f"fio by hand did not end within {_LIMIT_SECONDS:g} s", evidence=(log,))
    if child.returncode != 0:
        tail = log.read_text(errors="backslashreplace").strip().splitlines()[-1:] or ["it said nothing"]
        raise InfrastructureError(f"fio by hand: {process.describe_returncode(child.returncode)}: {tail[0]}")
    return _sample(item, output)


def _through(item: Workload, place: Place, folder: Path, label: str) -> Sample:
    spec = BenchmarkSpec("overhead", ("tmpfs",), (), ROUNDS, _LIMIT_SECONDS, 60, place="host")
    todo = job(spec, reference("tmpfs"), item, place, f"{item.name}-{label}", warm_up=False)
    outcome = perform(Host(), todo, place, folder / f"tool-{label}")
    if outcome.verdict is not Verdict.PASS:
        raise of(outcome.verdict, f"fio through the tool, {outcome.phase}: {outcome.detail}")
    watching = json.loads((outcome.folder / "result.json").read_text())["watching"]
    return _sample(item, outcome.folder / item.tool.raw, watching["processor"] / watching["elapsed"])


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
        "order": "a round is tool, hand, hand, tool, or the reverse in every second one",
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
