# SPDX-License-Identifier: Apache-2.0
"""The papers of a Rust binary name what cargo compiled into it, with the hashes of Cargo.lock, the same each time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ci.model import Artifact, Kind
from ci.provenance import crates, sbom, statement
from ci.provenance.facts import Facts
from tests import builds, tool

pytestmark = pytest.mark.integration

FUSE = tool.ROOT / "fuse"
SCHEMA = json.loads((tool.ROOT / "tests/schemas/intoto-slsa-provenance-v1.json").read_text())
Resolved = tuple[crates.Crate, list[crates.Crate]]


@pytest.fixture(scope="module")
def resolved() -> Resolved:
    return crates.of_binary(FUSE, "vexfs_fuse", ["fuse_support"], builds.TRIPLE, ["cargo"])


def facts(folder: Path) -> Facts:
    file = folder / "vexfs_fuse"
    file.write_bytes(b"a binary")
    kind, features, commit, inputs_sha256 = Kind.DAEMON, ("fuse_support",), "c" * 40, "d" * 64
    made = Artifact("d", kind, file, "ab" * 32, 8, features, builds.TRIPLE, None, commit, False, inputs_sha256, 5.0, 6.0, 0, False, "log")
    spec = replace(builds.DAEMON, folder=FUSE, output="vexfs_fuse")
    inputs = (FUSE / "Cargo.toml", FUSE / "src/lib.rs")
    return Facts(
        "demo", "0.1.0", made, spec, None, tool.ROOT, inputs, ["cargo", "build"], {"A": str(tool.ROOT)}, {"cargo": "1"}, "run", file, 7
    )


def test_the_crates_are_those_of_the_binary_with_the_hashes_of_the_lock_file(resolved: Resolved) -> None:
    own, needed = resolved
    names = {crate.name for crate in needed}
    assert own.name == "vexfs" and {"fuser", "clap", "crc32c"} <= names
    assert not {"proptest", "tempfile"} & names  # for tests alone
    lock = (FUSE / "Cargo.lock").read_text()
    assert needed and all(
        re.search(rf'name = "{c.name}"\nversion = "{re.escape(c.version)}"\n.*\nchecksum = "{c.sha256}"', lock) for c in needed
    )


def test_without_the_feature_the_crates_of_the_feature_are_not_there() -> None:
    _, needed = crates.of_binary(FUSE, "mkfs_vexfs", [], builds.TRIPLE, ["cargo"])
    assert "fuser" not in {crate.name for crate in needed}


def test_crates_that_only_tests_need_are_fetched_where_no_build_has_brought_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = builds.crate(tmp_path)
    entry = next(block for block in (FUSE / "Cargo.lock").read_text().split("\n\n") if 'name = "cfg-if"\n' in block)
    with (folder / "Cargo.toml").open("a") as manifest:
        manifest.write('\n[dev-dependencies]\ncfg-if = "1"\n')
    lock = f'version = 3\n\n{entry}\n\n[[package]]\nname = "demo"\nversion = "0.1.0"\ndependencies = [\n "cfg-if",\n]\n'
    (folder / "Cargo.lock").write_text(lock)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "nothing-here-yet"))
    own, needed = crates.of_binary(folder, "demo_fuse", [], builds.TRIPLE, ["cargo"])
    assert (own.name, needed) == ("demo", [])


def test_the_bill_is_valid_and_the_same_each_time(tmp_path: Path, resolved: Resolved) -> None:
    own, needed = resolved
    text = sbom.make(facts(tmp_path), own, needed)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert sbom.make(facts(tmp_path), own, list(reversed(needed))) == text
    other = replace(facts(tmp_path), release="0.2.0")
    assert json.loads(sbom.make(other, own, needed))["serialNumber"] != json.loads(text)["serialNumber"]
    bill = json.loads(text)
    fuser = next(c for c in bill["components"] if c["name"] == "fuser")
    assert fuser["purl"].startswith("pkg:cargo/fuser@") and fuser["hashes"][0]["alg"] == "SHA-256" and fuser["licenses"]
    edges = {row["ref"]: row.get("dependsOn", []) for row in bill["dependencies"]}
    assert fuser["bom-ref"] in edges["artifact:d:" + builds.TRIPLE]


def test_the_statement_is_valid_and_names_commit_inputs_and_crates(tmp_path: Path, resolved: Resolved) -> None:
    content = statement.make(facts(tmp_path), resolved[1])
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    definition = content["predicate"]["buildDefinition"]
    rows = definition["resolvedDependencies"]
    assert rows[0] == {"name": "source", "digest": {"gitCommit": "c" * 40}, "annotations": {"dirty": False}}
    assert any(row.get("uri") == "file:fuse/src/lib.rs" for row in rows)
    assert any(row.get("uri", "").startswith("pkg:cargo/fuser@") for row in rows)
    assert definition["internalParameters"]["environment"] == {"A": "."}
