# SPDX-License-Identifier: Apache-2.0
"""`./inv build --twice`: everything is built again in two other folders, at two times, and must come out the same (V10)."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ci import build as builders
from ci import console, leftovers, process, store
from ci.build.job import Job
from ci.errors import InfrastructureError, ProductFailure
from ci.model import Artifact, Check, Verdict
from ci.pipeline.session import Session
from ci.process import Limits
from ci.verify import same
from ci.verify.subject import Subject

# What must make no difference: the folder (also its length), umask, time zone, language, and the times of the files.
_ROUNDS = (("one", 0o022, "UTC", "C.UTF-8", 0.0), ("another-and-longer", 0o027, "Pacific/Kiritimati", "C", 86400.0))
_NOT_COPIED = {".git", ".build", ".runs", ".venv", ".vexci", "target", "__pycache__"}
_TITLE = "the artifact in place is that of a fresh build"


def check(session: Session, jobs: list[Job], artifacts: list[Artifact]) -> None:
    """Build every job's artifact twice more and compare; every difference is kept, then the first decides."""
    with session.record.stage("twice") as stage, console.group("twice"):
        console.note("building everything twice more from nothing, in two folders: this takes as long as two first builds")
        for job in jobs:
            artifact = next((each for each in artifacts if _made_by(each, job)), None)
            if artifact is not None:  # a build that failed as expected has nothing to compare
                stage.checks += _one(session, job, artifact)
        for found in stage.checks:
            console.verdict_line(found.verdict, f"{found.id} {found.subject}: {found.detail}")
        failed = [found for found in stage.checks if not found.verdict.ok]
        if failed:
            raise ProductFailure(f"{failed[0].subject}: {failed[0].id} {failed[0].name}: {failed[0].detail}")
        stage.detail = f"{len(stage.checks)} comparisons"


def _made_by(artifact: Artifact, job: Job) -> bool:
    kernel = job.kernel.name if job.kernel else None
    mine = (artifact.name, artifact.kernel, artifact.feature_set, artifact.toolchain)
    return mine == (job.spec.name, kernel, job.feature_set, job.toolchain)


def _one(session: Session, job: Job, artifact: Artifact) -> list[Check]:
    place = job.root / ".build" / "twice"
    with leftovers.entry("folder", f"twice-{job.slug}", {"path": str(place)}):
        try:
            (one, first, *inputs), (two, second, *others) = (_build(session, job, place, number) for number in range(len(_ROUNDS)))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    if {*inputs, *others} != {artifact.inputs_sha256}:
        raise InfrastructureError(f"{job.label}: the sources changed while they were built twice", hint="run the build again")
    subject = Subject(artifact, job.spec, job.kernel, "", session.record.run)
    found = [same.check(subject, one, two, (first, second))]
    if found[0].verdict is Verdict.PASS:
        found.append(_in_place(subject, one))
    return found


def _in_place(subject: Subject, fresh: Path) -> Check:
    equal = store.sha256_file(fresh) == subject.artifact.sha256
    detail = f"sha256 {subject.artifact.sha256[:16]}…"
    if not equal:
        sections, report = same.differences(fresh, subject.artifact.path)
        kept = subject.keep("differences", report)
        said = f"{subject.artifact.path} differs in {', '.join(sections[:8])}: it was partly made by another command; './inv clean build'"
        return subject.check("V10", _TITLE, False, said, kept)
    return subject.check("V10", _TITLE, True, detail)


def _build(session: Session, job: Job, place: Path, number: int) -> tuple[Path, Path, str]:
    """One build from nothing; returns the kept file, the folder that it was built in, and the hash of its inputs."""
    name, umask, zone, language, age = _ROUNDS[number]
    root = place / name
    begin = time.monotonic()
    with console.Progress() as progress, progress.item(f"{job.label}, build {number + 1} of {len(_ROUNDS)}") as item:
        with _surroundings(umask, TZ=zone, LANG=language, LC_ALL=language, CARGO_TARGET_DIR=None):
            copy_tree(job.root, root, age)
            folder = root / os.path.relpath(job.spec.folder, job.root)
            made = builders.build(
                replace(job, root=root, spec=replace(job.spec, folder=folder), attempt=f".twice-{number + 1}", say=item.say, answers={})
            )
        kept = session.record.run.file("twice", f"{job.slug}.{number + 1}", made.path.name)
        shutil.copyfile(made.path, kept)
    _next_second()  # what has the time in it must differ, however quick the builds are
    console.verdict_line(Verdict.PASS, f"{job.label}  built in {os.path.relpath(root, job.root)}", time.monotonic() - begin)
    return kept, root, made.inputs_sha256


def _next_second() -> None:
    start = int(time.time())
    while int(time.time()) <= start + 1:
        threading.Event().wait(0.05)


@contextmanager
def _surroundings(umask: int, **variables: str | None) -> Iterator[None]:
    """Other surroundings for what is started in the body; None takes a variable away."""
    before, mask = dict(os.environ), os.umask(umask)
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        yield
    finally:
        os.umask(mask)
        os.environ.clear()
        os.environ.update(before)


def copy_tree(source: Path, target: Path, age: float) -> None:
    """What git knows of the tree (all but what builds leave where there is no git); files get `age` seconds older than now."""
    shutil.rmtree(target, ignore_errors=True)
    then = time.time() - age
    for file in tree(source):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy, follow_symlinks=False)
        if not copy.is_symlink():
            os.utime(copy, (then, then))


def tree(root: Path) -> list[Path]:
    """The files of a tree that are its sources, changes that nobody committed included."""
    err = process.scratch_file("git.err")
    done = process.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], limits=Limits(60), cwd=root, stderr=err)
    if done.ok:
        names = [root / name for name in done.text().split("\0") if name]
        return [path for path in names if path.is_symlink() or path.is_file()]
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_COPIED]
        found += [Path(place, name) for name in files]
    return found
