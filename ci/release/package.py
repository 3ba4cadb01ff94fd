# SPDX-License-Identifier: Apache-2.0
"""The .deb and .rpm of one package. nfpm writes both from one description; every time in them is the commit's."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path, PurePosixPath

from ci import process, store
from ci.errors import InfrastructureError
from ci.process import Limits
from ci.release import needs
from ci.release.definition import PackageSpec, Packaging
from ci.release.sources import packed

SECONDS = 300.0
REVISION = "1"  # of the package, behind the version of what is in it
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# lintian asks for no more than 80 characters.
_CHANGE = textwrap.TextWrapper(80, initial_indent="  * ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
_COMMON_LICENSES = {"GPL-2.0-only": "GPL-2", "Apache-2.0": "Apache-2.0"}  # by SPDX name, as Debian's base-files has them
# Folders that the package `filesystem` of every distribution of rpm packages has.
_FILESYSTEM = re.compile(r"/|/usr|/usr/(bin|sbin|src|share|share/doc|share/man|share/man/man\d)")
_DOCUMENTS = ("/usr/share/doc/", "/usr/share/man/")
# Where each shell looks for what completes a program's command line, by format; {0} is the program.
_COMPLETIONS = {
    "bash": {"deb": "/usr/share/bash-completion/completions/{0}", "rpm": "/usr/share/bash-completion/completions/{0}"},
    "zsh": {"deb": "/usr/share/zsh/vendor-completions/_{0}", "rpm": "/usr/share/zsh/site-functions/_{0}"},
    "fish": {"deb": "/usr/share/fish/vendor_completions.d/{0}.fish", "rpm": "/usr/share/fish/vendor_completions.d/{0}.fish"},
}


@dataclass(frozen=True)
class Contents:
    """What goes into packages of one version: `programs` by artifact, `sources` (folder of the module's, paths below it) by artifact,
    `module` names by artifact, `changes` one line each."""

    root: Path
    version: str
    time: int
    programs: Mapping[str, Path]
    sources: Mapping[str, tuple[Path, Sequence[str]]]
    modules: Mapping[str, str]
    changes: Sequence[str]

    @property
    def date(self) -> datetime:
        """The commit's."""
        return datetime.fromtimestamp(self.time, timezone.utc)


@dataclass(frozen=True)
class _File:
    source: Path
    target: str
    mode: int = 0o644


def build(packaging: Packaging, spec: PackageSpec, kind: str, contents: Contents, *, work: Path, target: Path) -> Path:
    """Write the package below `target` and return it. `work` is a scratch folder of this package and format alone."""
    files = _files(packaging, spec, kind, contents, work)
    config = work / "nfpm.json"
    scripts = {moment: str(_filled(spec, path, contents, work / f"script-{moment}")) for moment, path in spec.scripts[kind]}
    config.write_text(json.dumps(_config(packaging, spec, kind, contents, files, scripts, work), indent=1))
    before = set(target.iterdir())
    nfpm = Path(sys.executable).with_name("nfpm")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(contents.time), "LC_ALL": "C.UTF-8"}
    log = work / "nfpm.log"
    argv: list[str | Path] = [nfpm, "package", "--config", config, "--packager", kind, "--target", f"{target}/"]
    done = process.run(argv, limits=Limits(SECONDS), env=environment, log=log)
    made = set(target.iterdir()) - before
    if not done.ok and "no space left on device" in log.read_text().lower():
        raise store.disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), target)
    if not done.ok or len(made) != 1:
        raise InfrastructureError(f"nfpm did not make the .{kind} of {spec.name}: {log.read_text().strip()[-300:]}", evidence=(log,))
    return made.pop()


def _config(
    packaging: Packaging,
    spec: PackageSpec,
    kind: str,
    contents: Contents,
    files: Sequence[_File],
    scripts: Mapping[str, str],
    work: Path,
) -> dict[str, object]:
    mtime = contents.date.strftime("%Y-%m-%dT%H:%M:%SZ")
    programs = [contents.programs[artifact] for artifact, _ in spec.binaries]
    shell = ["/bin/sh"] if kind == "rpm" and scripts else []  # rpmbuild says so of every package with scripts, nfpm does not
    measured = (needs.deb(spec.name, programs) if kind == "deb" else needs.rpm(programs)) if programs else []
    rows = []
    for file in files:
        info = {"mode": file.mode, "mtime": mtime, "owner": "root", "group": "root"}
        document = {"type": "doc"} if kind == "rpm" and file.target.startswith(_DOCUMENTS) else {}
        rows.append({"src": str(file.source), "dst": file.target, "file_info": info, **document})
    if kind == "rpm":
        info = {"mode": 0o755, "mtime": mtime, "owner": "root", "group": "root"}
        rows += [{"dst": folder, "type": "dir", "file_info": info} for folder in _own_folders(files)]
    text = spec.description if kind == "rpm" else f"{spec.summary}\n{spec.description}"
    return {
        "name": spec.name,
        "arch": "all" if spec.module else _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "platform": "linux",
        "version": contents.version,
        "version_schema": "semver",
        "release": REVISION,
        "section": spec.section,
        "priority": "optional",
        "maintainer": packaging.maintainer,
        **({"homepage": packaging.homepage} if packaging.homepage else {}),
        "license": spec.license,
        "description": text.strip(),
        "mtime": mtime,
        "depends": [*measured, *shell, *spec.depends[kind]],
        "contents": rows,
        "scripts": dict(scripts),
        **({"changelog": str(_changes(packaging, contents, work))} if kind == "rpm" else {}),
        "rpm": {
            "summary": spec.summary[:1].upper() + spec.summary[1:],
            "buildhost": "reproducible",
            "group": "System Environment/Base",
            "compression": "gzip",
        },
        "deb": {"compression": "gzip"},
    }


def _own_folders(files: Sequence[_File]) -> list[str]:
    """The folders that the package must have for itself. rpm removes a folder only where a package has it; dpkg removes what is empty."""
    found = {str(folder) for file in files for folder in PurePosixPath(file.target).parents}
    return sorted(folder for folder in found if not _FILESYSTEM.fullmatch(folder))


def _files(packaging: Packaging, spec: PackageSpec, kind: str, contents: Contents, work: Path) -> list[_File]:
    work.mkdir(parents=True)
    found = [_File(contents.programs[artifact], path, 0o755) for artifact, path in spec.binaries]
    if spec.module:
        folder, names = contents.sources[spec.module]
        place = f"/usr/src/{contents.modules[spec.module]}-{contents.version}"
        found += [_File(folder / name, f"{place}/{name}") for name in names]
    for page in spec.man:
        text = _filled_text(spec, page, contents).encode()
        section = page.suffix[1:]
        found.append(_written(work / f"{page.name}.gz", packed(text), f"/usr/share/man/man{section}/{page.name}.gz"))
    documents = f"/usr/share/doc/{spec.name}"
    found += [_File(path, f"{documents}/examples/{path.name}") for path in spec.examples]
    found.append(_written(work / "copyright", _copyright(packaging, spec, contents).encode(), f"{documents}/copyright"))
    if kind == "deb":
        changelog = packed(_changelog(packaging, spec, contents).encode())
        found.append(_written(work / "changelog.gz", changelog, f"{documents}/changelog.Debian.gz"))
        if spec.lintian is not None:
            found.append(_File(spec.lintian, f"/usr/share/lintian/overrides/{spec.name}"))
    for artifact, path in spec.binaries if spec.completions else ():
        found += completions(contents.programs[artifact], Path(path).name, kind, work)
    return found


def completions(program: Path, name: str, kind: str, work: Path) -> list[_File]:
    """What the program itself prints for each shell. It prints under the name that it is installed by."""
    found = []
    for shell, places in _COMPLETIONS.items():
        done = process.run([program, "--completions", shell], limits=Limits(SECONDS), stderr=process.scratch_file("completions.err"))
        text = done.text()
        if not done.ok or not text.strip():
            raise InfrastructureError(f"{program} --completions {shell} printed nothing ({done.how}): it has no completions")
        found.append(_written(work / f"{name}.{shell}", text.encode(), places[kind].format(name)))
    return found


def _written(path: Path, data: bytes, target: str) -> _File:
    store.atomic_write(path, data)
    return _File(path, target)


def _filled(spec: PackageSpec, source: Path, contents: Contents, target: Path) -> Path:
    store.atomic_write(target, _filled_text(spec, source, contents))
    shutil.copymode(source, target)
    return target


def _filled_text(spec: PackageSpec, source: Path, contents: Contents) -> str:
    values = {
        "@PACKAGE@": spec.name,
        "@VERSION@": contents.version,
        "@DATE@": contents.date.strftime("%Y-%m-%d"),
        "@MODULE@": contents.modules.get(spec.module, ""),
    }
    text = source.read_text()
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _changelog(packaging: Packaging, spec: PackageSpec, contents: Contents) -> str:
    """Debian's form (deb-changelog(5))."""
    rows = "\n".join(map(_CHANGE.fill, contents.changes or ["Release."]))
    head = f"{spec.name} ({contents.version}-{REVISION}) unstable; urgency=medium"
    return f"{head}\n\n{rows}\n\n -- {packaging.maintainer}  {format_datetime(contents.date)}\n"


def _changes(packaging: Packaging, contents: Contents, work: Path) -> Path:
    """The same for rpm, as nfpm takes it (github.com/goreleaser/chglog)."""
    notes = [{"note": line} for line in contents.changes or ["Release."]]
    date = contents.date.strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = {"semver": f"{contents.version}-{REVISION}", "date": date, "packager": packaging.maintainer, "changes": notes}
    store.atomic_write(work / "changes.json", json.dumps([entry]))
    return work / "changes.json"


def _copyright(packaging: Packaging, spec: PackageSpec, contents: Contents) -> str:
    """Debian's machine-readable form (copyright-format 1.0), with the licence's own text where the system does not have it."""
    name = _COMMON_LICENSES.get(spec.license, spec.license)
    place = f"/usr/share/common-licenses/{name}" if spec.license in _COMMON_LICENSES else ""
    owner = packaging.maintainer.partition(" <")[0]
    where = f" On Debian systems the licence is in\n {place}." if place else ""
    source = f"Source: {packaging.homepage}\n" if packaging.homepage else ""
    return (
        f"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n{source}\n"
        f"Files: *\nCopyright: {contents.date.year} {owner}\nLicense: {name}\n{where}\n"
    )
