# SPDX-License-Identifier: Apache-2.0
"""What vexci.yaml says, as typed values. No I/O here; ci/config.py reads and validates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from ci.model import DEFAULT_SET, Kind


@dataclass(frozen=True)
class Probe:
    """How a daemon is asked about itself: arguments, and texts that the answer must contain."""

    args: tuple[str, ...]
    contains: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class FeatureSet:
    """One way to build an artifact: the whole list of its `features`, make `variables` over the artifact's own, and the
    patterns of sources that are `not_compiled` then, None for the artifact's own."""

    name: str
    features: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    not_compiled: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Recipe:
    """How a tree is built that was not written for this tool.

    `work` is the folder below the artifact's in which the build tool is called, `before` are commands that run there first.
    `goals` are what make is asked for (for a module: by the tree's own Makefile in place of the kernel's Kbuild). `target` is a
    target triple and `toolchain` the compiler, both empty for the machine's own. A build may take `disk` MiB.
    """

    work: str = ""
    before: tuple[tuple[str, ...], ...] = ()
    goals: tuple[str, ...] = ()
    target: str = ""
    toolchain: str = ""
    disk: int = 8192

    @property
    def foreign(self) -> bool:
        """Whether it may read files that Kbuild alone would not."""
        return bool(self.work or self.before or self.goals)


@dataclass(frozen=True)
class Expectation:
    """A failure that is known and has a `reason`; for these `kernels` alone, or for all where there are none."""

    reason: str
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayoutSpec:
    """Structures and numbers of a C `header`, and the `command` that prints as JSON how another language sees them.

    `include` are folders for the C compiler; `ignore` are structures of the
    header that the other side need not know.
    """

    name: str
    header: Path
    command: tuple[str, ...]
    include: tuple[Path, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArtifactSpec:
    """One artifact to build. `output` is the file name: `<module>.ko` or the binary's name.

    Of the sources of a module, `floating_point` may use vector registers, and `not_compiled`
    (patterns) need not be part of it. `libraries` are the sonames that the target has and `glibc` its version, None and empty
    where that is not checked; `warnings` is the compiler's budget, None where there is none; `findings` are the static checkers
    that look at its sources, each with its budget.

    `features` and `variables` are the feature set `default`; `feature_sets` are the others. `absent` are features that this
    way of building it must not have. `toolchains` are the compilers of a module, the usual one first. `profile` is cargo's, and
    `dev_profile` the one that ./inv dev builds with, empty where that is the same; it then has `dev_features`, those of all artifacts of
    the crate that are built so: the crate's library is compiled once for all of them.

    `mount` is the argv that mounts it in a guest, with the placeholders {artifact} (the deployed file)
    and {mountpoint}; a daemon's command stays in the foreground. `prepare` are the commands that make the
    volume it is mounted from; {volume} in them and in `mount` is a fresh file name for each guest or
    measurement. `filesystem` is what mountinfo must then show as the type. `check` looks for errors on the unmounted {volume}
    and changes nothing (exit 0: none), `repair` mends them. `fsync` says what fsync of a file promises of contents: that `file`'s,
    or those of the whole `volume`. `lacks` is what a file system may do without and this one does, each with the reason
    (ci/validate/guest/posix/needs.py has the names): cases that need it are skipped once it has been seen to be refused.
    `mount_in_memory` mounts it without a volume;
    `vectors` is the Python module through which its vectors are reached (ci/bench/vectors/engines/client.py says what it must have).
    """

    name: str
    kind: Kind
    builder: str
    folder: Path
    output: str
    features: tuple[str, ...] = ()
    profile: str = "release"
    dev_profile: str = ""
    dev_features: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    license: str = ""
    kernels: tuple[str, ...] = ()
    help: Probe | None = None
    version: Probe | None = None
    feature_probe: Probe | None = None
    feature_section: str = ""
    filesystem: str = ""
    prepare: tuple[tuple[str, ...], ...] = ()
    mount: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    fsync: str = "file"
    mount_in_memory: tuple[str, ...] = ()
    vectors: Path | None = None
    persistent: bool = False
    deadline: float = 900.0
    floating_point: tuple[str, ...] = ()
    not_compiled: tuple[str, ...] = ()
    libraries: tuple[str, ...] | None = None
    glibc: str = ""
    warnings: int | None = None
    feature_sets: tuple[FeatureSet, ...] = ()
    absent: tuple[str, ...] = ()
    toolchains: tuple[str, ...] = ()
    findings: tuple[tuple[str, int], ...] = ()
    recipe: Recipe = Recipe()
    expect: Expectation | None = None
    layouts: tuple[LayoutSpec, ...] = ()
    lacks: tuple[tuple[str, str], ...] = ()

    def with_profile(self, name: str) -> ArtifactSpec:
        """The artifact as that profile of cargo builds it; as it is where the name is empty."""
        return replace(self, profile=name, features=self.dev_features or self.features) if name else self

    @property
    def set_names(self) -> list[str]:
        """The names of all its feature sets."""
        return [DEFAULT_SET, *(each.name for each in self.feature_sets)]

    def built_as(self, name: str) -> ArtifactSpec:
        """The artifact as that feature set has it. KeyError where there is none of that name."""
        known = {each for chosen in self.feature_sets for each in chosen.features} | set(self.features)
        if name == DEFAULT_SET:
            return replace(self, absent=tuple(sorted(known - set(self.features))))
        chosen = _named(self.feature_sets, name)
        variables = {**dict(self.variables), **dict(chosen.variables)}
        absent = tuple(sorted(known - set(chosen.features)))
        left_out = self.not_compiled if chosen.not_compiled is None else chosen.not_compiled
        return replace(self, features=chosen.features, variables=tuple(variables.items()), absent=absent, not_compiled=left_out)


@dataclass(frozen=True)
class ArchiveSpec:
    """A package archive that kernels come from: each of its suites becomes a line of apt's sources, verified with `keyring`."""

    name: str
    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: Path


@dataclass(frozen=True)
class KernelSpec:
    """A kernel to build for.

    `pattern` (such as `6.1-cloud`) is for the provider `apt`, `folder` for `tree`. For `source`: either `package` or `tarball`
    with its `sha256`, the configuration `base` and `fragments` over it, the `toolchain` (gcc or clang), and `deadline`, the
    seconds that its build may take.
    `archives` are where packages come from, none for the machine's own sources. One that is `on_request` is built for only
    where the command line names it. `patience` multiplies the deadlines of suites in a guest that runs it.
    """

    name: str
    provider: str
    pattern: str = ""
    optional: bool = False
    archives: tuple[ArchiveSpec, ...] = ()
    on_request: bool = False
    folder: Path | None = None
    package: str = ""
    tarball: str = ""
    sha256: str = ""
    base: str = ""
    toolchain: str = "gcc"
    fragments: tuple[Path, ...] = ()
    deadline: float = 7200.0
    patience: float = 1.0


@dataclass(frozen=True)
class CloudSpec:
    """A cloud image: `source` is an absolute path, or a URL, which then has a `sha512` (else it may be empty). The disk is grown to
    `size` MiB; 0 leaves it as it is."""

    source: str
    sha512: str = ""
    size: int = 0


@dataclass(frozen=True)
class ImageSpec:
    """A guest's root filesystem: `folder` holds its definition `image.yaml` and provisioning scripts, or it is the disk of `cloud`."""

    name: str
    folder: Path | None = None
    cloud: CloudSpec | None = None


@dataclass(frozen=True)
class MachineSpec:
    """A guest. Memory in MiB; `uri` is a libvirt URI, or `private` for the tool's own. With `slots` it takes part in farms, and runs so
    many cells at once."""

    name: str
    image: str
    kernel: str
    memory: int = 1024
    cpus: int = 2
    uri: str = "private"
    slots: int = 0


@dataclass(frozen=True)
class SnapshotLimits:
    """How much the memory snapshots may take: MiB of disk together, and days since the last use."""

    size: int = 4096
    age: float = 14


@dataclass(frozen=True)
class SuiteSpec:
    """A validation suite: on which artifacts, the least number of cases, seconds for one artifact; `options` are the suite's own. One
    that is `on_request` runs only where the command line names it. `references` are file systems of the guest's own kernel on which
    it runs, too: what fails there is the suite's mistake. `kernels` are those of its guests, none for the machine's own.
    One with `parts` is only a name for these suites on its `kernels`."""

    name: str
    artifacts: tuple[str, ...]
    minimum: int
    deadline: float
    operation_deadline: float
    options: tuple[tuple[str, str], ...] = ()
    on_request: bool = False
    references: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkloadSpec:
    """One workload of a benchmark. `tool` is `fio`, `metadata` or `vectors`; `options` are the tool's own, `quick` those
    that differ with --quick; one that is `long` is left out then."""

    name: str
    tool: str
    options: tuple[tuple[str, str], ...] = ()
    quick: tuple[tuple[str, str], ...] = ()
    long: bool = False


@dataclass(frozen=True)
class BenchmarkSpec:
    """Systems measured beside each other at one `place` (`guest`, or `host`: this machine), in interleaved rounds.

    A system is an artifact's name (with `-in-memory` behind it for one without a volume) or a reference (ci/bench/systems). `silence`
    is the longest time in seconds without a growing log or CPU progress, `deadline` that of one workload in one round. `backing` is
    where volumes lie: `memory`, `disk`, or `device` (a disk of the guest's), `size` how large they are in MiB.
    One that is `on_request` runs only by its name.
    """

    name: str
    systems: tuple[str, ...]
    workloads: tuple[WorkloadSpec, ...]
    rounds: int
    deadline: float
    silence: float
    place: str = "guest"
    backing: str = "memory"
    size: int = 256
    on_request: bool = False


@dataclass(frozen=True)
class Manifest:
    """All of vexci.yaml; `root` is its folder, and every relative path starts there.

    `release` is the version that every artifact must have, empty where none is claimed.
    """

    root: Path
    path: Path
    project: str
    artifacts: tuple[ArtifactSpec, ...]
    kernels: tuple[KernelSpec, ...]
    images: tuple[ImageSpec, ...]
    machines: tuple[MachineSpec, ...]
    suites: tuple[SuiteSpec, ...]
    benchmarks: tuple[BenchmarkSpec, ...]
    release: str = ""
    snapshots: SnapshotLimits = SnapshotLimits()

    def artifact(self, name: str) -> ArtifactSpec:
        """The artifact of that name; KeyError if there is none (config.py has checked all references)."""
        return _named(self.artifacts, name)

    def kernel(self, name: str) -> KernelSpec:
        return _named(self.kernels, name)

    def image(self, name: str) -> ImageSpec:
        return _named(self.images, name)

    def machine(self, name: str) -> MachineSpec:
        return _named(self.machines, name)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Item = TypeVar("_Item", bound=_Named)


def _named(items: tuple[_Item, ...], name: str) -> _Item:
    for item in items:
        if item.name == name:
            return item
    raise KeyError(name)
