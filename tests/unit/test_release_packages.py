# SPDX-License-Identifier: Apache-2.0
"""Packages: the same bytes each time, what they say and hold, the pages and units in them, and their definition.

They are real ones of a small project: tests/unit/small_release.py.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ci import store
from ci.errors import UsageError, VexciError
from ci.manifest import Manifest
from ci.reader import ConfigError
from ci.release import definition, needs, package, rpm, sources
from ci.release.definition import Packaging
from tests.unit import small_release
from tests.unit.small_release import PROGRAM, PROGRAMS, PROJECT, TIME

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return small_release.manifest()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return small_release.repository(tmp_path / "project")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """All packages, made twice in two folders."""
    work = tmp_path_factory.mktemp("work")
    first, second = (small_release.packed(tmp_path_factory.mktemp(name), work / name) for name in ("one", "two"))
    return first, second


def output(*argv: object) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


def has_rpmlint() -> bool:
    return bool(shutil.which("rpmlint")) and output("rpmlint", "--version").startswith("2.")


needs_rpmlint = pytest.mark.skipif(not has_rpmlint(), reason="rpmlint 2 is not here")


def complaints(*rpms: Path) -> list[str]:
    """What rpmlint says of packages under the project's own settings."""
    done = subprocess.run(["rpmlint", "-c", PROJECT / "packaging/rpmlint.toml", *rpms], capture_output=True, text=True)
    assert f"{len(rpms)} packages" in done.stdout, done.stdout
    # Here all programs are one and the same, which is no fault of the packages.
    return [line for line in done.stdout.splitlines() if ": E: " in line or ": W: " in line if "files-duplicate" not in line]


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

    @needs_rpmlint
    def test_neither_has_rpmlint(self, made: tuple[Path, Path]) -> None:
        assert complaints(*sorted(made[0].glob("*.rpm"))) == []

    @needs_rpmlint
    def test_nor_has_it_about_programs_with_their_symbols(self, tmp_path: Path) -> None:
        (tmp_path / "program.c").write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-g", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
        contents = small_release.contents()
        contents = replace(contents, programs=dict.fromkeys(contents.programs, tmp_path / "program"))
        (spec,) = (each for each in small_release.packaging().packages if each.binaries)
        assert complaints(package.build(small_release.packaging(), spec, "rpm", contents, work=tmp_path / "work", target=tmp_path)) == []


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
