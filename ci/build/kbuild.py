# SPDX-License-Identifier: Apache-2.0
"""Kernel modules through the kernel's own Kbuild, in a folder of their own for each kernel.

Sources are mirrored to `.build/<artifact>/<release>/`, so that two kernels never share an object file and
the source folder stays clean. Which modules were built is read from `modules.order`, which Kbuild writes.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

from ci import process, store
from ci.build import messages, sources, stamp, toolchain
from ci.build import warnings as remembered
from ci.build.job import Job
from ci.errors import InfrastructureError, ProductFailure, UsageError, VexciError
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
    if not any((job.spec.folder / name).is_file() for name in sources.KBUILD_NAMES):
        raise UsageError(f"{job.label}: no Kbuild and no Makefile in {job.relative(job.spec.folder)}")


def build(job: Job) -> Artifact:
    """Build the module for one kernel."""
    files = sources.mirror(job.spec.folder, job.folder)
    inputs = _hash(job, files)
    log = job.log("log")
    started = _make(job, log)
    output = _output(job, log)

    def rebuild() -> float:
        job.say("nothing proves where the output came from: building anew")
        output.unlink()
        for leftover in job.folder.rglob("*.o"):
            leftover.unlink()
        again = _make(job, log)
        _output(job, log)
        return again

    def warnings() -> int:
        return len(remembered.known(job.folder))

    stamp_file = job.folder / ".vexci-stamp.json"
    mark, reused = stamp.prove(output, stamp_file, inputs, started, rebuild=rebuild, warnings=warnings)
    if inputs_hash(job, output) != inputs:
        raise InfrastructureError(f"{job.label}: the sources changed while they were built", hint="run the build again")
    return stamp.artifact(job, output, mark, reused=reused, target=_kernel(job).release, log=log)


def _kernel(job: Job) -> KernelTarget:
    if job.kernel is None:
        raise UsageError(f"{job.spec.name}: a module needs a kernel to build for", hint="name one under 'kernels:' in vexci.yaml")
    return job.kernel


def inputs_hash(job: Job, output: Path) -> str:
    """SHA-256 over the module's sources, the kernel's release and the make variables."""
    return _hash(job, sources.kbuild_files(job.spec.folder))


def _hash(job: Job, files: list[Path]) -> str:
    kernel = _kernel(job)
    variables = [f"{k}={v}" for k, v in (*job.spec.variables, *toolchain.variables(job.toolchain))]
    # A kernel tree may be built anew under the same release.
    return store.sha256_tree(job.spec.folder, files, kernel.release, kernel.origin, *variables)


def analyse(job: Job) -> list[messages.Message]:
    """What W=1 and sparse say of every source file, compiled anew in a folder of its own."""
    process.find_program("sparse", hint="./inv doctor --fix installs it")
    folder = job.folder.with_name(job.folder.name + "-sparse")
    sources.mirror(job.spec.folder, folder)
    log = job.log("sparse.log")
    log.unlink(missing_ok=True)
    base = ["make", "-C", str(_kernel(job).headers), f"M={folder}"]
    process.output([*base, "clean"], deadline=120)
    done = process.run([*base, "W=1", "C=2", "modules"], limits=job.limits, log=log, env={**os.environ, "LC_ALL": "C"}, what=job.label)
    found = messages.from_log(log.read_text(errors="backslashreplace"), (str(folder), job.relative(job.spec.folder)))
    if not done.ok and not found:
        raise ProductFailure(f"{job.label}: sparse did not run ({done.how})", evidence=(log,))
    return found


def checkpatch(job: Job, script: Path) -> list[str]:
    """What `script`, the kernel's own checkpatch.pl, says of the sources with --strict, one finding a line.

    Runs beside a copy of the sources, because the script leaves files in its folder; `.checkpatch.conf` in the
    module's folder holds the justified exceptions.
    """
    folder = job.folder.with_name(job.folder.name + "-checkpatch")
    files = sources.mirror(job.spec.folder, folder)
    exceptions = job.spec.folder / ".checkpatch.conf"
    if exceptions.is_file():
        shutil.copyfile(exceptions, folder / exceptions.name)
    names = [str(file.relative_to(job.spec.folder)) for file in files if file.suffix in sources.KBUILD_SUFFIXES]
    log = job.log("checkpatch.log")
    log.unlink(missing_ok=True)
    done = process.run(["perl", script, "--no-tree", "--strict", "--terse", "-f", *names], limits=job.limits, log=log, cwd=folder)
    found = [line for line in done.text().splitlines() if re.match(r"\S+:\d+: (ERROR|WARNING|CHECK):", line)]
    if not done.ok and not found:
        raise ProductFailure(f"{job.label}: checkpatch did not run ({done.how})", evidence=(log,))
    return found


def command(job: Job) -> list[str]:
    """The make command line that builds the module."""
    # The prefix map keeps the build folder's path out of the module: two checkouts build the same bytes. The compiler's figures
    # of stack use lie beside the objects and change nothing in them.
    variables = dict((*job.spec.variables, *toolchain.variables(job.toolchain)))
    variables["KCFLAGS"] = f"-ffile-prefix-map={job.folder}=. -fstack-usage {variables.get('KCFLAGS', '')}".strip()
    argv = ["make", "-C", str(_kernel(job).headers), f"M={job.folder}", "W=1", *job.parallel]
    return argv + [f"{name}={value}" for name, value in variables.items()] + ["modules"]


def environment(job: Job) -> dict[str, str]:
    """What is added to the environment: messages must be in English to be understood."""
    return {"LC_ALL": "C"}


def _make(job: Job, log: Path) -> float:
    """Run make; returns its start in epoch seconds."""
    started = stamp.begin(job.folder)
    done = process.run(
        command(job),
        limits=job.limits,
        log=log,
        env={**os.environ, **environment(job), **job.shared},
        what=job.label,
        progress=lambda _: job.say(messages.last_line(log)),
        pass_fds=job.inherited,
    )
    remembered.update(job.folder, log.read_text(errors="backslashreplace"))
    if not done.ok:
        raise _failure(job, log, done.how)
    return started


def _failure(job: Job, log: Path, how: str) -> VexciError:
    text = log.read_text(errors="backslashreplace")
    if messages.disk_full(text, job.folder):
        return store.disk_error(OSError(errno.ENOSPC, "No space left on device"), job.folder)
    errors = messages.first_errors(messages.from_log(text, (str(job.folder), job.relative(job.spec.folder))))
    first = errors[0] if errors else None
    summary = first.text if first else (text.strip().splitlines() or ["its log is empty"])[-1]
    return ProductFailure(
        f"{job.label} does not build ({how}): {summary}",
        where=first.place if first else "",
        hint="\n".join([*(str(e) for e in errors[1:]), f"the whole log: {job.relative(log)}"]),
        evidence=(log,),
    )


def _output(job: Job, log: Path) -> Path:
    """The module's path as Kbuild itself names it in modules.order (`.ko` up to 6.1, `.o` since 6.2)."""
    order = job.folder / "modules.order"
    built = [Path(line).with_suffix(".ko") for line in order.read_text().split()] if order.is_file() else []
    built = [path if path.is_absolute() else job.folder / path for path in built]
    for path in built:
        if path.name == job.spec.output:
            if not path.is_file() or path.is_symlink():
                raise ProductFailure(f"{job.label}: Kbuild reports {path}, which is no regular file", evidence=(log,))
            return path
    names = ", ".join(p.name for p in built) or "nothing"
    raise ProductFailure(
        f"{job.label}: make succeeded but built {names}, not {job.spec.output}",
        where=job.relative(job.spec.folder),
        hint=f"obj-m in Kbuild or Makefile and 'module: {Path(job.spec.output).stem}' in vexci.yaml must name the same module",
        evidence=(log,),
    )
