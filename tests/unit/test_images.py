# SPDX-License-Identifier: Apache-2.0
"""An image is its definition's hash; what is wrong in a definition is said before anything starts."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ci import images
from ci.errors import InfrastructureError, UsageError
from ci.images.boot import boot_files, static_busybox
from ci.images.cpio import Archive
from ci.images.definition import read
from ci.images.modules import device_nodes, load_order
from ci.images.sources import parse_targets
from ci.manifest import ImageSpec
from ci.model import KernelTarget
from ci.reader import ConfigError

pytestmark = pytest.mark.unit

SHIPPED = Path(__file__).resolve().parents[2] / "vmimages"
GOOD = """\
version: 1
distribution: debian
suite: bookworm
size: 512
packages: [systemd, python3]
files: files
mask: [fstrim.timer]
enable: [ssh.service]
scripts: [a.sh]
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "image"
    (place / "files/etc").mkdir(parents=True)
    (place / "files/etc/motd").write_text("hello\n")
    (place / "a.sh").write_text("true\n")
    (place / "image.yaml").write_text(GOOD)
    return place


@pytest.mark.parametrize("shipped", sorted(path.name for path in SHIPPED.iterdir()))
def test_the_shipped_definitions_are_valid(shipped: str) -> None:
    assert read(SHIPPED / shipped).packages


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("version: 1", "version: 7", 1, "version", "expected 1"),
        ("distribution: debian", "distribution: debain", 2, "distribution", "did you mean 'debian'?"),
        ("suite: bookworm", "suite: Book worm", 3, "suite", "'Book worm' is not the name of a suite"),
        ("size: 512", "size: 12", 4, "size", "expected a number from 256"),
        ("size: 512\n", "", 1, "size", "is missing"),
        ("python3]", "--oops]", 5, "packages", "'--oops' is not the name of a package"),
        ("[systemd, python3]", "[systemd, systemd]", 5, "packages", "'systemd' is given twice"),
        ("packages: [systemd, python3]\n", "", 1, "packages", "is missing"),
        ("files: files", "files: nowhere", 6, "files", "does not exist"),
        ("files: files", "files: ..", 6, "files", "lies outside"),
        ("[fstrim.timer]", "[fstrim]", 7, "mask", "'fstrim' is not the name of a systemd unit"),
        ("[fstrim.timer]", "[../x.service]", 7, "mask", "is not the name of a systemd unit"),
        ("[fstrim.timer]", "[ssh.service]", 8, "enable", "'ssh.service' is also masked"),
        ("[a.sh]", "[b.sh]", 9, "scripts", "does not exist"),
        ("scripts:", "script:", 9, "script", "unknown key; did you mean 'scripts'?"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(folder: Path, old: str, new: str, line: int, key: str, message: str) -> None:
    (folder / "image.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        images.build(ImageSpec("i", folder), folder, log=folder / "log", say=pytest.fail)
    assert caught.value.path == folder / "image.yaml"
    assert [(p.line, p.key) for p in caught.value.problems] == [(line, key)] and message in caught.value.problems[0].message


ON_BASE = "version: 1\nbase: ../image\nsize: 1024\npackages: [fio]\nscripts: [b.sh]\n"


@pytest.fixture
def on_base(folder: Path) -> Path:
    """A definition that adds to the one in `folder`."""
    place = folder.parent / "more"
    place.mkdir()
    (place / "b.sh").write_text("true\n")
    (place / "image.yaml").write_text(ON_BASE)
    return place


def test_a_definition_adds_to_its_base_and_counts_it_in(folder: Path, on_base: Path) -> None:
    base, more = read(folder), read(on_base)
    assert (more.suite, more.size, more.packages) == ("bookworm", 1024, ("systemd", "python3", "fio"))
    assert (more.files, more.mask, more.enable) == (base.files, base.mask, base.enable)
    assert more.scripts == (("base/a.sh", folder / "a.sh"), ("b.sh", on_base / "b.sh"))
    before = more.key
    (folder / "files/etc/motd").write_text("bye\n")
    assert more.key != before


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("[fio]", "[python3]", 4, "packages", "'python3' is in the base already"),
        ("../image", "../nowhere", 2, "base", "nowhere has no image.yaml"),
        ("../image", "../chain", 2, "base", "has a base itself; a base stands alone"),
    ],
)
def test_a_mistake_about_the_base_is_named(on_base: Path, old: str, new: str, line: int, key: str, message: str) -> None:
    (on_base.parent / "chain").mkdir()
    (on_base.parent / "chain/image.yaml").write_text(ON_BASE.replace("[b.sh]", "[]"))
    (on_base / "image.yaml").write_text(ON_BASE.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        read(on_base)
    first = next(problem for problem in caught.value.problems if problem.key == key)
    assert first.line == line and message in first.message


def test_a_missing_definition_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"image\.yaml does not exist"):
        images.listing([ImageSpec("i", tmp_path)])


def touch(folder: Path) -> None:
    os.utime(folder / "a.sh", (1, 1))


def umask(folder: Path) -> None:
    (folder / "a.sh").chmod(0o600)


def content(folder: Path) -> None:
    (folder / "files/etc/motd").write_text("bye\n")


def name(folder: Path) -> None:
    (folder / "files/etc/motd").rename(folder / "files/etc/issue")


def executable(folder: Path) -> None:
    (folder / "files/etc/motd").chmod(0o755)


def definition(folder: Path) -> None:
    (folder / "image.yaml").write_text(GOOD.replace("512", "513"))


def link(folder: Path) -> None:
    (folder / "files/etc/motd").unlink()
    (folder / "files/etc/motd").symlink_to("issue")


def empty_folder(folder: Path) -> None:
    (folder / "files/srv").mkdir()


@pytest.mark.parametrize("change", [content, name, executable, definition, link, empty_folder])
def test_what_goes_into_the_image_changes_its_key(folder: Path, change: Callable[[Path], None]) -> None:
    before = read(folder).key
    change(folder)
    assert read(folder).key != before


@pytest.mark.parametrize("change", [touch, umask])
def test_what_does_not_reach_the_image_does_not_change_its_key(folder: Path, change: Callable[[Path], None]) -> None:
    before = read(folder).key
    change(folder)
    assert read(folder).key == before


def test_an_unchanged_definition_is_reused_without_starting_a_program(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ImageSpec("i", folder)
    made = tmp_path / "cache/images" / read(folder).key
    made.mkdir(parents=True)
    (made / "root.ext4").write_bytes(b"disk")
    monkeypatch.setenv("PATH", "/nonexistent")
    image = images.build(spec, tmp_path, log=tmp_path / "log", say=pytest.fail)
    assert image.disk.read_bytes() == b"disk" and image.distribution == "debian bookworm"
    assert [row.state for row in images.listing([spec])] == ["built"]


def test_without_mmdebstrap_the_package_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ImageSpec("i", folder)
    assert [row.state for row in images.listing([spec])] == ["absent"]
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="'mmdebstrap' is not installed") as caught:
        images.build(spec, tmp_path, log=tmp_path / "log", say=pytest.fail)
    assert caught.value.hint == "apt-get install mmdebstrap"


TARGETS = [
    "Debian|bookworm|http://mirror/debian/|bookworm|main",
    "Debian|bookworm|http://mirror/debian/|bookworm|contrib",
    "Debian|bookworm-updates|http://mirror/debian/|bookworm-updates|main",
    "Debian|bookworm-security|http://mirror/security/|bookworm-security|main",
    "Someone|bookworm|http://third.party/|bookworm|main",
    "Debian|trixie-security|http://mirror/security/|trixie-security|main",
]


def test_the_machines_own_sources_are_used_and_third_parties_left_out() -> None:
    assert parse_targets(TARGETS, "bookworm") == [
        "deb http://mirror/debian/ bookworm main contrib",
        "deb http://mirror/debian/ bookworm-updates main",
        "deb http://mirror/security/ bookworm-security main",
    ]


def test_sources_without_the_suite_itself_are_not_used() -> None:
    assert parse_targets(TARGETS, "trixie") == []


def test_an_archive_is_read_back_by_cpio_as_it_was_written(tmp_path: Path) -> None:
    archive = Archive()
    archive.folder("bin")
    archive.file("bin/sh", b"odd", 0o755)
    archive.file("empty", b"")
    archive.symlink("bin/cat", "sh")
    archive.character_device("console", 5, 1)
    data = archive.finish()
    assert len(data) % 512 == 0
    told = subprocess.run(["cpio", "-itv", "--numeric-uid-gid", "--quiet"], input=data, capture_output=True, check=True).stdout.decode()
    rows = [(fields[0], fields[2], fields[-1]) for fields in (line.split() for line in told.splitlines())]
    assert rows == [
        ("drwxr-xr-x", "0", "bin"),
        ("-rwxr-xr-x", "0", "bin/sh"),
        ("-rw-r--r--", "0", "empty"),
        ("lrwxrwxrwx", "0", "sh"),
        ("crw-------", "0", "console"),
    ]
    subprocess.run(["cpio", "-id", "--quiet", "bin/sh", "bin/cat"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "bin/cat").read_bytes() == b"odd"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    place = tmp_path / "lib/modules/6.0"
    place.mkdir(parents=True)
    (place / "modules.dep").write_text(
        "k/net.ko: k/fail-over.ko k/ring.ko k/base.ko\n"
        "k/fail-over.ko:\nk/ring.ko: k/base.ko\nk/base.ko:\nk/blk.ko.xz: k/ring.ko k/base.ko\n"
    )
    (place / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    (place / "modules.devname").write_text("# a comment here\nfuse fuse c10:229\nloop loop-control c10:237\nvfio vfio/vfio c10:196\n")
    return place


def test_modules_are_loaded_after_what_they_need_and_once(modules: Path) -> None:
    order = [path.name for path in load_order(modules, ("blk", "net", "ext4"))]
    assert order == ["base.ko", "ring.ko", "blk.ko.xz", "fail-over.ko", "net.ko"]


def test_what_a_module_asks_for_as_it_runs_is_loaded_before_it_from_the_module_that_works_everywhere(modules: Path) -> None:
    with (modules / "modules.dep").open("a") as file:
        file.write("k/journal.ko:\nk/fs.ko: k/journal.ko\nk/sum-fast.ko:\nk/sum_generic.ko: k/base.ko\nk/late.ko:\n")
    (modules / "modules.softdep").write_text(
        "# text\nsoftdep journal pre: crypto-sum\nsoftdep fs pre: crypto-absent crypto-sum post: late\n"
    )
    (modules / "modules.alias").write_text("alias crypto-sum sum_fast\nalias crypto-sum sum_generic\n")
    assert [path.name for path in load_order(modules, ("fs",))] == ["base.ko", "sum_generic.ko", "journal.ko", "fs.ko"]


def test_a_name_with_a_dash_is_the_same_module_as_one_with_an_underscore(modules: Path) -> None:
    assert [path.name for path in load_order(modules, ("fail_over",))] == ["fail-over.ko"]


def test_a_kernel_without_a_needed_module_is_said_so(modules: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"the kernel 6\.0 has no module 'virtio_blk'"):
        load_order(modules, ("virtio_blk",))


def test_device_nodes_are_those_of_the_wanted_modules(modules: Path) -> None:
    assert device_nodes(modules, ("loop", "vfio", "dm_mod")) == ["loop-control c 10 237", "vfio/vfio c 10 196"]


def test_a_kernel_without_an_image_cannot_be_booted() -> None:
    target = KernelTarget("host", "6.0", "x86_64", "", "host", Path("/headers"))
    with pytest.raises(UsageError, match="can be built for but not booted"):
        boot_files(target, say=pytest.fail)


def test_a_busybox_that_needs_libraries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy("/bin/ls", tmp_path / "busybox")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="not statically linked") as caught:
        static_busybox()
    assert caught.value.hint == "apt-get install busybox-static"


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress), (".zst", None)])
def test_modules_reach_the_initramfs_plain(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes] | None) -> None:
    from ci.images.boot import _plain_bytes, _plain_name

    path = tmp_path / f"a.ko{suffix}"
    if pack is None:
        subprocess.run(["zstd", "-q", "-o", path], input=b"\x7fELF", check=True)
    else:
        path.write_bytes(pack(b"\x7fELF"))
    assert _plain_bytes(path) == b"\x7fELF" and _plain_name(path) == "a.ko"
