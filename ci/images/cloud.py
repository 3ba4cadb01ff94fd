# SPDX-License-Identifier: Apache-2.0
"""Cloud images: whole disks that a distribution has made, taken by path or by URL with its hash, and kept as raw disks.

What is on the disk stays as it is: its partitions, its users, its cloud-init, which at boot is given the keys and the
identity of one guest (ci/vm/nocloud.py). Only the kernel is the machine's own (ci/images/boot.py): the module under test was
built for that one.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.manifest import CloudSpec
from ci.model import Image

Say = Callable[[str], None]

_TIMEOUT_SECONDS = 60.0
_CONVERT_SECONDS = 1800.0
_BLOCK = 1 << 20
_DISK = "disk.raw"
# A change in how disks are kept makes every one anew.
_VERSION = "1"
_QEMU_IMG = "apt-get install qemu-utils"
# Offset and bytes: a partition table (the MBR's signature, which a GPT has, too); else a file system over the whole disk
# (superblocks of ext2/3/4, XFS and btrfs).
_MARKS = ((510, b"\x55\xaa"), (1080, b"\x53\xef"), (0, b"XFSB"), (0x10040, b"_BHRfS_M"))


def is_url(text: str) -> bool:
    """Whether a manifest's `cloud` is to be downloaded."""
    return text.startswith(("https://", "http://"))


def build(name: str, spec: CloudSpec, *, say: Say) -> Image:
    """The image: at once where the same file was taken before, else fetched, checked and converted.

    Raises UsageError where the file is missing, another than declared or no disk, InfrastructureError where it cannot be
    had; nothing half-made stays.
    """

    def make(folder: Path) -> None:
        given = _given(name, spec, folder, say)
        say(f"converting the cloud image {name}")
        _convert(name, spec, given, folder / _DISK)
        if given.is_relative_to(folder):
            given.unlink()

    store.cached("images", key(name, spec), make)
    image = cached_image(name, spec)
    assert image is not None
    return image


def cached_image(name: str, spec: CloudSpec) -> Image | None:
    """The image if it is in the cache. UsageError where a local file without a hash is not there."""
    identifier = key(name, spec)
    disk = store.cache_dir() / "images" / identifier / _DISK
    try:
        size = disk.stat().st_blocks * 512
    except FileNotFoundError:
        return None
    return Image(name, identifier, disk, size, f"cloud image {_base(spec)}", cloud=True)


def key(name: str, spec: CloudSpec) -> str:
    """The hash of what the image depends on: the file's hash, or, where none is declared, its path, size, time and inode."""
    what = spec.sha512
    if not what:
        info = _local(name, spec).stat()
        what = f"{spec.source} {info.st_size} {info.st_mtime_ns} {info.st_ino}"
    return store.sha256_text("cloud", _VERSION, what, str(spec.size))[:32]


def _base(spec: CloudSpec) -> str:
    return spec.source.partition("?")[0].rsplit("/", 1)[-1]


def _local(name: str, spec: CloudSpec) -> Path:
    path = Path(spec.source)
    if not path.is_file():
        raise UsageError(f"images.{name}.cloud: {path} does not exist", hint="give the path of a disk image, or a URL with its sha512")
    return path


def _given(name: str, spec: CloudSpec, folder: Path, say: Say) -> Path:
    """The file as it was published, checked against its hash."""
    if is_url(spec.source):
        say(f"downloading {spec.source}")
        path = folder / "download"
        found = _fetch(spec.source, path)
    else:
        path = _local(name, spec)
        found = _sha512(path) if spec.sha512 else ""
    if found != spec.sha512:
        raise UsageError(
            f"images.{name}.sha512: {spec.source} is another file than declared (its sha512 is {found})",
            hint="if that is the file that you mean, write its hash into vexci.yaml",
        )
    return path


def _fetch(url: str, target: Path) -> str:
    """Download a file; returns its SHA-512."""
    digest = hashlib.sha512()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, open(target, "wb") as file:
            expected = answer.headers.get("Content-Length")
            while block := answer.read(_BLOCK):
                digest.update(block)
                file.write(block)
            arrived = file.tell()
    except TimeoutError as error:
        raise InfrastructureError(f"{url} was silent for {_TIMEOUT_SECONDS:g} s") from error
    except urllib.error.URLError as error:
        raise InfrastructureError(f"{url} cannot be downloaded: {error.reason}") from error
    except (http.client.HTTPException, ConnectionError) as error:
        raise InfrastructureError(f"{url} cannot be downloaded: {error or type(error).__name__}") from error
    if expected is not None and arrived != int(expected):
        raise InfrastructureError(f"{url} cannot be downloaded: the connection ended after {arrived} of {expected} bytes")
    return digest.hexdigest()


def _sha512(path: Path) -> str:
    digest = hashlib.sha512()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _convert(name: str, spec: CloudSpec, given: Path, disk: Path) -> None:
    """Write the disk that the file holds, raw and sparse, as large as the manifest wants it."""
    qemu_img = process.find_program("qemu-img", hint=_QEMU_IMG)
    facts = json.loads(process.output([qemu_img, "info", "--output=json", given]))
    beside = facts.get("backing-filename") or facts.get("format-specific", {}).get("data", {}).get("data-file")
    if beside:  # it could be any file of this machine
        raise UsageError(
            f"images.{name}.cloud: {spec.source} is not whole: it refers to the file {beside}", hint="qemu-img convert makes it whole"
        )
    process.output([qemu_img, "convert", "-f", facts["format"], "-O", "raw", given, disk], deadline=_CONVERT_SECONDS)
    if not _is_disk(disk):
        raise UsageError(
            f"images.{name}.cloud: {spec.source} is no disk: it has neither a partition table nor a file system",
            hint="give the image in a format that qemu-img reads, such as qcow2 or raw, not compressed once more",
        )
    size = spec.size << 20
    if size and size < disk.stat().st_size:
        least = -(-disk.stat().st_size >> 20)
        raise UsageError(f"images.{name}.size: the disk has {least} MiB already, and cannot be made smaller")
    if size:
        with open(disk, "r+b") as file:
            file.truncate(size)


def _is_disk(disk: Path) -> bool:
    with open(disk, "rb") as file:
        for offset, mark in _MARKS:
            file.seek(offset)
            if file.read(len(mark)) == mark:
                return True
    return False
