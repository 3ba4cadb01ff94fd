# SPDX-License-Identifier: Apache-2.0
"""A pattern means the newest whole kernel of its flavour; headers never lead out of their own folder."""

from __future__ import annotations

import json
import lzma
import os
import time
from pathlib import Path

import pytest

from ci import kernels
from ci.errors import InfrastructureError, UsageError
from ci.kernels import apt, host
from ci.kernels.packages import parse_packages
from ci.kernels.pattern import Release, matching, parse_release
from ci.kernels.unpack import inflate, prove, relink, relocate_makefile
from ci.manifest import KernelSpec

pytestmark = pytest.mark.unit

NAMES = (
    "6.1.0-9-cloud-amd64",
    "6.1.0-56-cloud-amd64",
    "6.1.0-56-amd64",
    "6.1.0-56-rt-amd64",
    "6.12.9+deb12-cloud-amd64",
    "6.12.117+deb12-cloud-amd64",
    "6.12.117+deb12-amd64",
)
SPEC = KernelSpec("debian", "apt", "6.1-cloud")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))


def releases() -> list[Release]:
    return [release for release in map(parse_release, NAMES) if release is not None]


@pytest.mark.parametrize(
    ("pattern", "newest"),
    [
        ("6.1-cloud", "6.1.0-56-cloud-amd64"),  # 56 is newer than 9, and 6.12 is not a 6.1
        ("6.1", "6.1.0-56-amd64"),
        ("6.1-rt", "6.1.0-56-rt-amd64"),
        ("6.1.0-9-cloud", "6.1.0-9-cloud-amd64"),
        ("6.12-cloud", "6.12.117+deb12-cloud-amd64"),  # 117 is newer than 9
        ("6.12.9-cloud", "6.12.9+deb12-cloud-amd64"),
        ("6.12", "6.12.117+deb12-amd64"),
    ],
)
def test_a_pattern_means_the_newest_release_of_its_version_and_flavour(pattern: str, newest: str) -> None:
    assert matching(pattern, releases())[0].name == newest


@pytest.mark.parametrize("pattern", ["6.12-rt", "6.11", "5.10-cloud", "6.1.1", "6.1.0-5-cloud"])
def test_a_pattern_that_nothing_matches_means_nothing(pattern: str) -> None:
    assert matching(pattern, releases()) == []


@pytest.mark.parametrize("pattern", ["", "cloud", "6", "6.1-cloud-amd64", "6.1_cloud", "6.1-", "../6.1", "6.1 cloud", "6.1-cloud\n"])
def test_what_is_no_pattern_is_a_usage_error_that_shows_how_one_is_written(pattern: str) -> None:
    with pytest.raises(UsageError, match="not a kernel pattern") as caught:
        kernels.resolve(KernelSpec("k", "apt", pattern), say=print)
    assert "6.1-cloud" in caught.value.hint and "kernels.k.pattern" in caught.value.message


@pytest.mark.parametrize("name", ["6.1-cloud-amd64", "6.1.0-56-common", "6.1.0-56-common-rt", "6.12.117+deb12-common", "amd64", "generic"])
def test_metapackages_and_common_headers_are_no_releases(name: str) -> None:
    parsed = parse_release(name)
    assert parsed is None or parsed.arch != "amd64"


def test_only_packages_that_can_be_downloaded_count() -> None:
    text = (
        "Package: linux-headers-1\nVersion: 2\nSize: 30\nSHA256: ab\n"
        "Depends: linux-base (>= 4.12~), linux-headers-1-common (= 2), linux-image-1 (= 2) "
        "| linux-image-1-unsigned (= 2), linux-kbuild-6.1\n"
        "Description: x\n Depends: not-me\n\n"
        "Package: installed-only\nVersion: 1\nStatus: install ok installed\n\n"
    )
    (package,) = parse_packages(text)
    assert (package.name, package.version, package.size) == ("linux-headers-1", "2", 30)
    assert package.depends == ("linux-base", "linux-headers-1-common", "linux-image-1", "linux-kbuild-6.1")


def remember(release: str, age: float, folder: str = "entry") -> None:
    memory = {"release": release, "flavour": "cloud", "folder": folder, "origin": "x", "time": time.time() - age}
    path = Path(os.environ["VEXCI_CACHE"]) / "kernels/resolved/apt-6.1-cloud.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(memory))


def entry(name: str = "entry") -> None:
    (Path(os.environ["VEXCI_CACHE"]) / "kernels" / name).mkdir(parents=True)


def forbid_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


def test_a_remembered_kernel_starts_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry()
    remember("6.1.0-56-cloud-amd64", age=3600)
    forbid_programs(monkeypatch)
    target = kernels.resolve(SPEC, say=pytest.fail)
    assert target.release == "6.1.0-56-cloud-amd64"
    assert target.headers == tmp_path / "cache/kernels/entry/usr/src/linux-headers-6.1.0-56-cloud-amd64"


@pytest.mark.parametrize("reason", ["old", "refresh", "gone", "broken", "foreign"])
def test_apt_is_asked_again_when_the_memory_cannot_be_used(reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if reason != "gone":
        entry()
    remember("6.1.0-56-cloud-amd64", age=2 * 86400 if reason == "old" else 10)
    path = tmp_path / "cache/kernels/resolved/apt-6.1-cloud.json"
    if reason == "broken":
        path.write_text("{")
    if reason == "foreign":
        path.write_text('{"unknown": 1}')
    forbid_programs(monkeypatch)
    with pytest.raises(UsageError, match="'apt-cache' is not installed"):
        kernels.resolve(SPEC, say=print, refresh=reason == "refresh")


def test_the_list_says_what_is_known_without_asking_anyone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry()
    (tmp_path / "cache/kernels/entry/vmlinuz").write_bytes(b"x" * 10000)
    remember("6.1.0-56-cloud-amd64", age=2 * 86400)
    forbid_programs(monkeypatch)
    first, second = kernels.listing([SPEC, KernelSpec("other", "apt", "6.12-cloud")])
    assert (first.state, first.release) == ("downloaded", "6.1.0-56-cloud-amd64") and first.size >= 10000
    assert (second.state, second.release, second.size) == ("known", "", 0)


def test_a_kernel_that_is_not_offered_names_the_offered_patterns() -> None:
    error = apt._not_offered(SPEC, "kernels.debian.pattern", {"6.12", "6.1-rt", "6.1"})
    assert "offered are: 6.1, 6.1-rt, 6.12\n" in error.hint and "'6.1-cloud'" in error.message
    assert "no Debian kernel at all" in apt._not_offered(SPEC, "x", set()).hint


def test_an_unknown_provider_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown provider 'snap'"):
        kernels.resolve(KernelSpec("k", "snap"), say=print)


def headers(tree: Path, release: str, says: str | None = None) -> Path:
    folder = tree / "usr/src" / f"linux-headers-{release}"
    (folder / "include/generated").mkdir(parents=True)
    (folder / "include/generated/utsrelease.h").write_text(f'#define UTS_RELEASE "{says or release}"\n')
    (folder / "Makefile").write_text("include /usr/src/linux-headers-6.1.0-56-common/Makefile\n")
    return folder


def test_missing_host_headers_name_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "MODULES", tmp_path)
    with pytest.raises(UsageError, match="are not installed") as caught:
        kernels.resolve(KernelSpec("host", "host"), say=print)
    assert f"apt-get install linux-headers-{os.uname().release}" in caught.value.hint
    assert kernels.listing([KernelSpec("host", "host")])[0].state == "missing"


def test_host_headers_of_another_kernel_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "MODULES", tmp_path)
    folder = headers(tmp_path, "other")
    (tmp_path / os.uname().release).mkdir()
    (tmp_path / os.uname().release / "build").symlink_to(folder)
    with pytest.raises(UsageError, match="holds the headers of other"):
        kernels.resolve(KernelSpec("host", "host"), say=print)


def test_host_headers_of_the_running_kernel_are_a_target_that_cannot_be_booted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "MODULES", tmp_path)
    folder = headers(tmp_path, os.uname().release)
    (tmp_path / os.uname().release).mkdir()
    (tmp_path / os.uname().release / "build").symlink_to(folder)
    target = kernels.resolve(KernelSpec("host", "host"), say=print)
    assert (target.headers, target.image, target.modules) == (folder, None, None)


def test_absolute_links_into_the_tree_become_relative_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "usr/src/real").mkdir(parents=True)
    (tmp_path / "lib/modules/r").mkdir(parents=True)
    build = tmp_path / "lib/modules/r/build"
    build.symlink_to("/usr/src/real")
    outside = tmp_path / "lib/modules/r/outside"
    outside.symlink_to("/nowhere/at/all")
    relink(tmp_path)
    assert os.readlink(build) == "../../../usr/src/real" and build.is_dir()
    assert os.readlink(outside) == "/nowhere/at/all"


def test_a_makefile_that_refers_to_usr_src_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text("include /usr/src/a/Makefile\nKBUILD := /usr/src/b\n")
    with pytest.raises(InfrastructureError, match="refers to /usr/src"):
        relocate_makefile(makefile)
    makefile.write_text("include /usr/src/a/Makefile\n")
    relocate_makefile(makefile)
    assert "/usr/src" not in makefile.read_text() and makefile.read_text().rstrip().endswith("../a/Makefile")


def whole_tree(tree: Path, release: str, says: str | None = None) -> None:
    folder = headers(tree, release, says)
    for path in (folder / "scripts/Makefile.build", tree / "boot" / f"vmlinuz-{release}", tree / "lib/modules" / release / "modules.dep"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


@pytest.mark.parametrize("missing", ["usr/src/linux-headers-r/scripts/Makefile.build", "boot/vmlinuz-r", "lib/modules/r/modules.dep"])
def test_an_incomplete_kernel_is_refused(missing: str, tmp_path: Path) -> None:
    whole_tree(tmp_path, "r")
    prove(tmp_path, "r")
    (tmp_path / missing).unlink()
    with pytest.raises(InfrastructureError, match="did not bring"):
        prove(tmp_path, "r")


def test_scripts_that_lead_out_of_the_tree_are_refused(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    whole_tree(tree, "r")
    path = tree / "usr/src/linux-headers-r/scripts/Makefile.build"
    path.rename(tmp_path / "Makefile.build")
    path.symlink_to(tmp_path / "Makefile.build")
    with pytest.raises(InfrastructureError, match="did not bring"):
        prove(tree, "r")


def test_headers_of_another_release_are_refused(tmp_path: Path) -> None:
    whole_tree(tmp_path, "r", says="s")
    with pytest.raises(InfrastructureError, match="the headers of r say that they are those of s"):
        prove(tmp_path, "r")


def test_compressed_modules_are_stored_plain(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/a.ko.xz").write_bytes(lzma.compress(b"\x7fELF module"))
    (tmp_path / "kernel/b.ko").write_bytes(b"plain")
    inflate(tmp_path)
    assert sorted(path.name for path in (tmp_path / "kernel").iterdir()) == ["a.ko", "b.ko"]
    assert (tmp_path / "kernel/a.ko").read_bytes() == b"\x7fELF module"
