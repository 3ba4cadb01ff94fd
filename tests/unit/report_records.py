# SPDX-License-Identifier: Apache-2.0
"""Records as runs leave them, with their files, for the tests of the reports. The numbers are invented."""

from __future__ import annotations

import copy
import hashlib
import random
from pathlib import Path
from typing import Any

from ci.bench.compare import comparisons
from ci.model import Artifact, Case, Check, Evidence, Kind, Series, StageResult, SuiteResult, Verdict
from ci.record import plain

KERNEL = "6.1.0-41-cloud-amd64"
METADATA = {"create": 5200, "stat": 41000, "readdir": 210000, "rename": 7800, "unlink": 8800}
SPEED = {"vexfs-kernel": 1.0, "vexfs-fuse": 0.34, "ext4": 0.92}
SHA = {"vexfs-kernel": "3f" * 32, "vexfs-fuse": "9a" * 32, "ext4": None}


def file(folder: Path, kind: str, name: str, text: str) -> Evidence:
    """A file in the run folder, as evidence."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Evidence(kind, name, hashlib.sha256(text.encode()).hexdigest())


def artifacts() -> list[Artifact]:
    module, daemon = Path("/work/kernel/vexfs.ko"), Path("/work/fuse/target/x86_64-unknown-linux-gnu/release/vexfs_fuse")
    common: tuple[Any, ...] = ("4be1c0de" * 5, False, "00" * 32, 0.0, 0.0, 0)
    return [
        Artifact("vexfs-kernel", Kind.KERNEL_MODULE, module, "3f" * 32, 48123, (), KERNEL, "debian-6.1", *common, False, "logs/kbuild.log"),
        Artifact(
            "vexfs-fuse", Kind.DAEMON, daemon, "9a" * 32, 3480112, ("fuse_support",), "x86_64-unknown-linux-gnu", None, *common, True, "l"
        ),
    ]


def checks(folder: Path, failing: bool) -> tuple[Check, ...]:
    seen = file(folder, "log", "verify/modinfo.txt", "vermagic: 6.1.0-41-cloud-amd64 SMP\n")
    bad = Verdict.FAIL if failing else Verdict.PASS
    magic = "vermagic is '6.12.57', the target is 6.1.0-41-cloud-amd64" if failing else "vermagic equals the target"
    return (
        Check("B5", "is what it should be", "vexfs-kernel", Verdict.PASS, "ELF 64-bit relocatable, x86-64", (seen,)),
        Check("V1", "vermagic", "vexfs-kernel", bad, magic, (seen,)),
        Check("V4", "--help answers", "vexfs-fuse", Verdict.PASS, "exit 0 in 0.02 s; 5 of 5 documented texts found", ()),
        Check("V4", "features in the binary", "vexfs-fuse", Verdict.PASS, "fuse_support", ()),
        Check("B8", "headers of the host", "vexfs-kernel", Verdict.SKIP, "no headers for 6.18 are installed", (), False),
    )


def suites(failing: bool) -> list[SuiteResult]:
    names = ("load", "mount", "write", "read-back", "list", "rename", "remount", "unlink", "statfs", "symlink", "unmount", "unload")
    cases = tuple(Case(name, Verdict.PASS, "observed", 0.2) for name in names)
    broken = (*cases[:6], Case("remount", Verdict.PANIC, "BUG: kernel NULL pointer dereference, address: 0000000000000010", 1.4))
    verdict, detail = (Verdict.PANIC, "the guest panicked in 'remount'") if failing else (Verdict.PASS, "")
    return [
        SuiteResult("smoke", "vexfs-kernel", KERNEL, verdict, detail, 12, broken if failing else cases, 9.1),
        SuiteResult("smoke", "vexfs-fuse", KERNEL, Verdict.PASS, "", 12, cases, 14.2),
    ]


def series(folder: Path, failing: bool) -> list[Series]:
    """Six metrics of three systems; with `failing` the daemon hangs in the metadata loop."""
    source = random.Random(7)
    found = []
    common = {"kernel": KERNEL, "cpus": "2", "memory": "972 MiB", "accelerator": "tcg", "durability": "volatile (memory)", "rounds": "5"}
    measures = [("sequential-write", "write bandwidth", "MiB/s", 412.0, "bs=128k direct=0 end_fsync=1 ioengine=psync rw=write size=32m")]
    measures += [("metadata", step, "operations/s", float(value), "files=300 size=1024") for step, value in METADATA.items()]
    for workload, metric, unit, base, options in measures:
        for system, factor in SPEED.items():
            noise = 0.12 if metric == "rename" else 0.03
            samples = tuple(round(base * factor * source.lognormvariate(0, noise), 3) for _ in range(5))
            files = tuple(
                file(folder, "samples", f"bench/files/{workload}/{system}/round-{n}/raw.json", f'{{"round": {n}}}') for n in range(1, 6)
            )
            hung = failing and system == "vexfs-fuse" and workload == "metadata"
            stacks = file(folder, "diagnosis", f"bench/files/{workload}/{system}/round-3/diagnosis/index.txt", "pid 412\n")
            found.append(
                Series(
                    system,
                    workload,
                    metric,
                    unit,
                    "higher",
                    () if hung else samples,
                    {**common, "options": options},
                    SHA[system],
                    "round 3/5, workload: the workload made no progress for 30 s (no log growth, no CPU time)" if hung else None,
                    Verdict.HANG if hung else Verdict.PASS,
                    (stacks, *files) if hung else files,
                )
            )
    return found


ENGINES = {"vexfs-fuse": (1.0, 1.0), "faiss": (1.7, 1.0), "qdrant-edge": (6.0, 0.972)}  # rate beside ours, recall at the top effort
EFFORTS = (16, 64, 256)


def vectors(folder: Path) -> tuple[list[Series], dict[str, Any]]:
    """Searches of three engines, one without an index to build; and what stands beside the series in the record."""
    source = random.Random(11)
    measures = (("search k=10 p50", "ms", "lower"), ("search k=10 recall", "share", "higher"), ("index build", "s", "lower"))
    common = {
        "kernel": "6.18.0",
        "benchmark": "search",
        "machine": "this host",
        "rounds": "5",
        "data set": "sha256 aa11",
        "tool": "vectors",
    }
    found = []
    results: dict[str, Any] = {"sweeps": [], "latencies": [], "systems": []}
    for engine, (speed, recall) in ENGINES.items():
        files = tuple(file(folder, "samples", f"bench/search/{engine}/round-{n}/vectors.json", f'{{"round": {n}}}') for n in range(1, 6))
        for metric, unit, better in measures:
            absent = metric == "index build" and engine != "qdrant-edge"
            base = {"search k=10 p50": 1.2 / speed, "search k=10 recall": recall, "index build": 2.5}[metric]
            noise = 0.0 if metric.endswith("recall") else 0.04
            samples = () if absent else tuple(round(base * source.lognormvariate(0, noise), 6) for _ in range(5))
            found.append(
                Series(
                    engine,
                    "10k-128",
                    metric,
                    unit,
                    better,
                    samples,
                    {**common, "reached as": "on this machine, without a server"},
                    SHA["vexfs-fuse"] if engine == "vexfs-fuse" else None,
                    "there is no index" if absent else None,
                    Verdict.SKIP if absent else Verdict.PASS,
                    files,
                )
            )
        exact = recall == 1.0
        points = [
            {
                "effort": 0 if exact else effort,
                "recall": [1.0 if exact else min(recall, 0.7 + 0.1 * position)] * 5,
                "rate": [round(830 * speed / (1 if exact else 1 + position) * source.lognormvariate(0, 0.03), 1) for _ in range(5)],
            }
            for position, effort in enumerate((0,) if exact else EFFORTS)
        ]
        whose = {"system": engine, "workload": "10k-128"}
        results["sweeps"].append({**whose, "k": 10, "points": points})
        values = [(50, 1.2 / speed), (90, 1.5 / speed), (99, 2.6 / speed), (99.9, 4.4 / speed)]
        results["latencies"].append({**whose, "what": "search k=10", "count": 2500, "quantiles": values})
        results["systems"].append(
            {"system": engine, "facts": {"version": f"{engine} 1.2.3", "search": "exact" if exact else "approximate"}}
        )
    return found, results


_compared: dict[bool, list[Any]] = {}


def compared(measured: list[Series], failing: bool) -> list[Any]:
    """The comparisons, made once: the samples are always the same, and 10,000 resamples of each pair take a second."""
    if failing not in _compared:
        _compared[failing] = plain(comparisons(measured, references=("ext4",)))
    return copy.deepcopy(_compared[failing])


def with_vectors(folder: Path) -> dict[str, Any]:
    """A good run that has measured vector engines, too."""
    data = record(folder)
    more, results = vectors(folder)
    bench = data["stages"][-1]["results"]
    bench["series"] += plain(more)
    bench["comparisons"] += plain(comparisons(more, references=("faiss", "qdrant-edge")))
    bench.update(plain(results))
    return data


def record(folder: Path, *, failing: bool = False) -> dict[str, Any]:
    """A whole run, good or bad, with its files below `folder`."""
    measured = series(folder, failing)
    text = f"#!/bin/sh\nset -eu\ngit checkout --detach {'4be1c0de' * 5}\nexec ./inv ci\n"
    file(folder, "reproducer", "reproduce.sh", text)
    started = "2026-11-23T06:20:11Z"
    verdict = Verdict.PANIC if failing else Verdict.PASS
    stages = [
        StageResult(
            "build", Verdict.PASS, "2 artifacts", started, 41.3, {"skipped": [{"kernel": "host", "reason": "no headers for 6.18"}]}
        ),
        StageResult("verify", Verdict.FAIL if failing else Verdict.PASS, "", started, 2.1, {}, checks(folder, failing)),
        StageResult("image", Verdict.PASS, "cached", started, 0.1),
        StageResult("vm", Verdict.PASS, "answered SSH after 19.8 s", started, 20.4),
        StageResult("deploy", Verdict.PASS, "2 artifacts run as built", started, 1.9),
        StageResult("validate", verdict, "", started, 23.3, {"suites": plain(suites(failing))}),
        StageResult(
            "bench",
            Verdict.HANG if failing else Verdict.PASS,
            "",
            started,
            184.0,
            {"series": plain(measured), "comparisons": compared(measured, failing)},
        ),
    ]
    return {
        "schema": 1,
        "id": "20261123T062011Z-0c8cb6",
        "project": "vexfs",
        "command": "./inv ci",
        "argv": ["ci"],
        "requested": ["ci"],
        "verdict": verdict.value,
        "detail": "vexfs-kernel: remount: BUG: kernel NULL pointer dereference, address: 0000000000000010" if failing else "",
        "started": started,
        "ended": "2026-11-23T06:24:53Z",
        "seconds": 282.4,
        "process": "1-1",
        "commit": "4be1c0de" * 5,
        "dirty": failing,
        "host": {"kernel": "6.18.0", "cpu": "AMD EPYC", "cpus": 2, "memory_mib": 24105, "tools": {"gcc": "12.2.0", "rustc": "1.91.0"}},
        "accelerator": {"name": "tcg", "reason": "KVM exists and aborts at the first guest (SIGABRT)"},
        "artifacts": plain(artifacts()),
        "stages": plain(stages),
        "reproduce": "reproduce.sh",
    }
