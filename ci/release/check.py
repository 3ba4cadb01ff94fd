# SPDX-License-Identifier: Apache-2.0
"""Whether a downloaded folder is the release that it says it is. Reads the files alone: no clone, no network, no trust in names."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci import store
from ci.errors import UsageError
from ci.model import Check, Verdict
from ci.release import papers, rpm, sigstore
from ci.release.sigstore import Signer

SBOM_SUFFIX = ".sbom.cdx.json"
_NOBODY = "nobody to trust was named: --public-key FILE (minisign), --keyring FILE (gpg) or --identity OWNER/REPOSITORY (sigstore)"
_NOBODY += "; --unsigned leaves this out"
_AR_MAGIC = b"!<arch>\n"
_PROGRAM = 0o111


@dataclass(frozen=True)
class Trust:
    """Whom a stranger trusts: the file of a minisign key, one of gpg keys, who signs by sigstore; `unsigned` is nobody, on request."""

    public: str = ""
    keyring: str = ""
    signer: Signer = field(default_factory=Signer)
    unsigned: bool = False


def verify(folder: Path, trust: Trust) -> list[Check]:
    """One check for each thing that a stranger can look at: sums, signature, statement, bills of materials, what the packages hold."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="name the folder with the downloaded files")
    wanted = papers.sums(folder)
    statement, problem = _statement(folder, wanted)
    checks = [_sums(folder, wanted), *_signatures(folder, trust, _version(statement))]
    checks.append(_check("R3", "statement", folder, problem, f"{len(wanted) - 1} files, commit {_commit(statement)}"))
    bills, problem = _bills(folder)
    built = {row["digest"].get("sha256") for row in _dependencies(statement)} - {None}
    strangers = sorted(name for name, digest in bills.items() if digest not in built)
    if strangers and not problem:
        problem = f"{strangers[0]} is about a file that the statement does not name"
    checks.append(_check("R4", "bills of materials", folder, problem, f"{len(bills)}, each about a file that the statement names"))
    checks.append(_packages(folder, built))
    return checks


def _signatures(folder: Path, trust: Trust, version: str) -> list[Check]:
    """A check for each signature that there is somebody to trust for; what is there and was not looked at is said."""
    if trust.unsigned:
        return [Check("R2", "signature", folder.name, Verdict.SKIP, "left out on request (--unsigned)", required=False)]
    found = []
    if trust.public:
        found.append(_check("R2", "signature", folder, papers.minisign_problem(folder, trust.public), "made by the given key"))
    if trust.keyring:
        found.append(_check("R2", "signature", folder, papers.gpg_problem(folder, trust.keyring), "made by a key of the given keyring"))
    if trust.signer.identity:
        good = f"made by {trust.signer.certified(version)}, as {trust.signer.issuer} says"
        found.append(_check("R2", "sigstore signature", folder, sigstore.problem(folder, trust.signer, version), good))
    if not found:
        return [_check("R2", "signature", folder, _NOBODY, "")]
    bundle = sigstore.bundle_of(folder)
    if bundle is not None and not trust.signer.identity:
        detail = f"{bundle.name} is there and was not looked at: --identity says who must have signed it"
        found.append(Check("R2", "sigstore signature", folder.name, Verdict.SKIP, detail, required=False))
    return found


def _check(id: str, name: str, folder: Path, problem: str, good: str) -> Check:
    return Check(id, name, folder.name, Verdict.FAIL if problem else Verdict.PASS, problem or good)


def _sums(folder: Path, wanted: dict[str, str]) -> Check:
    present = {path.name for path in folder.iterdir()} - {papers.SUMS, papers.MINISIGN, papers.GPG, *papers.SIGSTORE}
    missing, foreign = sorted(set(wanted) - present), sorted(present - set(wanted))
    wrong = [name for name, digest in wanted.items() if name in present and _digest(folder / name) != digest]
    problem = ""
    if wrong:
        problem = f"{wrong[0]} is not the file that was released: its hash is another"
    elif missing:
        problem = f"{missing[0]} is missing"
    elif foreign:
        problem = f"{foreign[0]} is not part of the release"
    elif not wanted:
        problem = "it names no file"
    return _check("R1", "hashes", folder, problem, f"{len(wanted)} files are as {papers.SUMS} has them")


def _digest(path: Path) -> str:
    return store.sha256_file(path) if path.is_file() else ""


def _statement(folder: Path, wanted: dict[str, str]) -> tuple[dict[str, Any], str]:
    """The statement and what is wrong with it: it must name every other file with its hash."""
    names = [name for name in wanted if name.endswith(papers.STATEMENT_SUFFIX)]
    if len(names) != 1 or not (folder / names[0]).is_file():
        return {}, f"{len(names)} statements are there, expected one"
    try:
        content: dict[str, Any] = json.loads((folder / names[0]).read_text())
        seen = {row["name"]: row["digest"]["sha256"] for row in content["subject"]}
        kind = content["predicate"]["buildDefinition"]["buildType"]
    except (ValueError, KeyError, TypeError) as error:
        return {}, f"{names[0]} is no statement: {error}"
    others = {name: digest for name, digest in wanted.items() if name != names[0]}
    if kind != papers.BUILD_TYPE:
        return content, f"{names[0]} is about something else: {kind}"
    differing = sorted(name for name in set(seen) | set(others) if seen.get(name) != others.get(name))
    return content, f"{names[0]} and {papers.SUMS} differ about {differing[0]}" if differing else ""


def _dependencies(statement: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = statement.get("predicate", {}).get("buildDefinition", {}).get("resolvedDependencies", [])
    return rows


def _version(statement: dict[str, Any]) -> str:
    version: str = statement.get("predicate", {}).get("buildDefinition", {}).get("externalParameters", {}).get("version", "")
    return version


def _commit(statement: dict[str, Any]) -> str:
    return next((row["digest"]["gitCommit"][:12] for row in _dependencies(statement) if "gitCommit" in row["digest"]), "unknown")


def _bills(folder: Path) -> tuple[dict[str, str], str]:
    """The hash of what each bill is about, by the bill's name, and what is wrong with the first bad one."""
    from cyclonedx.model.bom import Bom

    found = {}
    for path in sorted(folder.glob(f"*{SBOM_SUFFIX}")):
        try:
            bom = Bom.from_json(json.loads(path.read_text()))  # type: ignore[attr-defined]
            found[path.name] = bom.metadata.component.hashes[0].content
        except Exception as error:
            # The library raises whatever its parts do; each of them means the same here, and the words are passed on.
            return found, f"{path.name} is no CycloneDX bill: {type(error).__name__}: {error}"
    return found, "" if found else "there is none"


def _packages(folder: Path, built: set[str]) -> Check:
    """Each program in each package must be one that the statement names."""
    count, problem = 0, ""
    readers = [(path, programs) for path in sorted(folder.glob("*.deb"))] + [(path, rpm.programs) for path in sorted(folder.glob("*.rpm"))]
    for path, read in readers:
        try:
            found = list(read(path))
        except (ValueError, tarfile.TarError, EOFError, OSError, zlib.error) as error:
            problem = problem or f"{path.name} is no package: {error}"
            continue
        for name, digest in found:
            count += 1
            if digest not in built and not problem:
                problem = f"{path.name} holds {name}, which the statement does not name"
    return _check("R5", "programs in packages", folder, problem, f"{count}, each one that the statement names")


def programs(path: Path) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of every executable below /usr/sbin and /usr/bin of a .deb (deb(5): an ar archive)."""
    data = _member(path.read_bytes(), "data.tar")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            name = "/" + entry.name.removeprefix("./").lstrip("/")
            file = tar.extractfile(entry) if entry.isfile() and name.startswith(("/usr/sbin/", "/usr/bin/")) else None
            if file is not None and entry.mode & _PROGRAM:
                yield name, hashlib.sha256(file.read()).hexdigest()


def _member(data: bytes, name: str) -> bytes:
    """The member of an ar archive whose name begins so (ar(5): headers of 60 bytes, members at even offsets)."""
    if not data.startswith(_AR_MAGIC):
        raise ValueError("not an ar archive")
    at = len(_AR_MAGIC)
    while at + 60 <= len(data):
        head = data[at : at + 60]
        size = int(head[48:58])
        if head[:16].decode("ascii").startswith(name):
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError(f"it has no {name}")
