# SPDX-License-Identifier: Apache-2.0
"""What passes between stages: frozen facts without I/O. This module imports nothing of ci."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
# The name of the feature set that an artifact's own keys describe.
DEFAULT_SET = "default"


class Verdict(str, Enum):
    """The answer of a check, a stage or a run; docs/record.md gives each one's meaning."""

    PASS = "pass"
    KNOWN = "known"
    SKIP = "skip"
    FAIL = "fail"
    PANIC = "panic"
    HANG = "hang"
    USAGE = "usage"
    INFRA = "infra"
    INTERRUPTED = "interrupted"
    RUNNING = "running"

    def __str__(self) -> str:
        return self.value

    @property
    def ok(self) -> bool:
        """True where nothing that was required is wrong: observed good, or a known failure as listed."""
        return self in (Verdict.PASS, Verdict.KNOWN)

    @property
    def blames(self) -> bool:
        """True where the product was seen to be wrong; other verdicts that are no good ones are about the machine or the request."""
        return self in (Verdict.FAIL, Verdict.PANIC, Verdict.HANG)


EXIT_CODES: dict[Verdict, int] = {
    Verdict.PASS: 0,
    Verdict.KNOWN: 0,
    Verdict.SKIP: 1,  # a required item that did not run did not pass
    Verdict.FAIL: 1,
    Verdict.PANIC: 1,
    Verdict.HANG: 1,
    Verdict.USAGE: 2,
    Verdict.INFRA: 3,
    Verdict.INTERRUPTED: 130,
    Verdict.RUNNING: 3,
}

# Worst last. `infra` outranks nothing about the product: a seen product failure stays a product failure.
_SEVERITY = (
    Verdict.PASS,
    Verdict.KNOWN,
    Verdict.SKIP,
    Verdict.RUNNING,
    Verdict.INFRA,
    Verdict.FAIL,
    Verdict.HANG,
    Verdict.PANIC,
    Verdict.USAGE,
    Verdict.INTERRUPTED,
)


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of a whole from those of its parts.

    Nothing at all did not pass: an empty list is `fail`. Optional items that were skipped must be
    left out by the caller; a skip that is passed in here counts as a failure.
    """
    if not verdicts:
        return Verdict.FAIL
    top = max(verdicts, key=_SEVERITY.index)
    return Verdict.FAIL if top is Verdict.SKIP else top


class Kind(str, Enum):
    """What an artifact is."""

    KERNEL_MODULE = "kernel-module"
    DAEMON = "daemon"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Evidence:
    """A file that a person can open. `path` is relative to the run folder where it lies inside it."""

    kind: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its id (as in failure-modes.md where it has one) and what was seen."""

    id: str
    name: str
    subject: str
    verdict: Verdict
    detail: str
    evidence: tuple[Evidence, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class KernelTarget:
    """A kernel to build for and to boot.

    `headers` is the folder that `make -C` takes, `image` the bzImage, `modules` the folder
    lib/modules/<release>; the latter two are None where the target can be built for but not booted.
    """

    name: str
    release: str
    arch: str
    flavour: str
    provider: str
    headers: Path
    image: Path | None = None
    modules: Path | None = None
    origin: str = ""


@dataclass(frozen=True)
class Artifact:
    """One built file with what it was built from.

    `target` is a kernel release for a module and a target triple for a daemon. `inputs_sha256` covers
    every file and parameter that the build read; `started` and `modified` are epoch seconds. `feature_set` is the manifest's
    name for `features`; `toolchain` is the compiler and `profile` that of cargo, where they are not the usual ones.
    """

    name: str
    kind: Kind
    path: Path
    sha256: str
    size: int
    features: tuple[str, ...]
    target: str
    kernel: str | None
    commit: str
    dirty: bool
    inputs_sha256: str
    started: float
    modified: float
    warnings: int
    reused: bool
    log: str
    feature_set: str = DEFAULT_SET
    toolchain: str = ""
    profile: str = ""

    @property
    def variant(self) -> str:
        """What tells it apart from the usual build of the same artifact; empty for that."""
        return variant(self.feature_set, self.toolchain, self.profile)

    @property
    def slug(self) -> str:
        """A file name for it, without its target."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def label(self) -> str:
        """Name and target as shown in tables."""
        return f"{self.name} [{self.target}]" + (f" {self.variant}" if self.variant else "")


def variant(feature_set: str, toolchain: str, profile: str = "") -> str:
    """A short name for one way of building an artifact; empty for the usual one."""
    return "-".join(part for part in (feature_set if feature_set != DEFAULT_SET else "", toolchain, profile) if part)


@dataclass(frozen=True)
class Accelerator:
    """How guests run: `kvm` or `tcg`, and the observation that decided it."""

    name: str
    reason: str

    @property
    def patience(self) -> float:
        """What deadlines are multiplied by that were written for an emulated guest: hardware is far faster, but some cases last as
        long as they are told to."""
        return 0.5 if self.name == "kvm" else 1.0


@dataclass(frozen=True)
class Image:
    """A root filesystem in the cache: an ext4 `disk` (raw), keyed by the hash of its definition; with `cloud` a whole disk, raw, too,
    on which cloud-init waits for a seed."""

    name: str
    key: str
    disk: Path
    size: int
    distribution: str
    cloud: bool = False


@dataclass(frozen=True)
class Deployment:
    """What the guest itself reports of an artifact that was put there, beside what was built."""

    artifact: str
    sha256: str
    guest_path: str
    built_id: str
    running_id: str
    id_kind: str


@dataclass(frozen=True)
class Case:
    """One test of a suite. `seconds` is wall time in the guest. One that is not `required` was skipped, because the product does not
    offer what it needs, as its manifest says."""

    id: str
    verdict: Verdict
    detail: str
    seconds: float
    required: bool = True

    @property
    def ok(self) -> bool:
        """True where it passed, failed as listed, or need not have run."""
        return self.verdict.ok or (self.verdict is Verdict.SKIP and not self.required)


@dataclass(frozen=True)
class SuiteResult:
    """One suite on one artifact. `minimum` is the least number of cases that must have run. `beside` is the verdict of what is no
    case's own: the kernel's log, what was left behind, too few cases."""

    suite: str
    artifact: str
    kernel: str
    verdict: Verdict
    detail: str
    minimum: int
    cases: tuple[Case, ...]
    seconds: float
    evidence: tuple[Evidence, ...] = ()
    beside: Verdict = Verdict.PASS


@dataclass(frozen=True)
class Series:
    """Raw samples of one metric of one system, one value a round, in the order measured.

    `better` is "higher" or "lower". `dimensions` is the fingerprint: series are compared only where
    these are equal. A system that failed has no samples and says why in `failure`.
    """

    system: str
    workload: str
    metric: str
    unit: str
    better: str
    samples: tuple[float, ...]
    dimensions: dict[str, str]
    artifact_sha256: str | None = None
    failure: str | None = None
    verdict: Verdict = Verdict.PASS
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class StageResult:
    """One stage of a run as the record keeps it; `results` is the stage's own JSON-able detail."""

    name: str
    verdict: Verdict
    detail: str
    started: str
    seconds: float
    results: dict[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    required: bool = True
