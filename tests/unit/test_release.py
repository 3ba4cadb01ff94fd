# SPDX-License-Identifier: Apache-2.0
"""Releases: what is refused, packages that are the same bytes each time, and what a stranger finds wrong with a folder.

The packages here are real ones of a small project: a program that is on every machine, and a module's sources.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ci import config, store
from ci.errors import UsageError, VexciError
from ci.manifest import Manifest, SuiteSpec
from ci.model import Check, Verdict
from ci.reader import ConfigError
from ci.release import check, definition, gate, needs, notes, package, papers, rpm, sources
from ci.release.definition import Packaging
from ci.release.package import Contents
from ci.release.papers import Key
from ci.revision import Revision

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
COMMIT = "4be1c0de" * 5
TIME = 1_780_000_000
PROGRAM = Path("/usr/bin/true")
PROGRAMS = ("vexfs_fuse", "mkfs.vexfs", "fsck.vexfs", "dump.vexfs")


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return config.read(PROJECT / "vexci.yaml")


@pytest.fixture(scope="module")
def packaging(manifest: Manifest) -> Packaging:
    """This project's own definition, without what needs its own programs to run."""
    found = definition.read(manifest)
    return replace(found, packages=tuple(replace(spec, completions=False) for spec in found.packages))


@pytest.fixture(scope="module")
def contents() -> Contents:
    names = [name.removeprefix("kernel/") for name in sources.files(PROJECT, "kernel") if not name.startswith("kernel/.")]
    programs = dict.fromkeys(("vexfs-fuse", "vexfs-mkfs", "vexfs-fsck", "vexfs-dump"), PROGRAM)
    return Contents(
        PROJECT, "0.1.0", TIME, programs, {"vexfs-kernel": (PROJECT / "kernel", names)}, {"vexfs-kernel": "vexfs"}, ["One change"]
    )


@pytest.fixture(scope="module")
def made(packaging: Packaging, contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """All packages, made twice in two folders."""
    folders = (tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two"))
    for folder in folders:
        for spec in packaging.packages:
            for kind in definition.FORMATS:
                work = tmp_path_factory.mktemp("work") / "of" / kind
                package.build(packaging, spec, kind, contents, work=work, target=folder)
    return folders


def output(*argv: object) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


class TestPackages:
    def test_twice_they_are_the_same_bytes(self, made: tuple[Path, Path]) -> None:
        first, second = ({path.name: store.sha256_file(path) for path in folder.iterdir()} for folder in made)
        assert first == second and len(first) == 4

    def test_a_deb_says_what_it_is_and_what_it_needs(self, made: tuple[Path, Path]) -> None:
        (deb,) = made[0].glob("vexfs-tools_*.deb")
        fields = output("dpkg-deb", "--field", deb)
        assert "Version: 0.1.0-1" in fields and "Architecture: amd64" in fields
        assert "libc6 (>= " in fields and "fuse3" in fields
        listing = output("dpkg-deb", "--contents", deb)
        for path in ("usr/sbin/mkfs.vexfs", "usr/share/man/man8/fsck.vexfs.8.gz", "usr/share/man/man5/vexfs.5.gz"):
            assert path in listing, path
        assert "root/root" in listing and "examples/vexfs-fuse@.service" in listing

    def test_the_module_s_package_has_its_sources_and_nothing_that_a_build_left(self, made: tuple[Path, Path]) -> None:
        (deb,) = made[0].glob("vexfs-dkms_*.deb")
        listing = output("dpkg-deb", "--contents", deb)
        assert "usr/src/vexfs-0.1.0/dkms.conf" in listing and "usr/src/vexfs-0.1.0/include/uapi/vexfs.h" in listing
        assert ".ko" not in listing and "checkpatch" not in listing
        assert "Depends: dkms" in output("dpkg-deb", "--field", deb)

    def test_an_rpm_says_what_it_needs_as_rpm_itself_finds_it(self, made: tuple[Path, Path]) -> None:
        (rpm,) = made[0].glob("vexfs-tools-*.rpm")
        needed = output("rpm", "-qp", "--requires", rpm)
        assert "libc.so.6()(64bit)" in needed and "libc.so.6(GLIBC_2.34)(64bit)" in needed and "fuse3" in needed
        assert "/usr/sbin/vexfs_fuse" in output("rpm", "-qp", "--list", rpm)
        assert "NOT OK" not in output("rpm", "-K", "--nosignature", rpm)

    def test_an_rpm_is_read_as_rpm_itself_reads_it(self, made: tuple[Path, Path]) -> None:
        for path in made[0].glob("*.rpm"):
            assert rpm.identity(path) == tuple(output("rpm", "-qp", "--qf", "%{NAME} %{VERSION}-%{RELEASE}", path).split(" "))
            dumped = [line.split() for line in output("rpm", "-qp", "--dump", path).splitlines()]
            wanted = {row[0]: row[3] for row in dumped if row[4].startswith("0100")}
            assert {name: hashlib.sha256(data).hexdigest() for name, _, data in rpm.files(path)} == wanted
        (tools,) = made[0].glob("vexfs-tools-*.rpm")
        assert {name for name, _ in rpm.programs(tools)} == {f"/usr/sbin/{name}" for name in PROGRAMS}

    def test_no_placeholder_is_left_in_a_script_or_a_page(self, made: tuple[Path, Path], tmp_path: Path) -> None:
        for deb in made[0].glob("*.deb"):
            subprocess.run(["dpkg-deb", "--raw-extract", deb, tmp_path / deb.name], check=True)
        scripts = [path for path in tmp_path.rglob("DEBIAN/*") if path.name in ("postinst", "prerm")]
        assert len(scripts) == 2
        for script in scripts:
            assert "@" not in script.read_text() and "vexfs" in script.read_text()
            subprocess.run(["sh", "-n", script], check=True)

    def test_what_a_program_needs_is_what_it_says_itself(self) -> None:
        assert any(row.startswith("libc6 (>= ") for row in needs.deb("x", [PROGRAM]))
        found = needs.rpm([PROGRAM])
        assert "libc.so.6()(64bit)" in found and all(row.endswith("(64bit)") for row in found)

    def test_lintian_has_nothing_to_say(self, made: tuple[Path, Path]) -> None:
        debs = sorted(made[0].glob("*.deb"))
        done = subprocess.run(["lintian", "--fail-on", "error,warning", "--allow-root", *debs], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_neither_has_rpmlint(self, made: tuple[Path, Path]) -> None:
        if not shutil.which("rpmlint") or not output("rpmlint", "--version").startswith("2."):
            pytest.skip("rpmlint 2 is not here")
        rpms = sorted(made[0].glob("*.rpm"))
        done = subprocess.run(["rpmlint", "-c", PROJECT / "packaging/rpmlint.toml", *rpms], capture_output=True, text=True)
        # Here all programs are one and the same, which is no fault of the packages.
        said = [line for line in done.stdout.splitlines() if ": E: " in line or ": W: " in line if "files-duplicate" not in line]
        assert "2 packages" in done.stdout and said == []


class TestShells:
    """Completions are what the program prints itself; a stand-in that prints as clap does is enough to see where they go."""

    def program(self, folder: Path, text: str) -> Path:
        path = folder / "program"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    @pytest.mark.parametrize(
        ("kind", "zsh"), [("deb", "/usr/share/zsh/vendor-completions/_x.y"), ("rpm", "/usr/share/zsh/site-functions/_x.y")]
    )
    def test_each_shell_finds_its_own(self, tmp_path: Path, kind: str, zsh: str) -> None:
        program = self.program(tmp_path, '[ "$1" = --completions ] && echo "for $2"')
        found = {file.target: file.source.read_text() for file in package.completions(program, "x.y", kind, tmp_path)}
        assert found["/usr/share/bash-completion/completions/x.y"] == "for bash\n" and found[zsh] == "for zsh\n"
        assert sum(text == "for fish\n" for text in found.values()) == 1

    @pytest.mark.parametrize("text", ["exit 2", "exit 0"])
    def test_a_program_that_prints_none_is_no_empty_file_in_a_package(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(VexciError, match="completions"):
            package.completions(self.program(tmp_path, text), "x", "deb", tmp_path)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here: it comes with systemd")
class TestUnits:
    def verify(self, folder: Path, old: str = "", new: str = "") -> subprocess.CompletedProcess[str]:
        names = []
        for unit in (PROJECT / "packaging/examples").iterdir():
            name = unit.name.replace("@.", "@data.")  # an instance: a template alone is not looked into
            (folder / name).write_text(unit.read_text().replace("/usr/sbin/vexfs_fuse", str(PROGRAM)).replace(old or "\0", new))
            (folder / name).chmod(0o644)  # systemd complains of a file that all may write, as it is under umask 0
            names.append(name)
        argv = ["systemd-analyze", "verify", "--man=no", *(f"./{name}" for name in names)]
        return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)

    def test_systemd_takes_the_examples(self, tmp_path: Path) -> None:
        done = self.verify(tmp_path)
        assert done.returncode == 0 and done.stderr == "", done.stderr

    def test_it_would_not_take_another_mount_point_than_the_unit_s_name(self, tmp_path: Path) -> None:
        assert self.verify(tmp_path, "Where=/srv/vexfs", "Where=/srv/other").returncode != 0


class TestManuals:
    """A page that leaves an option out, or a section that roff does not understand, is worse than none."""

    @pytest.mark.parametrize("page", sorted((PROJECT / "packaging/man").iterdir()), ids=lambda page: page.name)
    def test_it_is_one_that_man_shows_without_complaint(self, page: Path) -> None:
        text = page.read_text()
        assert text.splitlines()[1].startswith(f".TH {page.stem.upper()} {page.suffix[1:]} ")
        for section in (".SH NAME", ".SH DESCRIPTION", ".SH SEE ALSO"):
            assert section in text

    def test_every_option_of_a_program_is_in_its_page(self, manifest: Manifest) -> None:
        folder = PROJECT / "fuse/src/bin"
        places = {
            "mkfs.vexfs.8": folder / "mkfs_vexfs/main.rs",
            "fsck.vexfs.8": folder / "fsck.rs",
            "vexfs_fuse.8": folder / "vexfs_fuse/cli.rs",
        }
        import re

        for name, source in places.items():
            page = (PROJECT / "packaging/man" / name).read_text().replace("\\-", "-")
            for block in re.findall(r"#\[arg\((.*?)\)\]\s*(?:pub\(crate\) )?(\w+):", source.read_text(), re.DOTALL):
                words, field = block
                if "hide = true" in words:
                    continue
                if re.search(r"\blong\b", words):
                    assert f"--{field.replace('_', '-')}" in page, f"{name} lacks --{field}"
                if short := re.search(r"short = '(.)'", words):
                    assert f"-{short[1]}" in page, f"{name} lacks -{short[1]}"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with a manifest of version 0.1.0 and a tag."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "vexci.yaml").write_text("x")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v0.1.0"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words], cwd=root, check=True)
    return root


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
        stages = [{"results": {"suites": rows}}]
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
        suite = {"suite": "smoke", "artifact": "module", "kernel": "6.1.0", "verdict": "known", "cases": cases}
        host = {"os": "Debian 12", "kernel": "6.18", "cpu": "EPYC"}
        record = {"id": "r1", "host": host, "accelerator": {"name": "tcg"}, "stages": [{"results": {"suites": [suite]}}]}
        text = notes.render("vexfs", "0.1.0", "v0.0.9", ["Mend <it>"], [record], COMMIT)
        assert "Since v0.0.9" in text and "- Mend \\<it\\>" in text
        assert "| smoke | module | 6.1.0 | known | 1 of 2 | tcg | r1 |" in text
        assert "smoke on module, b: until 2027" in text and "Debian 12, Linux 6.18, EPYC" in text


@pytest.fixture
def release(tmp_path: Path, made: tuple[Path, Path]) -> Path:
    """A whole release folder, unsigned."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    folder = tmp_path / "vexfs-0.1.0"
    shutil.copytree(made[0], folder)
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
    def test_a_program_that_nobody_built_is_seen_in_its_package(
        self, release: Path, packaging: Packaging, contents: Contents, tmp_path: Path, kind: str
    ) -> None:
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
        assert "minisign" in wrong(release, unsigned=False, public=str(other))["R2"]
        sums = release / papers.SUMS
        sums.write_text(sums.read_text() + f"{'0' * 64}  more\n")
        assert "minisign" in wrong(release, unsigned=False, public=str(public))["R2"]

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


class TestDefinition:
    def test_mistakes_are_named_all_at_once(self, manifest: Manifest, tmp_path: Path) -> None:
        (tmp_path / "packaging").mkdir()
        text = (
            (PROJECT / definition.FILE)
            .read_text()
            .replace("module: vexfs-kernel", "module: vexfs-kernl")
            .replace("version: 1\n", "version: 1\nhomepag: x\n")
        )
        (tmp_path / definition.FILE).write_text(text)
        with pytest.raises(ConfigError) as caught:
            definition.read(replace(manifest, root=tmp_path))
        said = " ".join(f"{problem.key} {problem.message}" for problem in caught.value.problems)
        assert "did you mean 'vexfs-kernel'" in said and "homepag" in said and "there is no file" in said

    def read(self, manifest: Manifest, folder: Path, more: str) -> Packaging:
        for name in ("dkms", "man", "examples", "lintian"):
            (folder / "packaging").mkdir(exist_ok=True)
            (folder / "packaging" / name).symlink_to(PROJECT / "packaging" / name)
        (folder / definition.FILE).write_text((PROJECT / definition.FILE).read_text() + more)
        return definition.read(replace(manifest, root=folder))

    @pytest.mark.parametrize(
        "more",
        [
            "maintainer: VexFS maintainers <maintainers@vexfs.example.org>",
            "maintainer: Somebody <me@EXAMPLE.com>",
            "maintainer: Somebody <me@host.test>",
            "maintainer: me@somewhere.net",
            "homepage: https://vexfs.example.org",
            "homepage: https://localhost/vexfs",
            "homepage: somewhere.net",
        ],
    )
    def test_a_name_that_nobody_has_gets_into_no_package(self, manifest: Manifest, clone: Path, more: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(manifest, clone, f"{more}\n")
        assert [problem.key for problem in caught.value.problems] == [more.partition(":")[0]]

    def test_whoever_is_named_answers_for_them_and_else_the_commit_s_author(self, manifest: Manifest, clone: Path, tmp_path: Path) -> None:
        found = self.read(manifest, clone, "")
        assert (found.maintainer, found.homepage) == ("t <t@example.org>", "")
        (tmp_path / "other").mkdir()
        found = self.read(manifest, tmp_path / "other", "maintainer: A B <a@b.net>\nhomepage: https://b.net/example\n")
        assert (found.maintainer, found.homepage) == ("A B <a@b.net>", "https://b.net/example")

    def test_outside_git_somebody_must_be_named(self, manifest: Manifest, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.read(manifest, tmp_path, "")
        assert [problem.key for problem in caught.value.problems] == ["maintainer"]

    def test_a_project_without_one_is_told_so(self, manifest: Manifest, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"has no packaging/packages\.yaml"):
            definition.read(replace(manifest, root=tmp_path))


def test_a_tarball_is_the_same_bytes_whatever_the_umask_and_times(tmp_path: Path) -> None:
    made = []
    for mode, name in ((0o600, "one"), (0o664, "two")):
        root = tmp_path / name
        root.mkdir()
        (root / "a").write_text("a")
        (root / "a").chmod(mode)
        (root / "b").symlink_to("a")
        made.append(sources.tarball(root, ["a", "b"], "p-1", tmp_path / f"{name}.tar.gz", time=TIME).read_bytes())
    assert made[0] == made[1]
