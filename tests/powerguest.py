# SPDX-License-Identifier: Apache-2.0
"""Guests for the suite power in tests: restored from the snapshot that the other tests use, with a volatile disk."""

from __future__ import annotations

import os
import random
import secrets
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

from ci import deploy, splat, store
from ci.guest import Guest
from ci.manifest import ArtifactSpec
from ci.model import Artifact
from ci.process import scratch_file
from ci.vm.guest import guest
from ci.vm.volatile import VolatileDisk
from tests.vm_guest import SPEC, TCG, boot


class SharedLives:
    """As ci/pipeline/lives.py, without a session of the tool."""

    def __init__(self, root: Path, run: store.RunFolder, what: list[tuple[ArtifactSpec, Artifact]], *, lies: bool = False) -> None:
        path = scratch_file(f"power-{secrets.token_hex(4)}.raw")
        path.touch()
        os.truncate(path, 256 << 20)
        self._disk = VolatileDisk(path, lies=lies)
        self._root, self._run, self._what = root, run, what
        self._stack = ExitStack()
        self._qemu = self._count = 0

    def begin(self) -> tuple[Guest, str]:
        self._stack.close()
        self._count += 1
        given = [self._disk.disk]
        started = guest(
            SPEC,
            boot(),
            accelerator=TCG,
            run=self._run,
            root=self._root,
            name=f"power-{self._count}",
            progress=print,
            warm=True,
            given=given,
        )
        machine = self._stack.enter_context(started)
        machine.splat = splat.failure
        self._qemu = int(machine.facts.qemu.partition("-")[0])
        for spec, artifact in self._what:
            deploy.deploy(machine, spec, artifact, say=print)
        return machine, machine.disk(0)

    def destroy(self) -> None:
        if self._qemu:
            with suppress(ProcessLookupError):
                os.kill(self._qemu, signal.SIGKILL)
            self._qemu = 0

    def lose(self, dice: random.Random) -> tuple[int, int]:
        self._stack.close()
        return self._disk.cut(dice)

    def close(self) -> None:
        self._stack.close()
        self._disk.close()
