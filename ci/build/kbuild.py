# SPDX-License-Identifier: Apache-2.0
"""Kernel modules through the kernel's own Kbuild, in a folder of their own for each kernel.

Sources are mirrored to `.build/<artifact>/<release>/`, so that two kernels never share an object file and
the source folder stays clean. Which modules were built is read from `modules.order`, which Kbuild writes.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from ci import packages, process, store
from ci.build import make, sources, stamp, toolchain
from ci.build import warnings as remembered
from ci.build.job import Job
from ci.errors import InfrastructureError, ProductFailure, UsageError
from ci.model import Artifact, KernelTarget


def precheck(job: Job) -> None:
    """The tools, the headers and a build file must be there."""
    process.find_program("make", hint="./inv doctor --fix installs it")
    kernel = _kernel(job)
    toolchain.check(job, kernel)
    if not (kernel.headers / "Makefile").is_file():
        raise UsageError(
            f"{job.label}: the headers of {kernel.release} are missing at {kernel.headers}",
            hint=f"apt-get install linux-headers-{kernel.release}",
        )
    if not job.spec.recipe.before and not any((job.source / name).is_file() for name in sources.KBUILD_NAMES):
        raise UsageError(
            f"{job.label}: no Kbuild and no Makefile in {job.relative(job.source)}",
            hint="name its folder with 'work:', or make it with 'before:'",
        )


def build(job: Job) -> Artifact:
    """Build the module for one kernel."""
    foreign = job.spec.recipe.foreign
    files = sources.mirror(job.spec.folder, job.folder, everything=foreign)
    inputs = _hash(job, files)
    log = job.log("log")
    started = _make(job, log, inputs)
    output = _output(job, log)

    def rebuild() -> float:
        job.say("nothing proves where the output came from: building anew")
        if foreign:
            again = make.from_nothing(job, command(job), log, inputs)
        else:
            output.unlink()
            for leftover in job.folder.rglob("*.o"):
                leftover.unlink()
            again = _make(job, log, inputs)
        _output(job, log)
        return again

    def warnings() -> int:
        return len(remembered.known(job.folder))

    stamp_file = job.folder / ".vexci-stamp.json"
    mark, reused = stamp.prove(output, stamp_file, inputs, started, rebuild=rebuild, warnings=warnings, suspect_unchanged=foreign)
    if inputs_hash(job, output) != inputs:
        raise InfrastructureError(f"{job.label}: the sources changed while they were built", hint="run the build again")
    make.refuse_copies(job, output, files, log)
    return stamp.artifact(job, output, mark, reused=reused, target=_kernel(job).release, log=log)


def _kernel(job: Job) -> KernelTarget:
    if job.kernel is None:
        raise UsageError(f"{job.spec.name}: a module needs a kernel to build for", hint="name one under 'kernels:' in vexci.yaml")
    return job.kernel


def inputs_hash(job: Job, output: Path) -> str:
    """SHA-256 over the module's sources, the kernel's release and the make variables."""
    return _hash(job, inputs(job, output))


def inputs(job: Job, output: Path) -> list[Path]:
    """The module's sources; in a foreign tree all that its Makefile may read."""
    return sources.all_files(job.spec.folder) if job.spec.recipe.foreign else sources.kbuild_files(job.spec.folder)


def _hash(job: Job, files: list[Path]) -> str:
    kernel = _kernel(job)
    family = [f"{k}={v}" for k, v in toolchain.variables(job.toolchain)]
    # A kernel tree may be built anew under the same release.
    return store.sha256_tree(job.spec.folder, files, kernel.release, kernel.origin, *make.parameters(job), *family)


def command(job: Job) -> list[str]:
    """The make command line that builds the module: the kernel's Kbuild, or the tree's own Makefile where it has goals."""
    # The prefix maps keep this machine's folders out of the module: two checkouts build the same bytes. The compiler's figures
    # of stack use lie beside the objects and change nothing in them.
    variables = dict((*job.spec.variables, *toolchain.variables(job.toolchain)))
    maps = " ".join(f"-ffile-prefix-map={old}={new}" for old, new in prefixes(job))
    variables["KCFLAGS"] = f"{maps} -fstack-usage {variables.get('KCFLAGS', '')}".strip()
    given = job.filled(f"{name}={value}" for name, value in variables.items())
    common = ["W=1", *job.parallel, *given, *_pahole(job)]
    if job.spec.recipe.goals:
        return ["make", "-C", str(job.work), *common, *job.spec.recipe.goals]
    return ["make", "-C", str(_kernel(job).headers), f"M={job.work}", *common, "modules"]


def prefixes(job: Job) -> list[tuple[str, str]]:
    """The folders of this machine, and what stands for each in the module: the sources', the unpacked headers'."""
    found = [(str(job.folder), ".")]
    above, _, below = str(_kernel(job).headers).partition("/usr/src/")
    return [*found, (f"{above}/usr/src", "/usr/src")] if above and below else found


def environment(job: Job) -> dict[str, str]:
    """What is added to the environment: messages must be in English to be understood."""
    return make.environment(job)


def _pahole(job: Job) -> list[str]:
    """pahole without -j, which makes the order of the types that it writes differ each time (V10; see scripts/Makefile.btf)."""
    program = packages.which("pahole")
    if program is None:
        return []  # Kbuild then writes no types
    path = job.folder / ".vexci-pahole"
    text = f'#!/bin/sh\nfor word do\n\tshift\n\ttest "$word" = -j || set -- "$@" "$word"\ndone\nexec {shlex.quote(program)} "$@"\n'
    if not path.is_file() or path.read_text() != text:
        store.atomic_write(path, text)
        path.chmod(0o755)
    return [f"PAHOLE={path}"]


def _make(job: Job, log: Path, inputs: str) -> float:
    """Run make; returns its start in epoch seconds. What was said of objects is remembered, whether it succeeds or not."""
    try:
        return make.run(job, command(job), log, inputs)
    finally:
        if job.folder.is_dir() and log.is_file():
            remembered.update(job.folder, log.read_text(errors="backslashreplace"))


def place(job: Job, module: Path) -> Path:
    """The folder for which Kbuild was called (`M=`): the nearest one above the module that has a modules.order."""
    for folder in module.parents:
        if (folder / "modules.order").is_file() or folder == job.folder:
            return folder
    return job.work


def _output(job: Job, log: Path) -> Path:
    """The module's path as Kbuild itself names it in modules.order (`.ko` up to 6.1, `.o` since 6.2)."""
    built = [path for order in sorted(job.folder.rglob("modules.order")) for path in _modules(order)]
    for path in built:
        if path.name == job.spec.output:
            if not path.is_file() or path.is_symlink():
                raise ProductFailure(f"{job.label}: Kbuild reports {path}, which is no regular file", evidence=(log,))
            return path
    names = ", ".join(sorted({p.name for p in built})) or "nothing"
    raise ProductFailure(
        f"{job.label}: make succeeded but built {names}, not {job.spec.output}",
        where=job.relative(job.source),
        hint=f"obj-m in Kbuild or Makefile and 'module: {Path(job.spec.output).stem}' in vexci.yaml must name the same module",
        evidence=(log,),
    )


def _modules(order: Path) -> list[Path]:
    paths = [Path(line).with_suffix(".ko") for line in order.read_text().split()]
    return [path if path.is_absolute() else order.parent / path for path in paths]
