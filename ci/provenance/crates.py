# SPDX-License-Identifier: Apache-2.0
"""The crates that go into a binary: cargo's own resolution for the target and the features, checksums from Cargo.lock."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci import process
from ci.errors import InfrastructureError
from ci.process import Limits

_SECONDS = 300.0  # crates that no build needed may have to be downloaded first
_ENTRY = re.compile(r'^(name|version|checksum) = "([^"]*)"$', re.MULTILINE)


@dataclass(frozen=True)
class Crate:
    """One crate. `sha256` is that of its archive, empty for one that lies in the tree; `needs` are ids of others."""

    id: str
    name: str
    version: str
    license: str
    sha256: str
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        return f"pkg:cargo/{self.name}@{self.version}"


def of_binary(folder: Path, binary: str, features: Sequence[str], target: str, cargo: Sequence[str]) -> tuple[Crate, list[Crate]]:
    """The crate that has the binary, and all that are compiled for it or for its build scripts, tests apart.

    Cargo resolves the crates of the tests too, which a build does not download: on a fresh machine it fetches them here.
    """
    err = process.scratch_file("metadata.err")
    argv = [*cargo, "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    argv += ["--features", ",".join(features)] if features else []
    done = process.run(argv, limits=Limits(_SECONDS), cwd=folder, stderr=err)
    if not done.ok:
        raise InfrastructureError(f"cargo does not say what '{binary}' is made of: {done.error_text().strip()[:300]}")
    metadata = json.loads(done.text())
    sums = _checksums(Path(metadata["workspace_root"]) / "Cargo.lock")
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(id for id in metadata["workspace_members"] if any(t["name"] == binary for t in packages[id]["targets"]))
    todo, seen = [root], dict[str, Crate]()
    while todo:
        id = todo.pop()
        if id not in seen:
            needs = _needs(nodes[id])
            seen[id] = _crate(packages[id], sums, needs)
            todo += needs
    own = seen.pop(root)
    return own, sorted(seen.values(), key=lambda crate: (crate.name, crate.version))


def _needs(node: dict[str, Any]) -> tuple[str, ...]:
    """What it is compiled with: dependencies for tests alone are none."""
    return tuple(d["pkg"] for d in node["deps"] if any(kind["kind"] != "dev" for kind in d["dep_kinds"]))


def _crate(package: dict[str, Any], sums: dict[tuple[str, str], str], needs: tuple[str, ...]) -> Crate:
    name, version = package["name"], package["version"]
    return Crate(package["id"], name, version, package["license"] or "", sums.get((name, version), ""), needs)


def _checksums(lock: Path) -> dict[tuple[str, str], str]:
    found = {}
    for block in lock.read_text().split("[[package]]")[1:]:
        entry = dict(_ENTRY.findall(block.partition("\n[")[0]))
        found[(entry["name"], entry["version"])] = entry.get("checksum", "")
    return found
