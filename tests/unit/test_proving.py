# SPDX-License-Identifier: Apache-2.0
"""What is decided before a guest starts that proves packages. The guest itself is in integration/test_release_guest.py."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest

from ci import config
from ci.errors import InfrastructureError, ProductFailure, UsageError
from ci.kernels import archive, headers
from ci.kernels.packages import Package as PackageOfArchive
from ci.manifest import CloudSpec, Manifest
from ci.model import Check, KernelTarget, Verdict
from ci.pipeline import proving
from ci.reader import ConfigError
from ci.release import definition, managers, rpm
from ci.release.managers import MANAGERS, Package
from ci.release.prove import Proof

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return config.read(PROJECT / "vexci.yaml")


def test_a_folder_without_packages_is_no_release(tmp_path: Path) -> None:
    for manager in MANAGERS.values():
        with pytest.raises(UsageError, match=f"holds no {manager.suffix}"):
            managers.packages(tmp_path, manager)


def test_suites_run_through_the_installed_programs_alone(manifest: Manifest) -> None:
    packaging = definition.read(manifest)
    paths = {artifact: path for package in packaging.packages for artifact, path in package.binaries}
    for name in ("vexfs-kernel", "vexfs-fuse"):
        spec = proving.through_packages(manifest.artifact(name), paths)
        words = [word for command in (*spec.prepare, spec.check, spec.repair) for word in command]
        assert "/usr/sbin/mkfs.vexfs" in words and "/usr/sbin/fsck.vexfs" in words
        assert not [word for word in words if "/opt/vexci" in word]


def test_a_program_that_no_package_has_is_named(manifest: Manifest) -> None:
    with pytest.raises(UsageError, match="mkfs_vexfs, which no package"):
        proving.through_packages(manifest.artifact("vexfs-kernel"), {})


def test_a_kernel_that_is_no_package_has_no_headers_to_bring(manifest: Manifest) -> None:
    target = KernelTarget("debug", "6.12", "x86_64", "", "source", Path("/"), origin="linux-source-6.12 6.12.1-1")
    with pytest.raises(UsageError, match="does not come from packages"):
        headers.packages(manifest.kernel("debug"), target, say=print)


def test_a_machine_that_is_not_there_is_named(manifest: Manifest, tmp_path: Path) -> None:
    text = (PROJECT / definition.FILE).read_text().replace("machines: [packages,", "machines: [package,")
    (tmp_path / "packaging").mkdir()
    (tmp_path / definition.FILE).write_text(text)
    for name in ("dkms", "man", "examples", "lintian"):
        (tmp_path / "packaging" / name).symlink_to(PROJECT / "packaging" / name)
    with pytest.raises(ConfigError) as refused:
        definition.read(replace(manifest, root=tmp_path))
    (problem,) = (problem for problem in refused.value.problems if problem.key == "machines")
    assert "did you mean 'packages'" in problem.message


class TestPlaces:
    def names(self, manifest: Manifest, **words: str) -> list[tuple[str, str]]:
        return proving.places(manifest, definition.read(manifest), **words)

    def test_without_a_name_it_is_every_machine_of_the_packages(self, manifest: Manifest) -> None:
        assert self.names(manifest) == [("packages", ""), ("packages-13", "")]

    def test_an_image_is_booted_in_the_machine_that_has_it(self, manifest: Manifest) -> None:
        assert self.names(manifest, image="debian-13-packages,debian-12-rpm") == [("packages-13", ""), ("packages-rpm", "")]

    def test_one_that_no_machine_has_takes_the_place_of_the_first_machine_s(self, manifest: Manifest) -> None:
        given = replace(manifest.images[0], name="fedora", folder=None, cloud=CloudSpec("/somewhere/fedora.qcow2", "", 0))
        more = replace(manifest, images=(*manifest.images, given))
        assert self.names(more, image="fedora") == [("packages", "fedora")]

    def test_what_is_not_there_is_named(self, manifest: Manifest) -> None:
        with pytest.raises(UsageError, match="did you mean 'debian-13-packages'"):
            self.names(manifest, image="debian-13-package")
        with pytest.raises(UsageError, match="did you mean 'packages-13'"):
            self.names(manifest, machine="packages-31")
        with pytest.raises(UsageError, match="exclude each other"):
            self.names(manifest, machine="packages", image="debian-12-rpm")


@dataclass(frozen=True)
class Result:
    returncode: int = 0
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0


@dataclass
class Told:
    """A guest that answers what it is told to: the first answer whose key is in the command; else exit 0 without a word."""

    answers: dict[str, Result] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    brought: list[str] = field(default_factory=list)
    kernel: str = "6.1.0-1"

    def run(
        self, argv: Sequence[str], *, deadline: float, on_line: Callable[[str], None] | None = None, silence: float | None = None
    ) -> Result:
        self.asked.append(list(argv))
        return next((answer for key, answer in self.answers.items() if key in " ".join(argv)), Result())

    def put(self, local: Path, remote: str) -> None:
        self.brought.append(remote)


class TestDnf:
    """No image of an rpm distribution is to be had here: a guest that answers as one would."""

    PACKAGES = (Package(Path("/r/vexfs-dkms.rpm"), "vexfs-dkms", "0.1.0-1"), Package(Path("/r/vexfs-tools.rpm"), "vexfs-tools", "0.1.0-1"))
    ANSWERS: ClassVar[dict[str, Result]] = {
        "find / -xdev": Result(stdout="/etc\n/usr\n"),
        "rpm -q": Result(stdout="vexfs-dkms 0.1.0-1 installed\nvexfs-tools 0.1.0-1 installed\n"),
        "dkms status": Result(stdout="vexfs/0.1.0, 6.1.0-1, x86_64: installed\n"),
        "modinfo -F srcversion": Result(stdout="ABC\nABC\n/lib/modules/6.1.0-1/extra/vexfs.ko.xz\n"),
    }

    def proof(self, manifest: Manifest, answers: dict[str, Result]) -> tuple[Told, Proof]:
        guest = Told({**answers, **{key: value for key, value in self.ANSWERS.items() if key not in answers}})
        spec = manifest.artifact("vexfs-kernel")
        return guest, Proof(guest, MANAGERS["rpm"], self.PACKAGES, (), spec, lambda _: None)  # type: ignore[arg-type]

    def whole(self, manifest: Manifest) -> tuple[Told, list[Check]]:
        guest, proof = self.proof(manifest, {})
        proof.prepare([Path("/h/linux-headers.deb")])
        proof.upgrade()
        proof.install()
        proof.remove()
        return guest, proof.checks

    def test_dnf_installs_files_alone_and_removes_nothing_else(self, manifest: Manifest) -> None:
        guest, checks = self.whole(manifest)
        assert all(check.verdict.ok or not check.required for check in checks) and {check.id for check in checks} == {
            "R6",
            "R7",
            "R8",
            "R10",
            "R11",
        }
        install = next(argv for argv in guest.asked if argv[0] == "dnf" and "install" in argv)
        assert "--disablerepo=*" in install and [word for word in install if word.endswith(".rpm")] == guest.brought[1:]
        remove = next(argv for argv in guest.asked if argv[0] == "dnf" and "remove" in argv)
        assert remove[-2:] == ["vexfs-dkms", "vexfs-tools"] and "--setopt=clean_requirements_on_remove=False" in remove
        headers = next(argv for argv in guest.asked if argv[-1].endswith("linux-headers.deb"))
        subprocess.run(["sh", "-n", "-c", headers[2]], check=True)

    @pytest.mark.parametrize(
        ("key", "answer", "id", "said"),
        [
            ("dnf --assumeyes", Result(1, stderr="Error: nothing provides fuse3 needed by vexfs-tools"), "R6", "nothing provides fuse3"),
            ("rpm --verify", Result(1, stdout="S.5....T.    /usr/sbin/mkfs.vexfs\n"), "R6", "/usr/sbin/mkfs.vexfs"),
            ("rpm --verify", Result(1), "R6", "exit 1"),
            ("dkms status", Result(stdout="vexfs/0.1.0: added\n"), "R7", "added"),
            ("modinfo -F srcversion", Result(stdout="ABC\nDEF\n/lib/modules/6.1.0-1/extra/vexfs.ko\n"), "R8", "exit 0"),
        ],
    )
    def test_what_goes_wrong_is_the_check_that_it_is(self, manifest: Manifest, key: str, answer: Result, id: str, said: str) -> None:
        _, proof = self.proof(manifest, {key: answer})
        proof.prepare([])
        with pytest.raises(ProductFailure, match=said):
            proof.install()
        assert [check.id for check in proof.checks if check.verdict is Verdict.FAIL] == [id]

    def test_the_guest_s_own_tools_decide_the_format(self) -> None:
        def kind(path: str) -> str:
            return managers.of_guest(lambda argv: Result(stdout=path))

        assert (kind("/usr/bin/apt-get\n"), kind("/usr/bin/dnf\n")) == ("deb", "rpm")
        with pytest.raises(InfrastructureError, match="neither apt-get nor dnf"):
            kind("")


class TestHeaders:
    """Where they depend on the kernel's image, a package that stands for it comes along: the guest has booted that kernel already."""

    def test_newer_headers_bring_a_stand_in(self, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target = KernelTarget(
            "k", "6.12.1", "x86_64", "", "apt", Path("/"), origin="linux-headers-6.12.1 6.12.1-1, linux-image-6.12.1 6.12.1-1"
        )

        class Lists:
            def show(self, names: Sequence[str]) -> dict[str, PackageOfArchive]:
                depends = ("linux-base", "linux-image-6.12.1", "gcc-14")
                return {"linux-headers-6.12.1": PackageOfArchive("linux-headers-6.12.1", "6.12.1-1", depends, "", 0)}

            def download(self, packages: Sequence[PackageOfArchive], folder: Path) -> None:
                (folder / "linux-headers.deb").write_text("headers")

        monkeypatch.setenv("VEXCI_CACHE", str(tmp_path))
        monkeypatch.setattr(archive, "candidates", lambda *_: [(Lists(), None)])
        spec = next(kernel for kernel in manifest.kernels if kernel.provider == "apt")
        found = headers.packages(spec, target, say=print)
        assert [path.name for path in found] == ["linux-headers.deb", "linux-image-6.12.1.deb"]
        fields = subprocess.run(["dpkg-deb", "--field", found[1]], check=True, capture_output=True, text=True).stdout
        assert "Package: linux-image-6.12.1" in fields and "Version: 6.12.1-1" in fields


class TestRpm:
    @pytest.mark.parametrize("content", [b"", b"rpm", b"\xed\xab\xee\xdb", b"\xed\xab\xee\xdb" + bytes(200)])
    def test_what_is_no_package_is_a_value_error(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.rpm").write_bytes(content)
        with pytest.raises(ValueError, match=r"not an rpm|no header"):
            rpm.identity(tmp_path / "x.rpm")
