# SPDX-License-Identifier: Apache-2.0
"""Releases: what is refused, what the notes say, and what a stranger finds wrong with a folder.

The packages here are real ones of a small project: tests/unit/small_release.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ci import store
from ci.errors import UsageError
from ci.manifest import Manifest, SuiteSpec
from ci.model import Check, Verdict
from ci.release import check, definition, gate, notes, package, papers
from ci.release.papers import Key
from ci.revision import Revision
from tests.unit import small_release
from tests.unit.small_release import COMMIT, PROGRAM, PROJECT, TIME

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return small_release.manifest()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return small_release.repository(tmp_path / "project")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All packages."""
    return small_release.packed(tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("work") / "of")


class TestRefusals:
    def tree(self, manifest: Manifest, root: Path, version: str = "0.1.0", revision: Revision | None = None) -> list[str]:
        return gate.tree(replace(manifest, root=root), version, revision or Revision(COMMIT, False, TIME))

    def test_a_clean_tagged_tree_is_not_refused(self, manifest: Manifest, clone: Path) -> None:
        assert self.tree(manifest, clone) == []

    def test_a_dirty_tree_is(self, manifest: Manifest, clone: Path) -> None:
        (reason,) = self.tree(manifest, clone, revision=Revision(COMMIT, True, TIME))
        assert "differs from its commit" in reason

    def test_a_version_that_the_manifest_does_not_have_is(self, manifest: Manifest, clone: Path) -> None:
        assert any("(V6)" in reason for reason in self.tree(manifest, clone, "0.2.0"))

    @pytest.mark.parametrize("version", ["", "1", "1.2", "one", "1.2.3;rm"])
    def test_what_is_no_version_is(self, manifest: Manifest, clone: Path, version: str) -> None:
        assert "is no version" in self.tree(manifest, clone, version)[0]

    def test_a_commit_without_its_tag_is(self, manifest: Manifest, clone: Path) -> None:
        subprocess.run(["git", "tag", "-d", "v0.1.0"], cwd=clone, check=True, capture_output=True)
        (reason,) = self.tree(manifest, clone)
        assert "has no tag v0.1.0" in reason

    def test_a_tree_outside_git_is(self, manifest: Manifest, tmp_path: Path) -> None:
        assert any("not a git repository" in reason for reason in self.tree(manifest, tmp_path, revision=Revision("unknown", True)))

    @pytest.fixture
    def small(self, manifest: Manifest) -> Manifest:
        return replace(
            manifest,
            suites=(SuiteSpec("smoke", ("module", "daemon"), 1, 60.0, 5.0), SuiteSpec("slow", ("module",), 1, 60.0, 5.0, (), True)),
        )

    def record(self, *passed: str, **more: Any) -> dict[str, Any]:
        rows = [{"suite": "smoke", "artifact": name, "verdict": "pass", "cases": [], "kernel": "6.1"} for name in passed]
        stages = [{"name": "validate", "results": {"suites": rows}}]
        common = {"id": "r1", "commit": COMMIT, "dirty": False, "verdict": "pass", "detail": "", "stages": stages, "artifacts": []}
        return {**common, **more}

    def refused(self, small: Manifest, *given: dict[str, Any], chosen: bool = False) -> str:
        return "; ".join(gate.records(small, given, COMMIT, chosen=chosen))

    def test_all_that_runs_unasked_must_have_passed_and_nothing_else_must(self, small: Manifest) -> None:
        assert self.refused(small, self.record("module"), self.record("daemon")) == ""
        assert "smoke on daemon" in self.refused(small, self.record("module"))
        assert "smoke on module, smoke on daemon" in self.refused(small)

    @pytest.mark.parametrize("verdict", ["fail", "panic", "hang"])
    def test_a_failure_of_the_product_refuses_whatever_else_passed(self, small: Manifest, verdict: str) -> None:
        bad = self.record("module", id="r2", verdict=verdict, detail="why")
        assert self.refused(small, self.record("module", "daemon"), bad) == f"the record r2 says {verdict}: why"

    def test_a_failure_of_the_machine_says_nothing_of_the_product(self, small: Manifest) -> None:
        assert self.refused(small, self.record("module", "daemon"), self.record("module", verdict="infra")) == ""

    @pytest.mark.parametrize("verdict", ["interrupted", "infra"])
    def test_a_failure_counts_also_where_the_run_was_broken_off_after_it(self, small: Manifest, verdict: str) -> None:
        bad = self.record("module", id="r2", verdict=verdict, detail="by SIGTERM")
        bad["stages"][0]["results"]["suites"][0].update(verdict="hang", detail="why")
        said = f"the record r2 ended as {verdict}, after smoke on module ended as hang: why"
        assert self.refused(small, self.record("module", "daemon"), bad) == said

    def test_suites_on_packages_that_were_given_say_nothing_of_this_commit(self, small: Manifest) -> None:
        packages = self.record("module", "daemon")
        packages["stages"][0]["name"] = "prove"
        assert "smoke on module, smoke on daemon" in self.refused(small, packages)

    def test_records_of_another_commit_prove_nothing(self, small: Manifest) -> None:
        other = self.record("module", "daemon", commit="0" * 40)
        assert "no record of commit" in self.refused(small, other)
        assert "is of commit 000000000000" in self.refused(small, other, chosen=True)

    def test_a_record_of_a_dirty_tree_is_no_record_of_the_commit(self, small: Manifest) -> None:
        assert "differed from the commit" in self.refused(small, self.record("module", "daemon", dirty=True))

    def test_what_was_tested_must_be_what_is_released(self) -> None:
        row = {"name": "module", "target": "6.1", "sha256": "a" * 64}
        given = [self.record("module", artifacts=[row])]
        assert gate.foreign(given, COMMIT, {("module", "6.1"): "a" * 64}) == []
        (reason,) = gate.foreign(given, COMMIT, {("module", "6.1"): "b" * 64})
        assert "tested another build of module [6.1]" in reason


class TestNotes:
    def test_they_say_what_was_tested_where_with_what_result_and_what_is_known_to_fail(self) -> None:
        cases = [{"id": "a", "verdict": "pass", "detail": ""}, {"id": "b", "verdict": "known", "detail": "until 2027"}]
        cases += [{"id": "c", "verdict": "skip", "detail": "no such call", "required": False}]
        suite = {"suite": "smoke", "artifact": "module", "kernel": "6.1.0", "verdict": "known", "cases": cases}
        host = {"os": "Debian 12", "kernel": "6.18", "cpu": "EPYC"}
        stages = [{"name": "validate", "results": {"suites": [suite]}}]
        record = {"id": "r1", "host": host, "accelerator": {"name": "tcg"}, "stages": stages}
        text = notes.render("vexfs", "0.1.0", "v0.0.9", ["Mend <it>"], [record], COMMIT)
        assert "Since v0.0.9" in text and "- Mend \\<it\\>" in text
        assert "| smoke | module | 6.1.0 | known | 1 of 3, 1 not offered | tcg | r1 |" in text
        assert "smoke on module, b: until 2027" in text and "Debian 12, Linux 6.18, EPYC" in text


@pytest.fixture
def release(tmp_path: Path, made: Path) -> Path:
    """A whole release folder, unsigned."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    folder = tmp_path / "vexfs-0.1.0"
    shutil.copytree(made, folder)
    digest = store.sha256_file(PROGRAM)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)]
    bom = Bom()
    bom.metadata.component = Component(type=ComponentType.APPLICATION, name="true", hashes=hashes)
    (folder / f"true{check.SBOM_SUFFIX}").write_text(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    built = [{"name": "true", "sha256": digest}]
    papers.write(folder, {"project": "vexfs", "version": "0.1.0", "commit": COMMIT, "built": built, "tools": {"gcc": "12"}})
    return folder


def wrong(folder: Path, **flags: Any) -> dict[str, str]:
    found: list[Check] = check.verify(folder, check.Trust(**{"unsigned": True, **flags}))
    return {row.id: row.detail for row in found if row.verdict is Verdict.FAIL}


def sums_again(folder: Path) -> None:
    """What somebody does who changes a release and then its sums."""
    rows = [f"{store.sha256_file(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.name != papers.SUMS]
    (folder / papers.SUMS).write_text("".join(rows))


class TestVerify:
    def test_a_release_as_it_was_made_is_good(self, release: Path) -> None:
        assert wrong(release) == {}

    def test_its_statement_has_the_published_form(self, release: Path) -> None:
        schema = json.loads((PROJECT / "tests/schemas/intoto-slsa-provenance-v1.json").read_text())
        (path,) = release.glob(f"*{papers.STATEMENT_SUFFIX}")
        jsonschema.validate(json.loads(path.read_text()), schema)

    @pytest.mark.parametrize(
        ("spoil", "id", "said"),
        [
            (lambda folder, deb: deb.write_bytes(deb.read_bytes()[:-1] + b"x"), "R1", "is not the file that was released"),
            (lambda folder, deb: deb.unlink(), "R1", "is missing"),
            (lambda folder, deb: (folder / "more").write_text("x"), "R1", "more is not part of the release"),
        ],
    )
    def test_a_changed_missing_or_foreign_file_is_named(
        self, release: Path, spoil: Callable[[Path, Path], object], id: str, said: str
    ) -> None:
        (deb,) = release.glob("vexfs-tools_*.deb")
        spoil(release, deb)
        assert said in wrong(release)[id]

    def test_new_sums_over_a_changed_file_do_not_help_the_statement_disagrees(self, release: Path) -> None:
        (deb,) = release.glob("vexfs-tools_*.deb")
        deb.write_bytes(deb.read_bytes() + b"\n")
        sums_again(release)
        assert "differ about vexfs-tools" in wrong(release)["R3"]

    @pytest.mark.parametrize("kind", definition.FORMATS)
    def test_a_program_that_nobody_built_is_seen_in_its_package(self, release: Path, tmp_path: Path, kind: str) -> None:
        packaging, contents = small_release.packaging(), small_release.contents()
        other = replace(contents, programs=dict.fromkeys(contents.programs, Path("/usr/bin/false")))
        spec = next(each for each in packaging.packages if each.binaries)
        for old in release.glob(f"vexfs-tools[-_]*.{kind}"):
            old.unlink()
        package.build(packaging, spec, kind, other, work=tmp_path / "work", target=release)
        assert "which the statement does not name" in wrong(release)["R5"]

    def test_a_bill_about_something_else_is_named(self, release: Path) -> None:
        (bill,) = release.glob(f"*{check.SBOM_SUFFIX}")
        bill.write_text(bill.read_text().replace(store.sha256_file(PROGRAM), "0" * 64))
        assert "is about a file that the statement does not name" in wrong(release)["R4"]
        bill.write_text("{")
        assert "is no CycloneDX bill" in wrong(release)["R4"]

    def test_what_is_no_release_is_a_usage_error(self, release: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is no folder"):
            check.verify(tmp_path / "nowhere", check.Trust())
        (release / papers.SUMS).write_text("abc\n")
        with pytest.raises(UsageError, match="is not the sum of a file"):
            check.verify(release, check.Trust())
        (release / papers.SUMS).write_text(f"{'0' * 64}  ../outside\n")
        with pytest.raises(UsageError, match="is not the sum of a file"):
            check.verify(release, check.Trust())
        (release / papers.SUMS).unlink()
        with pytest.raises(UsageError, match="it is no release"):
            check.verify(release, check.Trust())

    def test_without_a_key_the_signature_is_not_believed(self, release: Path) -> None:
        assert "nobody to trust was named" in wrong(release, unsigned=False)["R2"]


class TestMinisign:
    @pytest.fixture
    def keys(self, tmp_path: Path) -> tuple[Path, Path]:
        public, secret = tmp_path / "key.pub", tmp_path / "key.sec"
        subprocess.run(["minisign", "-G", "-W", "-p", public, "-s", secret], check=True, capture_output=True)
        return public, secret

    def test_a_signed_release_is_good_under_its_key_and_under_no_other(
        self, release: Path, keys: tuple[Path, Path], tmp_path: Path
    ) -> None:
        public, secret = keys
        papers.sign(release, Key(minisign=str(secret)), "vexfs 0.1.0")
        assert wrong(release, unsigned=False, public=str(public)) == {}
        other = tmp_path / "other.pub"
        subprocess.run(["minisign", "-G", "-W", "-p", other, "-s", tmp_path / "other.sec"], check=True, capture_output=True)
        assert (
            "key id in the public key is" in (said := wrong(release, unsigned=False, public=str(other))["R2"]) and papers.MINISIGN in said
        )
        sums = release / papers.SUMS
        sums.write_text(sums.read_text() + f"{'0' * 64}  more\n")
        assert "minisign: Signature verification failed" in wrong(release, unsigned=False, public=str(public))["R2"]

    def test_an_unsigned_release_is_not_good_under_a_key(self, release: Path, keys: tuple[Path, Path]) -> None:
        assert "was not signed by such a key" in wrong(release, unsigned=False, public=str(keys[0]))["R2"]


def test_a_release_signed_with_gpg_is_good_under_its_keyring_alone(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    make = ["gpg", "--batch", "--passphrase", "", "--quick-generate-key", "t@example.org", "ed25519", "sign", "never"]
    subprocess.run(make, check=True, capture_output=True)
    try:
        ring, empty = tmp_path / "ring.gpg", tmp_path / "empty.gpg"
        ring.write_bytes(subprocess.run(["gpg", "--export", "t@example.org"], check=True, capture_output=True).stdout)
        empty.write_bytes(b"")
        papers.sign(release, Key(gpg="t@example.org"), "")
        assert wrong(release, unsigned=False, keyring=str(ring)) == {}
        assert "gpg" in wrong(release, unsigned=False, keyring=str(empty))["R2"]
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=True)


class TestKey:
    def test_it_is_looked_at_before_anything_is_made(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="exclude each other"):
            Key("a", "b").check()
        with pytest.raises(UsageError, match="no such file"):
            Key(str(tmp_path / "nowhere")).check()
