# SPDX-License-Identifier: Apache-2.0
"""Real kernel packages: they build modules from the cache alone, and stale or missing package lists are got over."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ci import kernels, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels import apt
from ci.kernels.packages import Lists, private_lists
from ci.manifest import KernelSpec
from ci.model import KernelTarget

pytestmark = pytest.mark.integration

SOURCE = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("nothing");\n'


def say(text: str) -> None:
    print(text)


def target(pattern: str) -> KernelTarget:
    return kernels.resolve(KernelSpec(f"debian-{pattern}", "apt", pattern), say=say)


@pytest.mark.parametrize("pattern", ["6.1-cloud", "6.12-cloud"])
def test_a_module_is_built_from_the_cache_alone(pattern: str, tmp_path: Path) -> None:
    kernel = target(pattern)
    assert kernel.headers.is_relative_to(store.cache_dir())
    (tmp_path / "Kbuild").write_text("obj-m := nothing.o\n")
    (tmp_path / "nothing.c").write_text(SOURCE)
    subprocess.run(["make", "-s", "-C", kernel.headers, f"M={tmp_path}", "modules"], check=True, timeout=120)
    told = subprocess.run(["modinfo", "-F", "vermagic", tmp_path / "nothing.ko"], capture_output=True, text=True, check=True).stdout
    assert told.split()[0] == kernel.release
    read = "".join(path.read_text() for path in tmp_path.glob(".*.cmd")).replace(str(store.cache_dir()), "CACHE")
    assert f"CACHE/kernels/{kernel.headers.parents[2].name}/usr/src/" in read  # the check below looks at the right thing
    assert " /usr/src/" not in read and " /usr/lib/linux-kbuild" not in read


@pytest.mark.parametrize("pattern", ["6.1-cloud", "6.12-cloud"])
def test_a_kernel_comes_with_an_image_and_plain_modules_of_the_same_release(pattern: str) -> None:
    kernel = target(pattern)
    assert kernel.image is not None and kernel.modules is not None
    told = subprocess.run(["file", "-b", kernel.image], capture_output=True, text=True, check=True).stdout
    assert "bzImage" in told and kernel.release in told
    assert not list(kernel.modules.rglob("*.ko.xz"))
    module = kernel.modules / "kernel/drivers/block/virtio_blk.ko"
    assert subprocess.run(["modinfo", "-F", "vermagic", module], capture_output=True, text=True, check=True).stdout.startswith(
        kernel.release
    )


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def use_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lists: Path, extra: str = "") -> None:
    config = tmp_path / "apt.conf"
    config.write_text(f'Dir::State::Lists "{lists}";\n{extra}')
    monkeypatch.setenv("APT_CONFIG", str(config))


OFFLINE = 'Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::https::Proxy "http://127.0.0.1:9";\nAcquire::Retries "0";\n'


@pytest.mark.usefixtures("empty_cache")
def test_without_package_lists_a_private_copy_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists/partial").mkdir(parents=True)
    use_lists(monkeypatch, tmp_path, tmp_path / "lists")
    said: list[str] = []
    kernel = kernels.resolve(KernelSpec("k", "apt", "6.1-cloud"), say=said.append)
    assert kernel.image is not None and kernel.image.is_file()
    assert "offer no kernel for '6.1-cloud' that can be had; updating a private copy" in said[0]
    assert not list((tmp_path / "lists").glob("*Packages*"))  # the machine's own lists were left alone


def test_stale_package_lists_are_got_over(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = private_lists()
    lists.update()
    stale = tmp_path / "stale"
    shutil.copytree(empty_cache / "apt/lists", stale)
    shutil.rmtree(empty_cache)
    spoil(stale)
    use_lists(monkeypatch, tmp_path, stale)
    said: list[str] = []
    kernel = kernels.resolve(KernelSpec("k", "apt", "6.1-cloud"), say=said.append)
    assert kernel.headers.is_dir()
    (line,) = [line for line in said if "out of date" in line]
    assert "the archive no longer has 6.1." in line and "://" not in line and "404" in (empty_cache / "logs/kernels.log").read_text()
    assert not list(empty_cache.rglob(".making-*"))


def spoil(lists: Path) -> None:
    """Let every package of these lists lie where no archive has it any more."""
    helper = "/usr/lib/apt/apt-helper"
    for path in sorted(lists.glob("*_Packages*")):
        plain = subprocess.run([helper, "cat-file", path], capture_output=True, check=True).stdout
        path.unlink()
        path.with_suffix("").write_bytes(plain.replace(b"\nFilename: pool/", b"\nFilename: gone/"))


@pytest.mark.usefixtures("empty_cache")
def test_without_a_network_it_is_the_machine_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists/partial").mkdir(parents=True)
    use_lists(monkeypatch, tmp_path, tmp_path / "lists", OFFLINE)
    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1:9"):
        kernels.resolve(KernelSpec("k", "apt", "6.1-cloud"), say=say)


def test_a_download_that_fails_leaves_nothing(empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_lists().update()
    lists = tmp_path / "lists"
    shutil.copytree(empty_cache / "apt/lists", lists)
    shutil.rmtree(empty_cache)
    use_lists(monkeypatch, tmp_path, lists, OFFLINE)
    with pytest.raises(InfrastructureError, match="downloading kernel packages"):
        kernels.resolve(KernelSpec("k", "apt", "6.1-cloud"), say=say)
    assert not list(empty_cache.rglob("*.deb")) and not list(empty_cache.rglob(".making-*"))
    assert kernels.listing([KernelSpec("k", "apt", "6.1-cloud")])[0].state == "known"


def test_a_kernel_that_the_sources_lack_is_a_usage_error_with_the_offered_patterns(empty_cache: Path) -> None:
    with pytest.raises(UsageError, match=r"offer no kernel for '4\.19-cloud'") as caught:
        kernels.resolve(KernelSpec("k", "apt", "4.19-cloud"), say=say)
    assert "6.1-cloud" in caught.value.hint
    assert (empty_cache / "apt/updated").is_file()  # it looked at up-to-date lists before it said so


def test_apt_answers_for_packages_that_exist_and_leaves_out_the_others() -> None:
    shown = Lists().show(["linux-headers-cloud-amd64", "no-such-package-at-all"])
    assert [package.depends != () for package in shown.values()] == [True]
    assert Lists().show(["no-such-package-at-all"]) == {}


def test_the_memory_of_a_pattern_names_the_kernel_that_is_there() -> None:
    kernel = target("6.1-cloud")
    memory = apt._remembered(KernelSpec("any", "apt", "6.1-cloud"))
    assert memory is not None and memory.release == kernel.release and os.path.isdir(kernel.headers)
