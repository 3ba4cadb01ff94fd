# SPDX-License-Identifier: Apache-2.0
"""Kernels that are built: a configuration that does not hold, a source that is another, a build that fails: nothing is kept of it.

The sources here are a few lines of Makefile that answer as the kernel's own would: only ways to fail are tried on them. The real
kernel is built and booted by tests/integration/test_debug_kernel.py.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from ci import kernels, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels import archive, built, download, kconfig, source
from ci.manifest import ArchiveSpec, KernelSpec

pytestmark = pytest.mark.unit

# Knows two options; `ANSWERS` is what each make goal of a build does.
MAKEFILE = """\
allnoconfig:
\tgrep -E '^CONFIG_(GOOD|ALSO)=' $(KCONFIG_ALLCONFIG) > .config || :
bzImage modules:
\t{build}
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))


def tarball(folder: Path, build: str = "exit 3") -> Path:
    tree = folder / "linux"
    (tree / "scripts/kconfig").mkdir(parents=True)
    (tree / "scripts/kconfig/x").write_text("")
    (tree / "Makefile").write_text(MAKEFILE.format(build=build))
    path = folder / "linux.tar"
    with tarfile.open(path, "w") as file:
        file.add(tree, "linux")
    return path


def spec(folder: Path, fragment: str = "CONFIG_GOOD=y\n", build: str = "exit 3") -> KernelSpec:
    path = tarball(folder, build)
    (folder / "a.config").write_text(fragment)
    return KernelSpec(
        "mine",
        "source",
        tarball=str(path),
        sha256=store.sha256_file(path),
        base="allnoconfig",
        fragments=(folder / "a.config",),
        deadline=20,
    )


def kept() -> list[str]:
    """What is in the cache of kernels."""
    return [path.name for path in (store.cache_dir() / "kernels").glob("*")]


def test_an_option_that_does_not_hold_is_named_with_its_line_before_anything_is_compiled(tmp_path: Path) -> None:
    wanted = spec(tmp_path, "# the machine\nCONFIG_GOOD=y\nCONFIG_KASAM=y\n", build="touch /nonexistent/compiled")
    with pytest.raises(UsageError) as caught:
        kernels.resolve(wanted, say=print)
    assert "1 lines of the kernel's configuration do not hold" in caught.value.message
    assert f"{tmp_path}/a.config:3: CONFIG_KASAM=y, but it became n" in caught.value.message
    assert kept() == []


def test_a_kernel_that_does_not_build_leaves_its_log_and_nothing_in_the_cache(tmp_path: Path) -> None:
    wanted = spec(tmp_path, build="@echo 'mm/x.c:1:2: error: no such thing' >&2; exit 1")
    with pytest.raises(InfrastructureError, match=r"'mine' does not build \(exit 2\): mm/x\.c:1:2: error: no such thing") as caught:
        kernels.resolve(wanted, say=print)
    assert caught.value.evidence[0].read_text().count("no such thing") >= 1
    assert kept() == []


def test_a_kernel_that_never_gets_ready_is_stopped_at_its_deadline_and_is_no_fault_of_the_product(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="did not end within 1 s"):
        kernels.resolve(replace(spec(tmp_path, build="while :; do :; done"), deadline=1), say=print)
    assert kept() == []


def test_a_build_that_succeeds_and_makes_no_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no configured kernel tree"):
        kernels.resolve(spec(tmp_path, build="exit 0"), say=print)
    assert kept() == []


def test_another_tarball_than_declared_is_refused_with_its_hash(tmp_path: Path) -> None:
    wanted = spec(tmp_path)
    Path(wanted.tarball).write_bytes(b"other")
    with pytest.raises(UsageError, match="is another file than declared") as caught:
        kernels.resolve(wanted, say=print)
    assert store.sha256_file(Path(wanted.tarball)) in caught.value.message
    with pytest.raises(UsageError, match="does not exist"):
        kernels.resolve(replace(wanted, tarball=str(tmp_path / "none.tar")), say=print)


def test_a_tarball_that_cannot_be_downloaded_is_the_networks_fault_and_leaves_nothing(tmp_path: Path) -> None:
    wanted = replace(spec(tmp_path), tarball="http://127.0.0.1:9/linux.tar.xz")
    with pytest.raises(InfrastructureError, match=r"http://127\.0\.0\.1:9/linux\.tar\.xz cannot be downloaded"):
        download.tarball(wanted, print)
    assert list((store.cache_dir() / "downloads").glob("*")) == []


def test_what_is_no_kernel_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as file:
        file.add(Path(__file__), "readme")
    wanted = KernelSpec("mine", "source", tarball=str(path), sha256=store.sha256_file(path), base="allnoconfig")
    with pytest.raises(UsageError, match="holds no kernel source"):
        kernels.resolve(wanted, say=print)


def test_missing_tools_are_named_together_with_the_command_that_installs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = spec(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "gcc", "perl", "xz", "tar"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    real = source.process.find_program

    def find(name: str, *, hint: str = "") -> str:
        if name in ("flex", "bc"):
            raise UsageError(f"the program '{name}' is not installed", hint=hint)
        return real(name, hint=hint)

    monkeypatch.setattr(source.process, "find_program", find)
    with pytest.raises(UsageError, match="cannot be built here: flex, bc not installed") as caught:
        kernels.resolve(wanted, say=print)
    assert caught.value.hint == "apt-get install flex bc"


def test_a_kernel_of_clang_needs_clangs_tools_and_is_made_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = replace(spec(tmp_path), toolchain="clang")

    def find(name: str, *, hint: str = "") -> str:
        if name in ("clang", "ld.lld", "llvm-ar", "gcc"):
            raise UsageError(f"the program '{name}' is not installed", hint=hint)
        return name

    monkeypatch.setattr(source.process, "find_program", find)
    with pytest.raises(UsageError, match="cannot be built here: clang, lld, llvm not installed") as caught:
        source.precheck(wanted)
    assert caught.value.hint == "apt-get install clang lld llvm"
    monkeypatch.setattr(source, "_compiler", lambda family: family)
    command = source._make_command(wanted, source._Origin("linux", "a" * 64))
    assert "LLVM=1" in command and any(word.startswith("CC=") and word.endswith("clang") for word in command)


def test_the_key_changes_with_the_source_the_options_and_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = spec(tmp_path)
    origin = source._Origin("linux", "a" * 64)
    first = source._key(wanted, origin)
    (tmp_path / "a.config").write_text("# a comment changes nothing\nCONFIG_GOOD=y\n")
    assert source._key(wanted, origin) == first
    others = [source._key(wanted, source._Origin("linux", "b" * 64))]
    (tmp_path / "a.config").write_text("CONFIG_GOOD=n\n")
    others.append(source._key(wanted, origin))
    others.append(source._key(replace(wanted, base="defconfig"), origin))
    monkeypatch.setattr(source, "_compiler", lambda family: f"{family} 13.0")
    others += [source._key(wanted, origin), source._key(replace(wanted, toolchain="clang"), origin)]
    assert len({first, *others}) == 6


def test_a_later_fragment_wins_and_a_line_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("CONFIG_A=y\nCONFIG_B=m\n# a comment\n")
    (tmp_path / "b").write_text('# CONFIG_A is not set\nCONFIG_S="x y"\n')
    found = {option.name: option.value for option in kconfig.options([tmp_path / "a", tmp_path / "b"])}
    assert found == {"CONFIG_A": "n", "CONFIG_B": "m", "CONFIG_S": '"x y"'}
    (tmp_path / "b").write_text("CONFIG_A y\n")
    with pytest.raises(UsageError) as caught:
        kconfig.options([tmp_path / "b"])
    assert caught.value.where == f"{tmp_path}/b:1"


def test_an_option_that_is_absent_is_the_same_as_one_that_is_not_set() -> None:
    wanted = [kconfig.Option("CONFIG_A", "n", "f:1"), kconfig.Option("CONFIG_B", "y", "f:2"), kconfig.Option("CONFIG_C", "n", "f:3")]
    assert [(option.name, value) for option, value in kconfig.unmet(wanted, "CONFIG_B=m\nCONFIG_C=y\n")] == [
        ("CONFIG_B", "m"),
        ("CONFIG_C", "y"),
    ]


def test_a_tree_that_is_not_built_says_what_it_lacks(tmp_path: Path) -> None:
    wanted = KernelSpec("mine", "tree", folder=tmp_path)
    with pytest.raises(UsageError, match="is no configured kernel tree"):
        kernels.resolve(wanted, say=print)
    (tmp_path / "include/generated").mkdir(parents=True)
    (tmp_path / "include/generated/utsrelease.h").write_text('#define UTS_RELEASE "6.9.0-mine"\n')
    (tmp_path / "Makefile").write_text("")
    with pytest.raises(UsageError, match=r"is not built: it lacks Module\.symvers, scripts/mod/modpost") as caught:
        kernels.resolve(wanted, say=print)
    assert caught.value.hint == f"make -C {tmp_path}"
    assert kernels.listing([wanted])[0].state == "missing"
    (tmp_path / "Module.symvers").write_text("")
    (row,) = kernels.listing([wanted])
    assert (row.state, row.release, row.where) == ("built", "6.9.0-mine", str(tmp_path))


def test_a_tree_without_an_image_can_be_built_for_and_is_never_written_to(tmp_path: Path) -> None:
    for name in ("include/generated/utsrelease.h", "Makefile", "Module.symvers", "scripts/mod/modpost"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('#define UTS_RELEASE "6.9.0-mine"\n')
    before = sorted(os.listdir(tmp_path))
    target = kernels.resolve(KernelSpec("mine", "tree", folder=tmp_path), say=print)
    assert (target.release, target.image, target.headers) == ("6.9.0-mine", None, tmp_path)
    assert sorted(os.listdir(tmp_path)) == before
    first = target.origin
    (tmp_path / "Module.symvers").write_text("built anew")
    assert kernels.resolve(KernelSpec("mine", "tree", folder=tmp_path), say=print).origin != first


def test_of_a_built_tree_just_what_modules_need_is_kept(tmp_path: Path) -> None:
    kept_files = [
        "Makefile",
        ".config",
        "Module.symvers",
        "include/linux/fs.h",
        "scripts/mod/modpost",
        "arch/x86/Makefile",
        "fs/ext4/Kconfig",
    ]
    others = ["fs/ext4/inode.c", "fs/ext4/inode.o", "scripts/mod/modpost.o", "arch/arm/Makefile", "vmlinux", "include/x.cmd"]
    for name in (*kept_files, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert sorted(str(path.relative_to(tmp_path)) for path in built._kept(tmp_path)) == sorted(kept_files)


DEBIAN = ArchiveSpec("debian", "http://127.0.0.1:9/debian", ("bookworm", "bookworm-updates"), ("main",), Path("/keys.gpg"))


def os_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "os-release").write_text(f'ID=some\nVERSION_CODENAME="{name}"\n')
    monkeypatch.setattr(archive, "OS_RELEASE", tmp_path / "os-release")


@pytest.mark.parametrize(("name", "own"), [("bookworm", True), ("noble", False), ("", False)])
def test_the_machines_own_sources_are_asked_where_it_is_that_distribution(
    name: str, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os_release(tmp_path, monkeypatch, name)
    assert archive.is_own([DEBIAN]) is own
    assert archive.is_own([])


def test_an_archive_without_its_keys_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os_release(tmp_path, monkeypatch, "noble")
    with pytest.raises(UsageError, match=r"archives\.debian\.keyring: /keys\.gpg does not exist") as caught:
        kernels.resolve(KernelSpec("k", "apt", "6.1-cloud", archives=(DEBIAN,)), say=print)
    assert "debian-archive-keyring" in caught.value.hint


def test_a_declared_archive_has_its_own_sources_keys_and_lists_and_its_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os_release(tmp_path, monkeypatch, "noble")
    (tmp_path / "keys.gpg").write_bytes(b"")
    mine = replace(DEBIAN, keyring=tmp_path / "keys.gpg")
    lists = archive.declared_lists([mine])
    assert len(lists.sources) == 2 and f"signed-by={tmp_path}/keys.gpg] http://127.0.0.1:9/debian bookworm main" in lists.sources[0]
    assert lists.private is not None and lists.private.parent == store.cache_dir()
    assert archive.declared_lists([replace(mine, uri="http://127.0.0.1:9/other")]).private != lists.private
    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1:9"):
        kernels.resolve(KernelSpec("k", "apt", "6.1-cloud", archives=(mine,)), say=print)
    config = (lists.private / "apt.conf").read_text()
    assert f'Dir::Etc::SourceList "{lists.private}/sources.list";' in config and 'Dir::Etc::TrustedParts "/dev/null";' in config
    assert kept() in ([], ["resolved"])
