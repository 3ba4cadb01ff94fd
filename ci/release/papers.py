# SPDX-License-Identifier: Apache-2.0
"""What lies beside the files of a release so that a stranger can check them: sums, a statement of where they come from, a signature."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.process import Limits
from ci.provenance.statement import BUILDER, PREDICATE, STATEMENT

SUMS = "SHA256SUMS"
MINISIGN, GPG = f"{SUMS}.minisig", f"{SUMS}.asc"
# What sigstore's own client calls its bundle, and what GitHub's action for attestations does.
SIGSTORE = (f"{SUMS}.sigstore.json", "attestation.json")
BUILD_TYPE = "urn:vexci:release:v1"
STATEMENT_SUFFIX = ".provenance.intoto.json"
SECONDS = 60.0
_LINE = re.compile(r"([0-9a-f]{64})  ([^/\s][^/\n]*)")


@dataclass(frozen=True)
class Key:
    """Who signs: a minisign secret key file, or the name of a key of gpg. At most one is given."""

    minisign: str = ""
    gpg: str = ""

    def check(self) -> None:
        """UsageError before anything is made where it cannot sign."""
        if self.minisign and self.gpg:
            raise UsageError("--key and --gpg-key exclude each other", hint="sign with one of them")
        if self.minisign and not Path(self.minisign).is_file():
            raise UsageError(f"--key {self.minisign}: there is no such file", hint="minisign -G makes a pair of keys")
        if self.minisign:
            process.find_program("minisign", hint="apt-get install minisign")
        if self.gpg:
            process.find_program("gpg", hint="apt-get install gnupg")


def statement(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The in-toto statement about all files of the folder; `facts`: project, version, commit, built (rows name, sha256), tools."""
    rows = [{"name": path.name, "digest": {"sha256": store.sha256_file(path)}} for path in sorted(folder.iterdir())]
    dependencies: list[dict[str, Any]] = [{"name": "source", "digest": {"gitCommit": facts["commit"]}}]
    dependencies += [{"name": row["name"], "digest": {"sha256": row["sha256"]}} for row in facts["built"]]
    return {
        "_type": STATEMENT,
        "subject": rows,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"project": facts["project"], "version": facts["version"]},
                "internalParameters": {},
                "resolvedDependencies": dependencies,
            },
            # No time and no run: the same commit gives the same bytes, and the records say when it was tested.
            "runDetails": {"builder": {"id": BUILDER, "version": dict(sorted(facts["tools"].items()))}, "metadata": {}},
        },
    }


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """The statement, then the sums over everything."""
    name = f"{facts['project']}-{facts['version']}{STATEMENT_SUFFIX}"
    store.atomic_write(folder / name, json.dumps(statement(folder, facts), indent=1) + "\n")
    rows = [f"{store.sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    store.atomic_write(folder / SUMS, "".join(rows))


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name as SHA256SUMS has it. UsageError where it is none."""
    path = folder / SUMS
    if not path.is_file():
        raise UsageError(f"{folder} holds no {SUMS}: it is no release", hint="name the folder with the downloaded files")
    found = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise UsageError(f"{line[:60]!r} is not the sum of a file", where=f"{path}:{number}")
        found[match[2]] = match[1]
    return found


def sign(folder: Path, key: Key, comment: str) -> None:
    """Sign the sums. A key with a password asks for it on the terminal."""
    target = folder / SUMS
    if key.minisign:
        _signed(["minisign", "-S", "-s", key.minisign, "-m", target, "-x", folder / MINISIGN, "-t", comment], folder / MINISIGN)
    if key.gpg:
        words: list[str | Path] = ["gpg", "--batch", "--local-user", key.gpg, "--armor", "--detach-sign", "--output", folder / GPG, target]
        _signed(words, folder / GPG)


def _signed(argv: Sequence[str | Path], made: Path) -> None:
    done = process.attached([str(word) for word in argv], limits=Limits(SECONDS), cwd=made.parent)
    if done or not made.is_file():
        raise InfrastructureError(f"{argv[0]} did not sign ({process.describe_returncode(done)})", hint="see what it said above")


def minisign_problem(folder: Path, public: str) -> str:
    """Why the signature is not that of this public key file; empty where it is."""
    argv: list[str | Path] = ["minisign", "-V", "-p", public, "-x", folder / MINISIGN, "-m", folder / SUMS]
    return _refusal(argv, folder / MINISIGN, public)


def gpg_problem(folder: Path, keyring: str) -> str:
    """Why the signature is not that of a key in this keyring file; empty where it is."""
    program = "gpgv" if shutil.which("gpgv") else "gpg"
    words = ["--keyring", str(Path(keyring).absolute())] + (["--verify"] if program == "gpg" else [])
    return _refusal([program, *words, folder / GPG, folder / SUMS], folder / GPG, keyring)


def _refusal(argv: Sequence[str | Path], signature: Path, key: str) -> str:
    if not Path(key).is_file():
        raise UsageError(f"the key {key} is not there")
    if not signature.is_file():
        return f"there is no {signature.name}: this release was not signed by such a key"
    process.find_program(str(argv[0]), hint=f"apt-get install {'minisign' if argv[0] == 'minisign' else 'gpgv'}")
    err = process.scratch_file("signature.err")
    done = process.run(argv, limits=Limits(SECONDS), stderr=err)
    words = (done.error_text() or done.text()).strip().splitlines()
    return "" if done.ok else f"{argv[0]}: {' '.join(words[-2:]) or done.how}"
