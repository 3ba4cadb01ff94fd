# SPDX-License-Identifier: Apache-2.0
"""packaging/packages.yaml -> typed values, with every mistake at once."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ci import revision
from ci.errors import UsageError
from ci.manifest import Manifest
from ci.model import Kind
from ci.reader import ConfigError, Section, load, nearest

FILE = "packaging/packages.yaml"
FORMATS = ("deb", "rpm")
FORMAT_VERSION = 1
_PERSON = re.compile(r"[^<>@]+ <[^<>@\s]+@[^<>@\s]+>")
_RESERVED = ("example", "invalid", "localhost", "test", "local")
SCRIPTS = ("postinstall", "preremove")


@dataclass(frozen=True)
class PackageSpec:
    """One package. `module` is the artifact whose sources DKMS gets, empty for binaries; `binaries` are (artifact, path on the target).

    `depends` and `scripts` are by format (deb, rpm); `man`, `examples` and `lintian` (overrides) are files of the project.
    """

    name: str
    summary: str
    description: str
    section: str
    license: str
    module: str
    binaries: tuple[tuple[str, str], ...]
    completions: bool
    depends: dict[str, tuple[str, ...]]
    scripts: dict[str, tuple[tuple[str, Path], ...]]
    man: tuple[Path, ...]
    examples: tuple[Path, ...]
    lintian: Path | None


@dataclass(frozen=True)
class Packaging:
    """All packages of the project. `machines` are those of the manifest in whose guests they are proved, one for each distribution.

    `maintainer` is `Name <address>`, of the commit's author where the file names nobody; `homepage` may be empty.
    """

    maintainer: str
    homepage: str
    machines: tuple[str, ...]
    packages: tuple[PackageSpec, ...]


def read(manifest: Manifest) -> Packaging:
    """The validated definition. UsageError where the project has none."""
    path = manifest.root / FILE
    if not path.is_file():
        raise UsageError(f"this project has no {FILE}", hint="write one: docs/releasing.md has an example")
    top = load(path)
    if top.whole("version", least=0) != FORMAT_VERSION and top.has("version"):
        top.problem("version", f"expected {FORMAT_VERSION}, the only format that this tool knows")
    packages = tuple(_package(name, section, manifest) for name, section in top.sections("packages"))
    machines = top.texts("machines")
    for name in machines:
        if name not in [machine.name for machine in manifest.machines]:
            top.problem("machines", f"'{name}' is not defined{nearest(name, [machine.name for machine in manifest.machines])}")
    found = Packaging(_maintainer(top, manifest.root), _homepage(top), machines, packages)
    top.finish()
    if top.problems:
        raise ConfigError(path, top.problems)
    return found


def _maintainer(top: Section, root: Path) -> str:
    """Who answers for the packages. A name that a template has is a mistake: nobody could ever write to it."""
    given = top.text("maintainer", "")
    if given and (not _PERSON.fullmatch(given) or _nobody(given.rpartition("@")[2].rstrip(">"))):
        top.problem("maintainer", f"'{given}' is nobody to write to; expected 'Name <address>', or nothing for the commit's author")
    author = given or revision.author(root)
    if not author:
        top.problem("maintainer", "is missing, and git knows no author: expected 'Name <address>'")
    return author


def _homepage(top: Section) -> str:
    given = top.text("homepage", "")
    if given and (not given.startswith(("https://", "http://")) or _nobody(urllib.parse.urlsplit(given).hostname or "")):
        top.problem("homepage", f"'{given}' is no page that somebody has; expected an address, or nothing")
    return given


def _nobody(host: str) -> bool:
    """Whether a host is reserved so that nobody has it (RFC 2606, RFC 6761)."""
    labels = host.lower().split(".")
    return labels[-1] in _RESERVED or (labels[-2:-1] == ["example"] and labels[-1] in ("com", "net", "org"))


def _package(name: str, section: Section, manifest: Manifest) -> PackageSpec:
    modules = [spec.name for spec in manifest.artifacts if spec.kind is Kind.KERNEL_MODULE]
    daemons = [spec.name for spec in manifest.artifacts if spec.kind is Kind.DAEMON]
    module = section.text("module", "")
    binaries = section.pairs("binaries")
    for given, known in ((module, modules), *((artifact, daemons) for artifact, _ in binaries)):
        if given and given not in known:
            section.problem("module" if known is modules else "binaries", f"'{given}' is not defined{nearest(given, known)}")
    if bool(module) == bool(binaries):
        section.problem("", "expected either 'module' or 'binaries'")
    depends = section.section("depends", required=False)
    scripts = section.section("scripts", required=False)
    spec = PackageSpec(
        name=name,
        summary=section.text("summary"),
        description=section.text("description"),
        section=section.text("section"),
        license=section.text("license"),
        module=module,
        binaries=binaries,
        completions=section.flag("completions"),
        depends={kind: depends.texts(kind) if depends else () for kind in FORMATS},
        scripts={kind: _scripts(scripts, kind, manifest.root) for kind in FORMATS},
        man=section.files("man", manifest.root),
        examples=section.files("examples", manifest.root),
        lintian=manifest.root / section.text("lintian") if section.has("lintian") else None,
    )
    for below in (depends, scripts):
        if below is not None:
            below.finish()
    section.finish()
    return spec


def _scripts(section: Section | None, kind: str, root: Path) -> tuple[tuple[str, Path], ...]:
    if section is None:
        return ()
    pairs = section.pairs(kind)
    for moment, file in pairs:
        if moment not in SCRIPTS:
            section.problem(kind, f"'{moment}' is not known{nearest(moment, SCRIPTS)}")
        if not (root / file).is_file():
            section.problem(kind, f"there is no file {root / file}")
    return tuple((moment, root / file) for moment, file in pairs)
