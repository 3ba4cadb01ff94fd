# SPDX-License-Identifier: Apache-2.0
"""Real images, booted by a bare QEMU: a good one comes up, and each thing that is missing is said on the console at once."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ci import images, kernels, leftovers, process, store
from ci.errors import InfrastructureError, UsageError
from ci.images.boot import FAILED, MODULES_SERIAL, ROOT_SERIAL, SEED_SERIAL, SWITCHING_ROOT, BootFiles, boot_files
from ci.manifest import ImageSpec, KernelSpec
from ci.model import Image

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[2]
SMALL = "version: 1\ndistribution: debian\nsuite: bookworm\nsize: 256\npackages: [{packages}]\n"


def say(text: str) -> None:
    print(text)


def files_of(pattern: str) -> BootFiles:
    return boot_files(kernels.resolve(KernelSpec(pattern, "apt", pattern), say=say), say=say)


def shipped_image() -> Image:
    log = store.cache_dir() / "tests/image.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return images.build(ImageSpec("debian-12", PROJECT / "vmimages/debian-12"), PROJECT, log=log, say=say)


@dataclass
class Bare:
    """A guest without libvirt. `disks` maps serial numbers to (file, format)."""

    files: BootFiles
    disks: dict[str, tuple[Path, str]] = field(default_factory=dict)
    network: bool = True

    def argv(self, console: Path) -> list[str | Path]:
        argv: list[str | Path] = [process.find_program("qemu-system-x86_64"), "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
        argv += ["-m", "512", "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{console}"]
        argv += ["-kernel", self.files.kernel, "-initrd", self.files.initrd, "-append", self.files.command_line]
        for number, (serial, (file, kind)) in enumerate(self.disks.items()):
            writable = "" if kind == "qcow2" else ",readonly=on"
            argv += ["-drive", f"file={file},format={kind},if=none,id=d{number},cache=unsafe{writable}"]
            argv += ["-device", f"virtio-blk-pci,drive=d{number},serial={serial}"]
        if self.network:
            argv += ["-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n,romfile="]
        return argv

    def until_it_ends(self, console: Path) -> str:
        """What it said on the console until it switched itself off."""
        done = process.run(self.argv(console), limits=process.Limits(90), log=console.with_name("qemu.log"))
        assert done.ok, done.error_text()
        return console.read_text(errors="replace")

    def until(self, text: str, console: Path) -> str:
        """What it said on the console until `text` was there; then it is ended."""
        console.touch()
        with process.started(self.argv(console), stdout=console.with_name("qemu.log")) as running:
            deadline = time.monotonic() + 120
            while text not in console.read_text(errors="replace") and time.monotonic() < deadline:
                if process.wait_exit(running, 0.1):
                    break
        return console.read_text(errors="replace")


def overlay(image: Image, path: Path) -> Path:
    process.output(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk, path])
    return path


def seed(path: Path, files: dict[str, bytes]) -> Path:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o600
            tar.addfile(entry, io.BytesIO(data))
    path.write_bytes(out.getvalue().ljust(1 << 20, b"\0"))
    return path


def guest(pattern: str, folder: Path) -> Bare:
    files = files_of(pattern)
    process.output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"])
    identity = {
        "etc/hostname": b"seeded\n",
        "etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
        "etc/ssh/ssh_host_ed25519_key": (folder / "key").read_bytes(),
    }
    disks = {
        ROOT_SERIAL: (overlay(shipped_image(), folder / "root.qcow2"), "qcow2"),
        MODULES_SERIAL: (files.modules, "raw"),
        SEED_SERIAL: (seed(folder / "seed", identity), "raw"),
    }
    return Bare(files, disks)


@pytest.mark.parametrize("pattern", ["6.1-cloud", "6.12-cloud"])
def test_the_shipped_image_comes_up_with_each_kernel_and_takes_its_seed(pattern: str, tmp_path: Path) -> None:
    said = guest(pattern, tmp_path).until("Reached target multi-user.target", tmp_path / "console")
    assert SWITCHING_ROOT in said and FAILED not in said
    assert "Hostname set to <seeded>" in said
    assert "Reached target multi-user.target" in said
    assert "[FAILED]" not in said  # no unit failed


@pytest.mark.parametrize("serial", [ROOT_SERIAL, MODULES_SERIAL, SEED_SERIAL])
def test_a_missing_disk_is_named_and_the_guest_ends(serial: str, tmp_path: Path) -> None:
    bare = guest("6.1-cloud", tmp_path)
    del bare.disks[serial]
    said = bare.until_it_ends(tmp_path / "console")
    assert f"{FAILED} there is no disk with the serial {serial}" in said and SWITCHING_ROOT not in said


def test_a_missing_network_card_is_named_and_the_guest_ends(tmp_path: Path) -> None:
    bare = guest("6.1-cloud", tmp_path)
    bare.network = False
    assert f"{FAILED} there is no network card eth0" in bare.until_it_ends(tmp_path / "console")


def test_a_root_disk_that_is_no_file_system_is_named(tmp_path: Path) -> None:
    bare = guest("6.1-cloud", tmp_path)
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    bare.disks[ROOT_SERIAL] = (tmp_path / "zeros", "raw")
    assert f"{FAILED} cannot mount the root file system" in bare.until_it_ends(tmp_path / "console")


def test_a_seed_that_is_no_tar_is_named(tmp_path: Path) -> None:
    bare = guest("6.1-cloud", tmp_path)
    (tmp_path / "noise").write_bytes(os.urandom(1 << 20))
    bare.disks[SEED_SERIAL] = (tmp_path / "noise", "raw")
    assert f"{FAILED} cannot unpack the seed" in bare.until_it_ends(tmp_path / "console")


def test_the_initramfs_of_another_kernel_is_refused(tmp_path: Path) -> None:
    bare = guest("6.1-cloud", tmp_path)
    bare.files = BootFiles(files_of("6.12-cloud").kernel, bare.files.initrd, bare.files.modules, bare.files.command_line)
    assert f"{FAILED} these modules are for kernel 6.1." in bare.until_it_ends(tmp_path / "console")


def test_boot_files_are_made_once_and_anew_when_the_modules_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernels.resolve(KernelSpec("k", "apt", "6.12-cloud"), say=say)
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))
    first = boot_files(kernel, say=say)
    assert boot_files(kernel, say=pytest.fail) == first
    assert kernel.modules is not None
    changed = tmp_path / "lib/modules" / kernel.release
    changed.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", kernel.modules, changed.parent], check=True)
    (changed / "extra.ko").write_bytes(b"new")
    other = boot_files(replace(kernel, modules=changed), say=say)
    assert other.modules != first.modules


def test_a_new_kernel_takes_the_root_file_system_that_is_there() -> None:
    before = shipped_image().disk.stat()
    one, two = files_of("6.1-cloud"), files_of("6.12-cloud")
    assert one.kernel != two.kernel and one.initrd != two.initrd and one.modules != two.modules
    spec = ImageSpec("debian-12", PROJECT / "vmimages/debian-12")
    after = images.build(spec, PROJECT, log=Path("/nonexistent/log"), say=pytest.fail).disk.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def small(folder: Path, packages: str) -> ImageSpec:
    folder.mkdir()
    (folder / "image.yaml").write_text(SMALL.format(packages=packages))
    return ImageSpec("small", folder)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def half_made(cache: Path) -> list[Path]:
    return list(cache.rglob(".making-*")) + list(cache.rglob("root.ext4"))


def test_a_package_that_does_not_exist_is_a_mistake_in_the_definition(own_cache: Path, tmp_path: Path) -> None:
    spec = small(tmp_path / "image", "systemd, no-such-package-at-all")
    with pytest.raises(UsageError, match="has no package called no-such-package-at-all") as caught:
        images.build(spec, tmp_path, log=tmp_path / "log", say=say)
    assert caught.value.where == str(tmp_path / "image/image.yaml") and caught.value.evidence == (tmp_path / "log",)
    assert half_made(own_cache) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("scripts: [bad.sh]", "scripts: 'bad.sh' ended with exit 7"),
        ("scripts: [big.sh]", "size: the packages and files do not fit on a disk of 256 MiB"),
    ],
)
def test_a_definition_that_cannot_be_carried_out_makes_no_image(line: str, complaint: str, own_cache: Path, tmp_path: Path) -> None:
    spec = small(tmp_path / "image", "sed")
    (spec.folder / "bad.sh").write_text("exit 7\n")
    (spec.folder / "big.sh").write_text("yes content | head -c 220M > /big\n")
    with open(spec.folder / "image.yaml", "a") as file:
        file.write(f"{line}\n")
    (tmp_path / "log").write_text("No space left on device\n")  # an earlier build's log says nothing about this one
    with pytest.raises(UsageError) as caught:
        images.build(spec, tmp_path, log=tmp_path / "log", say=say)
    assert caught.value.message == complaint and caught.value.where == str(spec.folder / "image.yaml")
    assert half_made(own_cache) == [] and [row.state for row in images.listing([spec])] == ["absent"]


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[None]:
    path.mkdir()
    with leftovers.mount(path):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", path], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is full needs a mount, and that needs root")
def test_a_full_disk_is_said_in_words_and_leaves_nothing(own_cache: Path, tmp_path: Path) -> None:
    with small_disk(own_cache, 150):
        with pytest.raises(InfrastructureError, match="the disk is full"):
            images.build(small(tmp_path / "image", "systemd"), tmp_path, log=tmp_path / "log", say=say)
        assert half_made(own_cache) == []
    mounted = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in mounted
