# SPDX-License-Identifier: Apache-2.0
"""`./inv release`: refuse what may not be released, make everything in a folder aside, put it in place whole; `./inv release.verify`."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import console, leftovers, store, tools
from ci.errors import ProductFailure, UsageError
from ci.model import Artifact, Kind, Verdict
from ci.pipeline import artifacts
from ci.pipeline.session import Session
from ci.record import Stage
from ci.release import check, definition, gate, notes, package, papers, sources
from ci.release.definition import FORMATS, Packaging
from ci.release.package import Contents
from ci.release.papers import Key
from ci.report import merge
from ci.validate import known

_TOOLS = ("gcc", "ld", "make", "rustc", "cargo")


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for. `records` are folders (a,b), empty for all of this project's; `output` is the folder to make."""

    version: str
    key: Key
    records: str = ""
    output: str = ""
    prebuilt: bool = False


def release(session: Session, wanted: Wanted) -> None:
    """All files of a release, or the reasons why there is none."""
    manifest, version = session.manifest, wanted.version.removeprefix("v")
    packaging = definition.read(manifest)
    wanted.key.check()
    target = Path(wanted.output) if wanted.output else manifest.root / "dist" / f"{manifest.project}-{version}"
    if target.exists():
        raise UsageError(f"{target} is already there", hint="remove it, or name another folder with --output")
    places = [Path(place) for place in wanted.records.split(",") if place]
    records = [found.record for found in merge.collect(places)] if places else store.read_records(manifest.root)
    commit = session.revision.commit
    reasons = gate.tree(manifest, version, session.revision) + known.expired(manifest, datetime.date.today())
    _refuse(reasons + gate.records(manifest, records, commit, chosen=bool(places)))
    built = artifacts.build(session)
    session.release = True
    artifacts.verify(session)
    _refuse(gate.foreign(records, commit, {(each.name, each.target): each.sha256 for each in built}))
    with session.record.stage("release") as stage, console.group("release"):
        with _aside(_parent(target), f".{target.name}-") as aside:
            _make(session, packaging, version, built, records, aside, prebuilt=wanted.prebuilt)
            papers.sign(aside, wanted.key, f"{manifest.project} {version}")
            aside.chmod(0o755)
            os.rename(aside, target)
        _show(session, stage, target, signed=bool(wanted.key.minisign or wanted.key.gpg))


@contextmanager
def _aside(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder that is gone when the body ends, and where this process is killed, when the next one starts."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    with leftovers.entry("folder", folder.name, {"path": str(folder)}):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _parent(target: Path) -> Path:
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    return target.absolute().parent


def _refuse(reasons: Sequence[str]) -> None:
    for reason in reasons[1:]:
        console.error(reason)
    if reasons:
        more = f" (and {len(reasons) - 1} more, above)" if len(reasons) > 1 else ""
        raise ProductFailure(f"no release: {reasons[0]}{more}")


def _make(
    session: Session,
    packaging: Packaging,
    version: str,
    built: Sequence[Artifact],
    records: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    prebuilt: bool,
) -> None:
    """Write every file but the signature into `folder`."""
    manifest, revision = session.manifest, session.revision
    stem = f"{manifest.project}-{version}"
    before, lines = notes.changes(manifest.root, version)
    contents = _contents(session, version, built, lines)
    sources.tarball(manifest.root, sources.files(manifest.root), stem, folder / f"{stem}.tar.gz", time=revision.time)
    for name, (place, names) in contents.sources.items():
        below = f"{contents.modules[name]}-module-{version}"
        paths = [f"{os.path.relpath(place, manifest.root)}/{each}" for each in names]
        strip = f"{os.path.relpath(place, manifest.root)}/"
        sources.tarball(manifest.root, paths, below, folder / f"{below}.tar.gz", time=revision.time, strip=strip)
    with _aside(Path(tempfile.gettempdir()), "vexci-packages-") as scratch:
        for spec in packaging.packages:
            for kind in FORMATS:
                made = package.build(packaging, spec, kind, contents, work=scratch / f"{spec.name}-{kind}", target=folder)
                console.verdict_line(Verdict.PASS, made.name)
    for artifact in built:
        _papers_of(session, artifact, folder, prebuilt=prebuilt)
    mine = [record for record in records if record["commit"] == revision.commit]
    text = notes.render(manifest.project, version, before, lines, mine, revision.commit)
    store.atomic_write(folder / "RELEASE-NOTES.md", text)
    facts = {
        "project": manifest.project,
        "version": version,
        "commit": revision.commit,
        "built": [{"name": f"{each.name} [{each.target}]", "sha256": each.sha256} for each in built],
        "tools": tools.versions(_TOOLS),
    }
    papers.write(folder, facts)


def _contents(session: Session, version: str, built: Sequence[Artifact], lines: Sequence[str]) -> Contents:
    manifest = session.manifest
    modules = [spec for spec in manifest.artifacts if spec.kind is Kind.KERNEL_MODULE]
    tracked = {spec.name: sources.files(manifest.root, os.path.relpath(spec.folder, manifest.root)) for spec in modules}
    folders = {spec.name: os.path.relpath(spec.folder, manifest.root) for spec in modules}
    return Contents(
        root=manifest.root,
        version=version,
        time=session.revision.time,
        programs={each.name: each.path for each in built if each.kind is Kind.DAEMON},
        sources={
            spec.name: (
                spec.folder,
                [name for each in tracked[spec.name] if not (name := os.path.relpath(each, folders[spec.name])).startswith(".")],
            )
            for spec in modules
        },
        modules={spec.name: Path(spec.output).stem for spec in modules},
        changes=lines,
    )


def _papers_of(session: Session, artifact: Artifact, folder: Path, *, prebuilt: bool) -> None:
    """Its bill of materials, and the module itself where it is asked for."""
    spec = session.manifest.artifact(artifact.name)
    kernel = session.kernels.get(artifact.kernel or "")
    slug = artifacts.job(session, spec, kernel).slug
    name = f"{artifact.name}-{artifact.target}" if artifact.kind is Kind.KERNEL_MODULE else artifact.name
    shutil.copyfile(session.record.run.path / "provenance" / f"{slug}.sbom.cdx.json", folder / f"{name}{check.SBOM_SUFFIX}")
    if prebuilt and artifact.kind is Kind.KERNEL_MODULE:
        shutil.copyfile(artifact.path, folder / f"{artifact.path.stem}-{artifact.target}.ko")


def _show(session: Session, stage: Stage, target: Path, *, signed: bool) -> None:
    """What was made, checked as a stranger would."""
    stage.checks += check.verify(target, check.Trust(unsigned=True))
    files = sorted(target.iterdir())
    stage.results["files"] = {path.name: store.sha256_file(path) for path in files}
    stage.detail = f"{len(files)} files in {target}" + ("" if signed else ", not signed: --key FILE or --gpg-key NAME signs them")
    _decide(stage.checks)
    console.line(stage.detail)


def verify(folder: str, trust: check.Trust) -> None:
    """Check a downloaded release; every check is shown, then the first failure decides."""
    checks = check.verify(Path(folder), trust)
    _decide(checks)
    console.verdict_line(Verdict.PASS, f"{folder} is the release that it says it is")


def _decide(checks: Sequence[Any]) -> None:
    for found in checks:
        console.verdict_line(found.verdict, f"{found.id} {found.name}: {found.detail}")
    failed = [found for found in checks if found.required and not found.verdict.ok]
    if failed:
        raise ProductFailure(f"{failed[0].name}: {failed[0].detail}")
