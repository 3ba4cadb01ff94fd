# SPDX-License-Identifier: Apache-2.0
"""A file system that is measured: how it is set up, mounted and recognised in a guest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ci.errors import UsageError
from ci.fingerprint import CONTROL
from ci.manifest import ArtifactSpec
from ci.model import Artifact, Kind

VOLATILE = "volatile (memory)"
DURABLE = "durable (disk)"
LOGGED = "in a log that is synced some seconds later"
BACKING = "{work}/backing"
BACKING_SIZE = "768m"
SIZE = "{size}"
DEVICE = "durable (a disk of the guest, flushed to the host's disk)"
# How a system is reached; only the like are compared.
IN_MEMORY = "-in-memory"  # after an artifact's name
EMBEDDED = "on this machine, without a server"
SERVER = "a server over loopback"


@dataclass(frozen=True)
class System:
    """One system. The argv lists may hold {mountpoint}, {work} (an empty folder of this measurement), {size} and {artifact}.

    `filesystem` is the type that mountinfo must show, `foreground` says that the mount command is a daemon that stays,
    `below` are mount points that `setup` makes; `make` are those commands of it that make the `volume`. `durability` says what
    survives a power loss after fsync; it is part of the fingerprint. `guest_path` is where the artifact lies in the guest; empty
    for a reference.

    A system without a `filesystem` mounts nothing: `mount` is then the server that stays (or empty for a library), `ready` the
    command that ends with 0 once it answers; both may hold {port}, a free one. `engine` is its adapter in ci/bench/vectors, with the
    client library `module` and the volume file `stored` where it has them. `only_here` is a system that no guest has, `programs`
    are those that it needs of this machine, `compose` is the file that describes its server, `after` are commands that run at the end
    whatever happened, `absent` says why it cannot be measured and what would help. `slowed` marks the control, whose work is really
    done twice or with pauses.
    """

    name: str
    filesystem: str
    mount: tuple[str, ...]
    foreground: bool = False
    setup: tuple[tuple[str, ...], ...] = ()
    below: tuple[str, ...] = ()
    volume: str = ""
    make: tuple[tuple[str, ...], ...] = ()
    durability: str = VOLATILE
    guest_path: str = ""
    artifact: Artifact | None = None
    ready: tuple[str, ...] = ()
    engine: str = ""
    module: Path | None = None
    stored: str = ""
    url: str = ""
    access: str = EMBEDDED
    only_here: bool = False
    programs: tuple[str, ...] = ()
    compose: Path | None = None
    after: tuple[tuple[str, ...], ...] = ()
    absent: str = ""
    slowed: bool = False

    @property
    def reference(self) -> bool:
        """True for a file system that is not ours and serves as a yardstick."""
        return self.artifact is None


def of_artifact(spec: ArtifactSpec, artifact: Artifact, guest_path: str, *, on_disk: bool = False) -> System:
    """The system that a built and deployed artifact is; its volume lies in memory or, `on_disk`, beside the measurement.

    A kernel module must be loaded already.

    Raises UsageError where the manifest does not say how to mount it, or where the file was never built.
    """
    if not spec.mount or not spec.filesystem:
        raise UsageError(f"'{spec.name}' cannot be measured: vexci.yaml gives it no 'mount' or no 'filesystem'")
    _require(spec.name, artifact.path)
    volume = f"{BACKING}/volume"
    place = on_the_disk if on_disk else in_memory
    make = tuple(_filled(command, volume) for command in spec.prepare)
    setup, below = place(*make) if make else ((), ())
    return System(
        name=spec.name,
        filesystem=spec.filesystem,
        mount=_filled(spec.mount, volume),
        setup=setup,
        below=below,
        volume=volume if make else "",
        make=make,
        foreground=spec.kind is Kind.DAEMON,
        durability=DURABLE if spec.persistent and (on_disk or not spec.prepare) else VOLATILE,
        guest_path=guest_path,
        artifact=artifact,
        engine="client" if spec.vectors else "",
        module=spec.vectors,
        stored=volume if spec.prepare else "",
    )


def in_memory(*commands: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The setup of a system whose volume is a file in memory, made by `commands`; and the mount points that it makes."""
    first = (("mkdir", BACKING), ("mount", "-t", "tmpfs", "-o", f"size={BACKING_SIZE}", "vexci-backing", BACKING))
    return (*first, *commands), (BACKING,)


def on_the_disk(*commands: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The same with the volume on the disk that the measurement's folder is on; nothing is to be unmounted."""
    return (("mkdir", BACKING), *commands), ()


def on_device(system: System, device: str) -> System:
    """The same system with its volume on a block device, made there anew by each setup and mounted without a loop device over it.

    Raises UsageError for a system that has no volume.
    """
    if not system.make:
        raise UsageError(f"'{system.name}' cannot be measured on a device: it has no volume")
    mount = tuple(word.replace(system.volume, device) for word in system.mount)
    pairs = list(zip(mount, [*mount[1:], ""], strict=True))
    drop = {place + step for place, pair in enumerate(pairs) if pair == ("-o", "loop") for step in (0, 1)}
    # The first MiB, where they look for each other: a mkfs asks no question of what the last system left.
    wipe = ("dd", "if=/dev/zero", f"of={device}", "bs=64k", "count=16", "conv=fsync", "status=none")
    make = (wipe, *(tuple(word.replace(system.volume, device) for word in command) for command in system.make))
    return replace(
        system,
        setup=make,
        make=make,
        mount=tuple(word for place, word in enumerate(mount) if place not in drop),
        below=(),
        volume=device,
        stored=device if system.stored else "",
        durability=DEVICE,
    )


def without_volume(spec: ArtifactSpec, system: System) -> System:
    """The artifact mounted by its `mount_in_memory`: no volume, everything in the daemon's own memory."""
    if not spec.mount_in_memory:
        raise UsageError(f"'{spec.name}' cannot be measured without a volume: vexci.yaml gives it no 'mount_in_memory'")
    name = f"{spec.name}{IN_MEMORY}"
    files = replace(system, name=name, stored="", engine="", module=None)
    return replace(files, mount=spec.mount_in_memory, setup=(), below=(), durability=VOLATILE)


def slowed(system: System) -> System:
    """The control: the same system, its work done twice or with pauses, which must show up as slower (failure mode P3)."""
    return replace(system, name=f"{system.name}{CONTROL}", slowed=True)


def _filled(words: tuple[str, ...], volume: str) -> tuple[str, ...]:
    return tuple(word.replace("{volume}", volume) for word in words)


def _require(name: str, path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"'{name}' cannot be measured: {path} does not exist", hint="./inv build")
