# SPDX-License-Identifier: Apache-2.0
"""A guest that many tests share, and what is deployed and judged in it. A guest that a test has killed is replaced."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pytest

from ci import deploy, process, splat, store
from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, Deployment, KernelTarget, Kind, SuiteResult
from ci.process import Limits
from ci.validate import run_suite
from ci.vm.guest import guest
from ci.vm.machine import Machine
from tests.vm_guest import KERNEL, SPEC, TCG, boot

# For a fixture that wants a guest of every kernel that the module is for: the first always, the others in soak runs.
KERNELS = (KERNEL, pytest.param("debian-6.12", marks=pytest.mark.soak))
ZOO = Path(__file__).resolve().parent / "zoo"


class Since(Machine):
    """A view of a machine whose console begins now: what earlier specimens did is theirs."""

    def __init__(self, machine: Machine) -> None:
        self.__dict__.update(machine.__dict__)
        self._begin = len(machine.console_text())

    def console_text(self) -> str:
        return super().console_text()[self._begin :]


class SmokeGuest:
    """Boots a guest when it is first asked for; `kernel` is one of vexci.yaml's, `memory` in MiB."""

    def __init__(self, folder: Path, kernel: str = KERNEL, memory: int = SPEC.memory) -> None:
        self._spec = replace(SPEC, kernel=kernel, memory=memory)
        self.run = store.RunFolder(folder)
        self._folder = folder
        self._stack = ExitStack()
        self._machine: Machine | None = None
        self._count = 0

    def __enter__(self) -> SmokeGuest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.discard()

    def discard(self) -> None:
        """End the guest; the next test gets another."""
        self._machine = None
        self._stack.close()

    def machine(self) -> Machine:
        """The living guest."""
        if self._machine is None or not self._machine.alive():
            self.discard()
            self._count += 1
            name = f"smoke-{self._count}"
            started = guest(
                self._spec, boot(self._spec.kernel), accelerator=TCG, run=self.run, root=self._folder, name=name, progress=print, warm=True
            )
            self._machine = self._stack.enter_context(started)
            self._machine.splat = splat.failure
        return self._machine

    def deploy(self, spec: ArtifactSpec, artifact: Artifact) -> Deployment:
        """Deploy into the guest."""
        return deploy.deploy(self.machine(), spec, artifact, say=print)

    def judge(
        self, spec: ArtifactSpec, artifact: Artifact, *, only: tuple[str, ...] = (), minimum: int = 1, operation_deadline: float = 15.0
    ) -> SuiteResult:
        """The smoke suite on what is deployed."""
        suite = SuiteSpec("smoke", (spec.name,), minimum, 120.0, operation_deadline)
        return run_suite(Since(self.machine()), suite, spec, artifact, run=self.run, progress=None, only=only)


def built(path: Path, kind: Kind, target: str) -> Artifact:
    """The artifact of a file that a test has just built."""
    return Artifact(
        name=path.stem,
        kind=kind,
        path=path,
        sha256=store.sha256_file(path),
        size=path.stat().st_size,
        features=(),
        target=target,
        kernel=None,
        commit="",
        dirty=False,
        inputs_sha256="",
        started=0.0,
        modified=0.0,
        warnings=0,
        reused=False,
        log="",
    )


def zoo_modules(folder: Path, kernel: KernelTarget, defects: str = "", comment: str = "") -> Path:
    """A folder with the zoo's kernel modules, `zoo_<defect>.ko`; a `comment` in the source makes it another build."""
    shutil.copytree(ZOO / "kernel", folder)
    with open(folder / "zoofs.c", "a") as source:
        source.write(comment)
    argv = ["make", "-C", kernel.headers, f"M={folder}", "modules", *([f"ZOO={defects}"] if defects else [])]
    log = folder / "build.log"
    done = process.run(argv, limits=Limits(180), log=log)
    assert done.ok, log.read_text()
    return folder


def module(folder: Path, defect: str, kernel: KernelTarget) -> tuple[ArtifactSpec, Artifact]:
    """A module of the zoo as the manifest would have it."""
    name = f"zoo_{defect}"
    mount = ("mount", "-t", name, name, "{mountpoint}")
    spec = ArtifactSpec(name, Kind.KERNEL_MODULE, "kbuild", folder, f"{name}.ko", filesystem=name, mount=mount)
    return spec, built(folder / f"{name}.ko", Kind.KERNEL_MODULE, kernel.release)


def daemon(folder: Path, defect: str, number: int = 1) -> tuple[ArtifactSpec, Artifact]:
    """A daemon of the zoo, statically linked so that it runs in any guest; another `number` makes it another build."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"zoo_{defect}"
    flags = ["-static", "-O1", "-Wall", "-Werror", f"-DDEFECT={defect.upper()}", f"-DBUILD={number}"]
    process.output(["cc", *flags, "-o", path, ZOO / "daemons" / "daemon.c"], deadline=60)
    spec = ArtifactSpec(path.name, Kind.DAEMON, "cargo", folder, path.name, filesystem="fuse.zoo", mount=("{artifact}", "{mountpoint}"))
    return spec, built(path, Kind.DAEMON, "static")
