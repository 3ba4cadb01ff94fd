# SPDX-License-Identifier: Apache-2.0
"""The guests of the suite power: restored one after the other with the same volatile disk, and destroyed in mid-work."""

from __future__ import annotations

import os
import random
import secrets
import signal
from contextlib import suppress

from ci import deploy as deployer
from ci.guest import Guest
from ci.manifest import ArtifactSpec
from ci.model import Artifact
from ci.pipeline.pool import Pool
from ci.process import scratch_file
from ci.vm.volatile import VolatileDisk

Deployable = tuple[ArtifactSpec, Artifact]
DISK_MIB = 256


class PoolLives:
    """Guests of a pool's machine, with `what` deployed into each: the artifact last, before it the tools that it needs.

    `lies`: the disk forgets what was flushed, so that the suite must fail.
    """

    def __init__(self, pool: Pool, what: list[Deployable], *, lies: bool = False) -> None:
        path = scratch_file(f"power-{secrets.token_hex(4)}.raw")
        with open(path, "wb") as file:
            file.truncate(DISK_MIB << 20)
        self._what = what
        self._disk = VolatileDisk(path, lies=lies)
        self._pool = pool.with_disk(self._disk.disk, "power")
        self._qemu = 0
        self._first = True

    def begin(self) -> tuple[Guest, str]:
        """A guest restored (or booted) anew, as ci/validate/power.py wants it."""
        self._pool.discard()
        machine = self._pool.guest()
        self._qemu = int(machine.facts.qemu.partition("-")[0])
        *tools, product = self._what
        for spec, artifact in [*(tool for tool in tools if self._first or _needed(product[0], tool[0])), product]:
            deployer.deploy(machine, spec, artifact)
        self._first = False
        return machine, machine.disk(0)

    def destroy(self) -> None:
        """SIGKILL to QEMU: what is in the guest's memory, and in QEMU's, is gone."""
        if self._qemu:
            with suppress(ProcessLookupError):  # it has ended already
                os.kill(self._qemu, signal.SIGKILL)
            self._qemu = 0

    def lose(self, dice: random.Random) -> tuple[int, int]:
        """What the disk makes of the power cut."""
        self._pool.discard()
        return self._disk.cut(dice)

    def close(self) -> None:
        """No more guests; the disk goes."""
        self._pool.discard()
        self._disk.close()


def _needed(spec: ArtifactSpec, tool: ArtifactSpec) -> bool:
    """Whether a guest after the first, whose volume is there, calls the tool."""
    return any(f"/{tool.name}/" in word for word in (*spec.check, *spec.mount))
