# SPDX-License-Identifier: Apache-2.0
"""A cloud image through cloud-init's NoCloud: taken from a path and over HTTP, booted, restored from memory, and worked in."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci import images, kernels, store
from ci.errors import InfrastructureError, UsageError
from ci.images.boot import FAILED, boot_files
from ci.manifest import CloudSpec, ImageSpec, KernelSpec, MachineSpec
from ci.model import Image
from ci.vm import nocloud
from ci.vm.boot import Boot
from ci.vm.guest import guest
from ci.vm.keys import guest_keys
from tests.cloud_image import cloud_image, write_table
from tests.vm_guest import TCG

pytestmark = pytest.mark.integration
MACHINE = MachineSpec("cloud", "cloud", "debian-6.1", memory=1024)
# What two guests may not share, one line each; then what cloud-init and the kernel have made of this one.
OWN = "hostname; cat /etc/machine-id; cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub; sha256sum < /root/.ssh/authorized_keys"
STATE = "ip -4 -br address show eth0; findmnt -no SOURCE,FSTYPE /; df --output=size -m / | tail -1; ls /etc/ssh | grep -c _key$"


def say(text: str) -> None:
    print(text)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A disk of 8 MiB with a partition table, as qcow2."""
    raw = tmp_path / "small.raw"
    raw.write_bytes(os.urandom(8 << 20))
    write_table(raw)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, tmp_path / "small.qcow2"], check=True)
    return tmp_path / "small.qcow2"


def built(spec: CloudSpec, folder: Path) -> Image:
    return images.build(ImageSpec("c", cloud=spec), folder, log=folder / "log", say=say)


def sha512(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def kept(cache: Path) -> list[str]:
    return [str(path) for path in (cache / "images").rglob("*") if path.is_file()]


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The files of a folder over HTTP on 127.0.0.1: the address, and what was asked for. `/short` ends before it is whole."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path != "/short":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_local_image_becomes_a_raw_disk_once_and_anew_when_it_changes(own_cache: Path, small: Path, tmp_path: Path) -> None:
    spec = CloudSpec(str(small), size=16)
    assert [row.state for row in images.listing([ImageSpec("c", cloud=spec)])] == ["absent"]
    first = built(spec, tmp_path)
    raw = (tmp_path / "small.raw").read_bytes()
    assert first.cloud and first.disk.read_bytes() == raw + bytes(8 << 20), "the same bytes, grown to the size that was asked for"
    assert built(spec, tmp_path) == first
    os.utime(small, (1, 1))
    assert built(spec, tmp_path).key != first.key
    assert [row.state for row in images.listing([ImageSpec("c", cloud=spec)])] == ["built"]
    with pytest.raises(UsageError, match=r"images\.c\.size: the disk has 8 MiB already"):
        built(CloudSpec(str(small), size=7), tmp_path)


def test_an_image_from_a_url_is_taken_once_and_only_with_its_hash(own_cache: Path, small: Path, tmp_path: Path) -> None:
    with served(tmp_path) as (address, asked):
        url = f"{address}/small.qcow2"
        with pytest.raises(UsageError, match=rf"images\.c\.sha512: {url} is another file than declared \(its sha512 is {sha512(small)}\)"):
            built(CloudSpec(url, "0" * 128), tmp_path)
        assert kept(own_cache) == [], "nothing is kept of a file that is not the declared one"
        good = built(CloudSpec(url, sha512(small)), tmp_path)
        assert good.disk.read_bytes() == (tmp_path / "small.raw").read_bytes()
        assert built(CloudSpec(url, sha512(small)), tmp_path) == good
        assert asked == ["/small.qcow2"] * 2 and len(kept(own_cache)) == 1, "only the disk is kept, and it is not downloaded again"
        for path, words in (
            ("none", "cannot be downloaded: Not Found|File not found"),
            ("short", "ended after 10 of 1000 bytes|IncompleteRead"),
        ):
            with pytest.raises(InfrastructureError, match=words):
                built(CloudSpec(f"{address}/{path}", "1" * 128), tmp_path)
    with pytest.raises(InfrastructureError, match="cannot be downloaded"):
        built(CloudSpec(f"{address}/gone", "2" * 128), tmp_path)
    assert len(kept(own_cache)) == 1


def test_what_is_no_whole_disk_is_refused_and_nothing_is_kept(own_cache: Path, small: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<html>not here</html>" * 4000)
    with pytest.raises(UsageError, match=r"page\.html is no disk: it has neither a partition table nor a file system"):
        built(CloudSpec(str(page)), tmp_path)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", small, tmp_path / "over"], check=True)
    with pytest.raises(UsageError, match=r"is not whole: it refers to the file .*small\.qcow2"):
        built(CloudSpec(str(tmp_path / "over")), tmp_path)
    with pytest.raises(UsageError, match=r"images\.c\.cloud: .*/nowhere does not exist"):
        built(CloudSpec(str(tmp_path / "nowhere")), tmp_path)
    with pytest.raises(UsageError, match="is another file than declared"):
        built(CloudSpec(str(small), "0" * 128), tmp_path)
    assert kept(own_cache) == []


def test_the_seed_is_a_disk_that_nocloud_reads_and_holds_this_guest_s_keys(tmp_path: Path) -> None:
    keys = guest_keys(tmp_path, tmp_path / "guest")
    seed = tmp_path / "seed.iso"
    nocloud.write(seed, keys, hostname="name", instance="i-1")
    assert seed.stat().st_mode & 0o777 == 0o600, "it holds a private key"
    probed = subprocess.run(["blkid", "-p", "-o", "export", seed], capture_output=True, text=True, check=True).stdout
    assert "LABEL=cidata\n" in probed and "TYPE=iso9660\n" in probed
    pycdlib = pytest.importorskip("pycdlib", reason="it comes with the tasks that start guests")
    iso = pycdlib.PyCdlib()
    iso.open(str(seed))
    for name, text in nocloud.documents(keys, hostname="name", instance="i-1").items():
        for path in ({"rr_path": f"/{name}"}, {"joliet_path": f"/{name}"}):
            out = io.BytesIO()
            iso.get_file_from_iso_fp(out, **path)
            assert out.getvalue().decode() == text
    iso.close()


def boot(image: Image) -> Boot:
    kernel = kernels.resolve(KernelSpec("debian-6.1", "apt", "6.1-cloud"), say=say)
    files = boot_files(kernel, cloud=True, say=say)
    return Boot(files.kernel, files.initrd, files.modules, files.command_line, image.disk, image.name, kernel.release, FAILED, cloud=True)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_cloud_image_boots_with_the_machine_s_kernel_and_later_guests_come_from_memory(tmp_path: Path) -> None:
    published = cloud_image()
    with served(published.parent) as (address, _):
        spec = CloudSpec(f"{address}/{published.name}", sha512(published), size=2048)
        image = images.build(ImageSpec("cloud", cloud=spec), tmp_path, log=tmp_path / "log", say=say)
    own = []
    for name, warm in (("cold", False), ("one", True), ("two", True)):
        run = store.RunFolder(tmp_path)
        with guest(MACHINE, boot(image), accelerator=TCG, run=run, root=tmp_path, name=name, progress=say, warm=warm) as machine:
            assert machine.restored is warm
            assert (
                f"Linux version {machine.kernel}" in machine.console_text()
                and "vexci-init: the root is /dev/vda2" in machine.console_text()
            )
            assert machine.run(["uname", "-r"], deadline=60).stdout.strip() == machine.kernel
            assert machine.run(["modprobe", "fuse"], deadline=60).ok, "the modules are those of the machine's kernel"
            own.append(machine.run(["sh", "-c", OWN], deadline=60, check=True).stdout.splitlines())
            address, root, size, host_keys = machine.run(["sh", "-c", STATE], deadline=60, check=True).stdout.splitlines()
            print(own[-1], address, root, size, host_keys)
            assert own[-1][0] == name
            assert address.split()[1:] == ["UP", nocloud.ADDRESS] and root.split() == ["/dev/vda2", "ext4"]
            assert int(size) > 1700, "cloud-init has grown the root to the disk"
            assert int(host_keys) == 1, "no host key but the pinned one"
            connection = machine.second_connection()
            assert connection is not None, "SSH shows the pinned key and takes the project's"
            connection.close()
    for one, two in ((0, 1), (1, 2)):
        assert [a for a, b in zip(own[one][:3], own[two][:3], strict=True) if a == b] == []
