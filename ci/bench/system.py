# SPDX-License-Identifier: Apache-2.0
"""A file system that is measured: how it is set up, mounted and recognised in a guest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ci.errors import UsageError
from ci.manifest import ArtifactSpec
from ci.model import Artifact, Kind

VOLATILE = "volatile (memory)"
DURABLE = "durable (disk)"
BACKING = "{work}/backing"
BACKING_SIZE = "384m"


@dataclass(frozen=True)
class System:
    """One system. The argv lists may hold {mountpoint}, {work} (an empty folder of this measurement) and {artifact}.

    `filesystem` is the type that mountinfo must show, `foreground` says that the mount command is a daemon that stays,
    `below` are mount points that `setup` makes. `durability` says what survives a power loss after fsync; it is part of
    the fingerprint. `guest_path` is where the artifact lies in the guest; empty for a reference.
    """

    name: str
    filesystem: str
    mount: tuple[str, ...]
    foreground: bool = False
    setup: tuple[tuple[str, ...], ...] = ()
    below: tuple[str, ...] = ()
    durability: str = VOLATILE
    guest_path: str = ""
    artifact: Artifact | None = None

    @property
    def reference(self) -> bool:
        """True for a file system that is not ours and serves as a yardstick."""
        return self.artifact is None


def of_artifact(spec: ArtifactSpec, artifact: Artifact, guest_path: str) -> System:
    """The system that a built and deployed artifact is. A kernel module must be loaded already.

    Raises UsageError where the manifest does not say how to mount it, or where the file was never built.
    """
    if not spec.mount or not spec.filesystem:
        raise UsageError(f"'{spec.name}' cannot be measured: vexci.yaml gives it no 'mount' or no 'filesystem'")
    _require(spec.name, artifact.path)
    volume = f"{BACKING}/volume"
    setup, below = in_memory(*(_filled(command, volume) for command in spec.prepare)) if spec.prepare else ((), ())
    return System(
        name=spec.name,
        filesystem=spec.filesystem,
        mount=_filled(spec.mount, volume),
        setup=setup,
        below=below,
        foreground=spec.kind is Kind.DAEMON,
        durability=VOLATILE if spec.prepare or not spec.persistent else DURABLE,
        guest_path=guest_path,
        artifact=artifact,
    )


def in_memory(*commands: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The setup of a system whose volume is a file in memory, made by `commands`; and the mount points that it makes."""
    first = (("mkdir", BACKING), ("mount", "-t", "tmpfs", "-o", f"size={BACKING_SIZE}", "vexci-backing", BACKING))
    return (*first, *commands), (BACKING,)


def _filled(words: tuple[str, ...], volume: str) -> tuple[str, ...]:
    return tuple(word.replace("{volume}", volume) for word in words)


def _require(name: str, path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"'{name}' cannot be measured: {path} does not exist", hint="./inv build")
