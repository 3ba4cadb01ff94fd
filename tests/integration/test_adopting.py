# SPDX-License-Identifier: Apache-2.0
"""A tree that nobody here wrote is built, verified and documented with a manifest of at most 40 lines."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests import recordschema, tool

pytestmark = pytest.mark.integration

EXAMPLE = tool.ROOT / "examples/adopting"
SCHEMA = json.loads((tool.ROOT / "tests/schemas/intoto-slsa-provenance-v1.json").read_text())


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The example, built and verified once; its folder and what the tool said."""
    root = tmp_path_factory.mktemp("adopted") / "tree"
    shutil.copytree(EXAMPLE, root)
    done = tool.inv("build", "verify", config=root / "vexci.yaml")
    assert done.returncode == 0, done.stdout
    yield root, done.stdout


def test_forty_lines_are_enough_and_the_guide_shows_them() -> None:
    manifest = (EXAMPLE / "vexci.yaml").read_text()
    assert len(manifest.splitlines()) <= 40
    body = manifest.partition("\n")[2]
    assert body in (tool.ROOT / "docs/adopting.md").read_text(), "docs/adopting.md shows another manifest than the example's"


def test_every_artifact_is_built_and_verified(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    record = recordschema.latest(root)
    assert record["verdict"] == "known"  # one is expected to fail, the rest passes
    labels = sorted(f"{a['name']} {a['kernel'] or ''}".strip() for a in record["artifacts"])
    assert labels == ["agentd", "heartbeat debian-6.1", "heartbeat debian-6.12", "oldtable debian-6.1", "statd"]
    checks = record["stages"][-1]["checks"]
    assert {check["verdict"] for check in checks} == {"pass", "skip", "known"}
    (known,) = [check for check in checks if check["verdict"] == "known"]
    assert known["id"] == "B11" and known["subject"] == "oldtable [debian-6.12]"
    assert "register_sysctl_table() is gone since Linux 6.5" in known["detail"] and "legacy/oldtable.c:15" in known["detail"]


def test_target_toolchain_and_feature_of_the_rust_daemon_are_those_of_the_manifest(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    record = recordschema.latest(root)
    (agent,) = [row for row in record["artifacts"] if row["name"] == "agentd"]
    assert agent["target"] == "x86_64-unknown-linux-gnu" and "/x86_64-unknown-linux-gnu/release/" in agent["path"]
    assert agent["features"] == ["metrics"]
    checks = {check["name"]: check["verdict"] for check in record["stages"][-1]["checks"] if check["subject"].startswith("agentd")}
    assert checks["has the feature metrics"] == "pass"
    (statement,) = [s for s in _papers(root, "provenance.intoto") if s["subject"][0]["name"] == "agentd"]
    parameters = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert parameters["toolchain"] == "stable" and parameters["target"] == "x86_64-unknown-linux-gnu"


def test_the_sources_are_left_as_they_were(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    before = sorted(str(p.relative_to(EXAMPLE)) for p in EXAMPLE.rglob("*"))
    made = {".build", ".runs", "target"}  # cargo's own folder, which is where cargo looks for it
    after = sorted(str(p.relative_to(root)) for p in root.rglob("*") if not made.intersection(p.relative_to(root).parts))
    assert after == before


def _papers(root: Path, form: str) -> list[dict[str, Any]]:
    folder = root / ".runs" / recordschema.latest(root)["id"] / "provenance"
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"*.{form}.json"))]


def test_a_provenance_statement_lies_beside_each_and_holds_to_its_schema(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    record = recordschema.latest(root)
    statements = _papers(root, "provenance.intoto")
    assert sorted(s["subject"][0]["digest"]["sha256"] for s in statements) == sorted(a["sha256"] for a in record["artifacts"])
    for statement in statements:
        jsonschema.Draft202012Validator(SCHEMA).validate(statement)
        assert str(root) not in json.dumps(statement), "a path of this machine is in it"
    (beat,) = [s for s in statements if s["predicate"]["buildDefinition"]["externalParameters"].get("kernel", "").startswith("6.1.")][:1]
    definition = beat["predicate"]["buildDefinition"]
    inputs = {row.get("uri", row.get("name")): row["digest"] for row in definition["resolvedDependencies"]}
    assert "file:driver/src/beat.c" in inputs and any(name.endswith("/Module.symvers") for name in inputs)
    assert definition["externalParameters"]["before"] == [["./configure", "{headers}"]]
    assert "gcc" in beat["predicate"]["runDetails"]["builder"]["version"]


def test_the_schema_refuses_a_statement_that_is_not_one(adopted: tuple[Path, str]) -> None:
    statement = _papers(adopted[0], "provenance.intoto")[0]
    for broken in ({**statement, "_type": "https://in-toto.io/Statement/v0.1"}, {**statement, "subject": []}, {**statement, "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate(broken)


def test_a_bill_of_materials_lies_beside_each_and_holds_to_its_schema(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    bills = _papers(root, "sbom.cdx")
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert len(bills) == 5
    for bill in bills:
        assert validator.validate_str(json.dumps(bill)) is None
    assert validator.validate_str(json.dumps({**bills[0], "bomFormat": "other"})) is not None
    beat = next(bill for bill in bills if bill["metadata"]["component"]["name"] == "heartbeat.ko")
    files = {c["name"]: c["hashes"][0]["content"] for c in beat["components"] if c["type"] == "file"}
    assert "driver/src/main.c" in files
    assert any(c["name"].startswith("linux-headers-6.1") for c in beat["components"])


def test_a_second_run_reuses_everything_and_its_papers_are_the_same(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    before = [_papers(root, "provenance.intoto"), _papers(root, "sbom.cdx")]
    done = tool.inv("build", "verify", config=root / "vexci.yaml")
    assert done.returncode == 0, done.stdout
    assert "looking at the sources" not in done.stdout  # the checkers' answers are remembered
    assert all(artifact["reused"] for artifact in recordschema.latest(root)["artifacts"])
    assert [_papers(root, "provenance.intoto"), _papers(root, "sbom.cdx")] == before


def test_for_a_release_a_tree_outside_git_fails_v8(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    done = tool.inv("verify", "--release", config=root / "vexci.yaml")
    assert done.returncode == 1 and "V8" in done.stdout and "commit the tree, so that it can be built again" in done.stdout


def test_findings_over_the_budget_fail_with_their_places_and_an_expected_failure_that_passes_fails(adopted: tuple[Path, str]) -> None:
    root, _ = adopted
    manifest = root / "vexci.yaml"
    original, source = manifest.read_text(), root / "driver/src/main.c"
    code = source.read_text()
    try:
        manifest.write_text(original.replace("expect_kernels: [debian-6.12]", "expect_kernels: [debian-6.1]"))
        source.write_text(code.replace("\treturn heartbeat_start();", "\tint x=1;\n\n\treturn x+heartbeat_start();"))
        done = tool.inv("build", "--kernel", "debian-6.1", "verify", config=manifest)
    finally:
        manifest.write_text(original)
        source.write_text(code)
    assert done.returncode == 1
    failed = {(c["id"], c["subject"], c["detail"]) for c in recordschema.latest(root)["stages"][-1]["checks"] if c["verdict"] == "fail"}
    said = "\n".join(detail for id, _, detail in failed if id == "V11")
    assert "driver/src/main.c:9: spaces required around that '='" in said and "the budget is 0; mend the new ones" in said
    (back,) = [detail for id, subject, detail in failed if id == "B11" and subject.startswith("oldtable")]
    assert "it passes, although the manifest says 'expect: fail'" in back and "take that out" in back


FOREIGN = """\
version: 1
project: foreign
artifacts:
  loopback:
    builder: kbuild
    folder: usr/src/{folder}
    module: v4l2loopback
    kernels: [debian-6.1]
kernels:
  debian-6.1: {{provider: apt, pattern: 6.1-cloud}}
"""


def test_a_real_tree_of_other_people_is_built_and_judged(tmp_path: Path) -> None:
    """v4l2loopback as Debian ships it for dkms; a cloud kernel lacks the media modules that it needs, and that must be seen."""
    argv = ["apt-get", "download", "v4l2loopback-dkms"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    packages = list(tmp_path.glob("*.deb"))
    if done.returncode != 0 or not packages:
        pytest.skip(f"v4l2loopback-dkms cannot be downloaded: {' '.join(done.stderr.split()[-12:])}")
    subprocess.run(["dpkg-deb", "-x", packages[0], tmp_path], check=True, timeout=60)
    (tree,) = (tmp_path / "usr/src").glob("v4l2loopback-*")
    (tmp_path / "vexci.yaml").write_text(FOREIGN.format(folder=tree.name))
    ran = tool.inv("build", "verify", config=tmp_path / "vexci.yaml")
    assert ran.returncode == 1, ran.stdout
    assert "does not build" in ran.stdout and "v4l2" in ran.stdout and "undefined!" in ran.stdout, ran.stdout
