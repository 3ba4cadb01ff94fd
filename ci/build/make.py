# SPDX-License-Identifier: Apache-2.0
"""Programs whose own Makefile builds them, in a copy of their tree; and what every build through make has in common.

A recipe can hide its failure (a shell that ignores it, then a cp of an old file), so that make's exit code proves nothing (B4):
the compiler's errors are looked for in the log, the output must have been written by this build, and it must not be a file that
lay in the tree.
"""

from __future__ import annotations

import errno
import os
import platform
import re
from dataclasses import replace
from pathlib import Path

from ci import process, store
from ci.build import before, messages, reads, sources, stamp
from ci.build.job import Job
from ci.build.messages import Message
from ci.errors import InfrastructureError, ProductFailure, UsageError, VexciError
from ci.model import Artifact

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")


def precheck(job: Job) -> None:
    """The tools and a Makefile must be there (one that a pre-step makes is not there yet)."""
    process.find_program("make", hint="./inv doctor --fix installs it")
    process.find_program(_compiler(job), hint="./inv doctor --fix installs gcc; another compiler is yours to install")
    if not job.spec.recipe.before and not any((job.source / name).is_file() for name in _MAKEFILES):
        raise UsageError(
            f"{job.label}: no Makefile in {job.relative(job.source)}", hint="name its folder with 'work:', or make it with 'before:'"
        )


def _compiler(job: Job) -> str:
    return job.spec.recipe.toolchain or "gcc"


def build(job: Job) -> Artifact:
    """Build the program."""
    first = not sources.mirrored(job.folder)
    files = fresh_copy(job)
    inputs = _hash(job, files)
    log = job.log("log")
    started = watched(job, files, command(job), log, inputs) if first else run(job, command(job), log, inputs)
    output = _output(job, log)

    def rebuild() -> float:
        job.say("nothing proves where the output came from: building anew from an empty folder")
        again = from_nothing(job, command(job), log, inputs)
        _output(job, log)
        return again

    def warnings() -> int:
        return sum(1 for m in messages.from_log(log.read_text(errors="backslashreplace")) if m.severity == "warning")

    mark, reused = stamp.prove(
        output, job.folder / ".vexci-stamp.json", inputs, started, rebuild=rebuild, warnings=warnings, suspect_unchanged=True
    )
    if inputs_hash(job, output) != inputs:
        raise InfrastructureError(f"{job.label}: the sources changed while they were built", hint="run the build again")
    refuse_copies(job, output, files, log)
    return stamp.artifact(job, output, mark, reused=reused, target=_triple(job), log=log)


def fresh_copy(job: Job) -> list[Path]:
    """The copy of the tree in the build folder, brought up to date; returns the sources."""
    return sources.mirror(job.spec.folder, job.folder, everything=True)


def inputs_hash(job: Job, output: Path) -> str:
    """SHA-256 over the tree and everything in the manifest that the build is called with."""
    return _hash(job, inputs(job, output))


def inputs(job: Job, output: Path) -> list[Path]:
    """The whole tree: its Makefile may read any of it."""
    return sources.all_files(job.spec.folder)


def _hash(job: Job, files: list[Path]) -> str:
    return store.sha256_tree(job.spec.folder, files, *parameters(job))


def parameters(job: Job) -> list[str]:
    """What a build through make is called with, apart from the kernel."""
    recipe = job.spec.recipe
    words = [word for step in recipe.before for word in ("before", *step)]
    found = [f"{k}={v}" for k, v in job.spec.variables] + words
    return found + ([f"{recipe.work}|{' '.join(recipe.goals)}|{recipe.toolchain}"] if recipe != type(recipe)() else [])


def command(job: Job) -> list[str]:
    """The make command line that builds the program."""
    variables = {**({"CC": job.spec.recipe.toolchain} if job.spec.recipe.toolchain else {}), **dict(job.spec.variables)}
    given = job.filled(f"{name}={value}" for name, value in variables.items())
    return ["make", "-C", str(job.work), *job.parallel, *given, *job.spec.recipe.goals]


def environment(job: Job) -> dict[str, str]:
    """What is added to the environment: messages in English, the commit's time, and no path of this machine in what is compiled."""
    return {"LC_ALL": "C", **job.clock}


def run(job: Job, argv: list[str], log: Path, inputs: str) -> float:
    """Run the pre-steps and make; returns the start in epoch seconds. A full or flooded disk leaves no build folder behind."""
    started = stamp.begin(job.folder)
    try:
        before.run(job, job.work, lambda: inputs)
        done = process.run(
            argv,
            limits=job.limits,
            log=log,
            env={**os.environ, **environment(job), **job.shared},
            what=job.label,
            progress=lambda _: job.say(messages.last_line(log)),
            pass_fds=job.inherited,
        )
    except InfrastructureError:
        sources.empty(job.folder)
        raise
    if not done.ok:
        raise failure(job, log, done.how)
    refuse_hidden_failure(job, log)
    return started


def from_nothing(job: Job, argv: list[str], log: Path, inputs: str) -> float:
    """The same in an empty build folder."""
    sources.empty(job.folder)
    files = fresh_copy(job)
    log.unlink(missing_ok=True)
    return watched(job, files, argv, log, inputs)


def watched(job: Job, files: list[Path], argv: list[str], log: Path, inputs: str) -> float:
    """The same in a folder that holds nothing but the sources `files`: ProductFailure where none of them was read (B3)."""
    seen = reads.watch(job.folder, [job.folder / file.relative_to(job.spec.folder) for file in files])
    started = run(job, argv, log, inputs)
    output = job.work / job.spec.output
    if reads.unread(seen) and output.is_file() and not output.is_symlink() and output.read_bytes()[:4] == b"\x7fELF":
        refuse_copies(job, output, files, log)
        sources.empty(job.folder)
        raise ProductFailure(
            f"{job.label}: make ended with success and read none of the {len(seen)} source files; {job.spec.output} comes from elsewhere "
            "(stale output)",
            where=job.relative(job.source),
            hint=f"its recipe takes a file that an earlier build left; look for 'cp' in it. The whole log: {job.relative(log)}",
            evidence=(log,),
        )
    return started


def _messages(job: Job, text: str) -> list[Message]:
    """The messages of a log, their places as a person knows them: in the sources, and not in the copy that is built."""
    found = messages.from_log(text, (str(job.folder), job.relative(job.spec.folder)))
    return [replace(m, place=f"{job.relative(job.source)}/{m.place}") if _beside(job, m.place) else m for m in found]


def _beside(job: Job, place: str) -> bool:
    """Whether a compiler named the file as seen from where make was called."""
    file = place.rpartition(":")[0]
    return bool(file) and not os.path.isabs(file) and (job.source / file).is_file() and not (job.root / file).is_file()


def failure(job: Job, log: Path, how: str) -> VexciError:
    """Why make failed: the disk, or the first errors that stand in its log."""
    text = log.read_text(errors="backslashreplace")
    if messages.disk_full(text, job.folder):
        return store.disk_error(OSError(errno.ENOSPC, "No space left on device"), job.folder)
    errors = messages.first_errors(_messages(job, text))
    first = errors[0] if errors else None
    summary = first.text if first else (text.strip().splitlines() or ["its log is empty"])[-1]
    return ProductFailure(
        f"{job.label} does not build ({how}): {summary}",
        where=first.place if first else "",
        hint="\n".join([*(str(e) for e in errors[1:]), f"the whole log: {job.relative(log)}"]),
        evidence=(log,),
    )


def refuse_hidden_failure(job: Job, log: Path) -> None:
    """Make succeeded; a compiler that reported an error in the same log did not (B4)."""
    found = _messages(job, log.read_text(errors="backslashreplace"))
    errors = [message for message in found if message.severity == "error" and message.place]
    if errors:
        raise ProductFailure(
            f"{job.label}: make ended with success, but the compiler did not: {errors[0].text}",
            where=errors[0].place,
            hint=f"the recipe hides its failure; look for '||', '-' or ';' around the compiler. The whole log: {job.relative(log)}",
            evidence=(log,),
        )


def refuse_copies(job: Job, output: Path, files: list[Path], log: Path) -> None:
    """An output that is byte for byte a file of the tree was copied, not built (B4)."""
    size = output.stat().st_size
    for file in files:
        if file.stat().st_size == size and store.sha256_file(file) == store.sha256_file(output):
            raise ProductFailure(
                f"{job.label}: {job.relative(output)} is a copy of {job.relative(file)}, which lies in the tree; nothing was built",
                where=job.relative(file),
                hint="let the recipe compile it, and take the file out of the sources",
                evidence=(log,),
            )


def _output(job: Job, log: Path) -> Path:
    """The declared output. It must be a file that lies in the build folder: not a folder, not a link that leads elsewhere."""
    path = job.work / job.spec.output
    shown = f"'output: {job.spec.output}'"
    if path.is_symlink() and not path.exists():
        raise _no_output(job, f"{shown} is a link to {os.readlink(path)}, which does not exist", log)
    if path.is_dir():
        raise _no_output(job, f"{shown} is a folder", log)
    if not path.is_file():
        beside = sorted(p.name for p in path.parent.glob("[!.]*") if p.is_file()) if path.parent.is_dir() else []
        made = f"; beside it lie {', '.join(beside[:8])}" if beside else ""
        raise _no_output(job, f"make succeeded and made no {shown}{made}", log)
    real = path.resolve()
    if not real.is_relative_to(job.folder.resolve()):
        raise _no_output(job, f"{shown} is a link out of the build folder, to {real}", log)
    return real if path.is_symlink() else path


def _no_output(job: Job, what: str, log: Path) -> ProductFailure:
    hint = f"'output:' of {job.spec.name} in the manifest names the file that make writes, relative to {job.relative(job.work)}"
    return ProductFailure(f"{job.label}: {what}", where=job.relative(job.source), hint=hint, evidence=(log,))


def _triple(job: Job) -> str:
    """The target triple: the manifest's, else what the compiler says of itself (`x86_64-linux-gnu`)."""
    if job.spec.recipe.target:
        return job.spec.recipe.target
    said = process.output([_compiler(job), "-dumpmachine"]).strip()
    return said if re.match(r"\w+-", said) else f"{platform.machine()}-linux-gnu"
