# SPDX-License-Identifier: Apache-2.0
"""fio: bandwidth and latency as its own JSON states them (`bw_bytes`, bytes a second over the run with the final fsync in it)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci.bench.workloads.metric import Metric, Setting
from ci.errors import ProductFailure, UsageError

MIB = float(1 << 20)
# Through the page cache, as programs use files; what was written is asked to be safe before the clock stops.
DEFAULTS = {"ioengine": "psync", "direct": "0", "end_fsync": "1", "fallocate": "none", "numjobs": "1", "randrepeat": "1"}
OURS = ("name", "directory", "filename", "output", "output-format", "group_reporting", "eta")
# fio counts in milliseconds: below this a run's time is known to no better than a fifth.
LEAST_RUNTIME_MS = 5
SLOWED_MICROSECONDS = 5000
PERCENTILES = (50, 99)
_DIRECTIONS = {
    "read": ("read",),
    "randread": ("read",),
    "write": ("write",),
    "randwrite": ("write",),
    "rw": ("read", "write"),
    "readwrite": ("read", "write"),
    "randrw": ("read", "write"),
}
_SIZE = re.compile(r"(\d+)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def size_bytes(text: str) -> int:
    """Bytes of a fio size such as `32m` (fio's default base is 1024); UsageError where it is none."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a size", hint="write it as 32m")
    return int(match.group(1)) << _POWERS[match.group(2).lower()]


class Fio:
    """The fio profile of a workload: its options are fio's job options."""

    raw = "fio.json"

    def options(self, given: Mapping[str, str]) -> dict[str, str]:
        for name in given:
            if name in OURS:
                raise UsageError(f"the fio option '{name}' is set by the tool")
        options = {**DEFAULTS, **given}
        for name in ("rw", "bs", "size"):
            if name not in options:
                raise UsageError(f"the fio option '{name}' is missing", hint="rw, bs and size are needed")
        if options["rw"] not in _DIRECTIONS:
            raise UsageError(f"rw={options['rw']} is not known", hint=f"one of: {', '.join(_DIRECTIONS)}")
        size_bytes(options["size"])
        return options

    def metrics(self, options: Mapping[str, str]) -> tuple[Metric, ...]:
        """Bandwidth; of random requests also their latency, and that of the fsyncs that a profile asks for."""
        found = [Metric(f"{direction} bandwidth", "MiB/s") for direction in _DIRECTIONS[options["rw"]]]
        return (*found, *(Metric(f"{part} p{at}", "ms", "lower") for part in _latencies(options) for at in PERCENTILES))

    def command(self, options: Mapping[str, str], setting: Setting) -> list[str]:
        """fio's argv. The warm-up of a pure write also reads back and verifies: a system that stores nothing is found there.

        The slowed control pauses before each request.
        """
        words = ["fio", "--name=job", f"--directory={setting.directory}", f"--output={setting.output}", "--output-format=json"]
        words += ["--eta=never", "--group_reporting", *(f"--{key}={value}" for key, value in sorted(options.items()))]
        if setting.warm_up and options["rw"] in ("write", "randwrite"):
            words += ["--verify=crc32c", "--verify_fatal=1", "--do_verify=1"]
        if setting.slowed:
            words += [f"--thinktime={SLOWED_MICROSECONDS}"]
        return words

    def values(self, path: Path, options: Mapping[str, str]) -> dict[str, float]:
        jobs = _jobs(path)
        if len(jobs) != 1:
            raise ProductFailure(f"fio reports {len(jobs)} groups, expected 1", evidence=(path,))
        found = {f"{direction} bandwidth": _bandwidth(jobs[0], direction, options, path) for direction in _DIRECTIONS[options["rw"]]}
        for part, where in _latencies(options).items():
            found.update({f"{part} p{at}": value for at, value in _percentiles(jobs[0], *where, path).items()})
        return found

    def absent(self, path: Path) -> dict[str, str]:
        return {}

    def dimensions(self, options: Mapping[str, str], metric: Metric, facts: Mapping[str, str]) -> dict[str, str]:
        return {}


def _latencies(options: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What has a latency, and where fio's JSON has it."""
    directions = _DIRECTIONS[options["rw"]] if options["rw"].startswith("rand") else ()
    found = {direction: (direction, "clat_ns") for direction in directions}
    synced = any(options.get(name, "0") != "0" for name in ("fsync", "fdatasync"))
    return {**found, **({"fsync": ("sync", "lat_ns")} if synced else {})}


def _percentiles(job: dict[str, Any], part: str, kind: str, path: Path) -> dict[int, float]:
    """Milliseconds at each of PERCENTILES."""
    try:
        return {at: float(job[part][kind]["percentile"][f"{at}.000000"]) / 1e6 for at in PERCENTILES}
    except (KeyError, TypeError) as error:
        raise ProductFailure(f"fio reports no latency of {part}: {error}", evidence=(path,)) from error


def _jobs(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    try:
        # Warnings of fio may stand before the object.
        jobs: list[dict[str, Any]] = json.loads(text[text.index("{") :])["jobs"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProductFailure(f"fio left no readable result: {error}", evidence=(path,)) from error
    return jobs


def _bandwidth(job: dict[str, Any], direction: str, options: Mapping[str, str], path: Path) -> float:
    """MiB/s of one direction, if the job did all of its work without an error."""
    if job["error"] != 0:
        raise ProductFailure(f"fio reports error {job['error']}", evidence=(path,))
    part = job[direction]
    done, runtime = int(part["io_bytes"]), int(part["runtime"])
    plain = not {"runtime", "time_based", "io_size", "loops"} & options.keys() and len(_DIRECTIONS[options["rw"]]) == 1
    expected = size_bytes(options["size"]) * int(options["numjobs"])
    if done == 0 or (plain and done != expected):
        raise ProductFailure(f"fio did {done} bytes of {direction}, expected {expected}", evidence=(path,))
    if runtime < LEAST_RUNTIME_MS:
        raise ProductFailure(
            f"the run took {runtime} ms, which fio's clock of milliseconds cannot tell apart", hint="make 'size' larger", evidence=(path,)
        )
    return float(part["bw_bytes"]) / MIB
