# SPDX-License-Identifier: Apache-2.0
"""What a guest boots from besides its root disk: the kernel, a small initramfs and a disk with the kernel's modules."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.images.cpio import Archive
from ci.images.modules import device_nodes, load_order
from ci.model import KernelTarget

ROOT_SERIAL = "vexci-root"
MODULES_SERIAL = "vexci-modules"
SEED_SERIAL = "vexci-seed"
SWITCHING_ROOT = "vexci-init: switching root"
FAILED = "vexci-init: FAILED:"
# Says to init.sh that the root is a partition of a whole disk, and the seed is not for it.
CLOUD = "vexci.cloud"

_MIB = 1 << 20
# A change here makes every cached initramfs and modules disk anew.
_VERSION = "2"
_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
# Whose device nodes are there before the module is loaded, so that opening them loads it (udev would do that).
_NODES = ("fuse", "loop", "dm_mod")
_COMMANDS = ["cat", "chmod", "insmod", "ip", "mkdir", "mknod", "modprobe", "mount", "poweroff"]
_COMMANDS += ["sh", "sleep", "switch_root", "tar", "umount", "uname", "usleep"]
_COMMAND_LINE = " ".join(
    (
        "console=ttyS0",
        # Restart at once, which the host sees as the end of the guest (QEMU runs with -no-reboot).
        "panic=-1",
        # The initramfs gives eth0 its address; nothing may rename it afterwards.
        "net.ifnames=0",
        "random.trust_cpu=on",
        # The virtual CPUs share the host's time stamp counter. Without this the kernel distrusts it on a busy host and reads
        # the clock from an emulated HPET, which is slow and makes 6.1 and 6.12 differ.
        "tsc=reliable",
        # The test counts timer interrupts during a delay loop, which an emulated CPU on a busy host fails now and then.
        "no_timer_check",
        # No colours in the log (the kernel passes this on to systemd).
        "TERM=dumb",
    )
)


@dataclass(frozen=True)
class BootFiles:
    """Direct kernel boot: `modules` is a raw ext4 disk that the guest mounts read-only."""

    kernel: Path
    initrd: Path
    modules: Path
    command_line: str


def boot_files(kernel: KernelTarget, *, cloud: bool = False, say: Callable[[str], None]) -> BootFiles:
    """The boot files of a kernel, from the cache or made now (a second or two). With `cloud` for the disk of a cloud image.

    Raises UsageError where the kernel can be built for but not booted, or busybox is not installed.
    """
    if kernel.image is None or kernel.modules is None:
        raise UsageError(
            f"the kernel {kernel.name} ({kernel.release}) can be built for but not booted: it has no image",
            hint="let the machine use a kernel of the provider 'apt'",
        )
    image, modules = kernel.image, kernel.modules
    busybox = static_busybox()
    script = Path(__file__).with_name("init.sh").read_bytes()

    def make(folder: Path) -> None:
        say(f"making the initramfs and the modules disk of {kernel.release}")
        (folder / "initrd").write_bytes(_initramfs(kernel.release, modules, busybox.read_bytes(), script))
        _modules_disk(modules, folder / "modules.ext4")

    facts = (_VERSION, kernel.release, store.sha256_file(image), _listing(modules), store.sha256_file(busybox), script.decode())
    folder = store.cached("boot", store.sha256_text(*facts)[:32], make)
    return BootFiles(image, folder / "initrd", folder / "modules.ext4", f"{_COMMAND_LINE} {CLOUD}" if cloud else _COMMAND_LINE)


def static_busybox() -> Path:
    """A busybox that needs no library, or a UsageError that names the package."""
    hint = "apt-get install busybox-static"
    path = Path(process.find_program("busybox", hint=hint)).resolve()
    data = path.read_bytes()
    if data[:4] != b"\x7fELF" or b"ld-linux" in data[:4096]:
        raise UsageError(f"{path} is not statically linked and cannot run in an initramfs", hint=hint)
    return path


def _listing(modules: Path) -> str:
    """Names, sizes and times of all files, which change whenever the modules do."""
    rows = []
    for folder, _, files in os.walk(modules):
        for file in files:
            info = os.lstat(os.path.join(folder, file))
            rows.append(f"{folder}/{file} {info.st_size} {info.st_mtime_ns}")
    return "\n".join(sorted(row.removeprefix(str(modules)) for row in rows))


def _initramfs(release: str, modules: Path, busybox: bytes, script: bytes) -> bytes:
    # Uncompressed: the emulated CPU would take longer to unpack it than QEMU takes to copy it.
    archive = Archive()
    for name in ("bin", "dev", "proc", "sys", "modules", "newroot"):
        archive.folder(name)
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", busybox, 0o755)
    for command in _COMMANDS:
        archive.symlink(f"bin/{command}", "busybox")
    order = load_order(modules, _MODULES)
    for file in order:
        archive.file(f"modules/{_plain_name(file)}", _plain_bytes(file))
    archive.file("modules/order", "".join(f"{_plain_name(file)}\n" for file in order).encode())
    archive.file("nodes", "".join(f"./{node}\n" for node in device_nodes(modules, _NODES)).encode())
    archive.file("release", f"{release}\n".encode())
    archive.file("init", script, 0o755)
    return archive.finish()


def _plain_name(module: Path) -> str:
    return module.name.split(".ko")[0] + ".ko"


def _plain_bytes(module: Path) -> bytes:
    """A module's bytes without compression: busybox's insmod takes plain ELF only."""
    data = module.read_bytes()
    if module.suffix == ".ko":
        return data
    if module.suffix == ".xz":
        return lzma.decompress(data)
    if module.suffix == ".gz":
        return gzip.decompress(data)
    if module.suffix == ".zst":
        done = subprocess.run([process.find_program("zstd"), "-dcq", module], capture_output=True, check=True, timeout=60)
        return done.stdout
    raise InfrastructureError(f"{module}: a module compressed as '{module.suffix}' is not known")


def _modules_disk(modules: Path, disk: Path) -> None:
    """An ext4 file system without a journal that holds the folder's content; `build` and `source` links are harmless."""
    size = sum(_blocks(os.lstat(os.path.join(f, n)).st_size) for f, ds, ns in os.walk(modules) for n in (*ds, *ns))
    with open(disk, "wb") as file:
        file.truncate((int(size * 1.1 / _MIB) + 8) * _MIB)
    options = ["-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "root_owner=0:0,lazy_itable_init=0,nodiscard"]
    process.output([process.find_program("mkfs.ext4", hint="apt-get install e2fsprogs"), *options, "-d", modules, disk], deadline=120)


def _blocks(size: int) -> int:
    return max(4096, -(-size // 4096) * 4096)
