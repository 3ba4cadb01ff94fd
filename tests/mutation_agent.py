# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: mounts damaged images one after the other, and says of each what the kernel answered.

`mutation_agent.py WORK.json.gz` prints a line of JSON before each image (`{"begin": seed}`), so that whoever reads
knows which one hung, and one after it. Only the standard library; no process is started per image.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import fcntl
import gzip
import hashlib
import json
import os
import stat
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

FOLDER, MOUNT = "/run/mutations", "/run/mutations/mnt"
BLOCK = 4096
LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82
MS_RDONLY = 1
LISTED = 200  # names up to which a golden listing is given as it is
ENTRIES = 80  # looked at in one walk
# kernel/include/uapi/vexfs.h: struct vexfs_ioc_collection and vexfs_ioc_search.
COLLECTION, SEARCH = struct.Struct("=IIIIQQQQ16x"), struct.Struct("=IIIIQQQ24x")
SEARCH_SIZE = 64 + 16256
IOC_GET = 2 << 30 | COLLECTION.size << 16 | ord("V") << 8 | 0xE2
IOC_SEARCH = 3 << 30 | SEARCH_SIZE << 16 | ord("V") << 8 | 0xE7
LIBC = ctypes.CDLL(None, use_errno=True)


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


class Loop:
    """A loop device, bound anew for each image: so nothing of the last one is cached."""

    def __init__(self) -> None:
        control = os.open("/dev/loop-control", os.O_RDWR)
        self.path = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
        os.close(control)

    def bind(self, image: int) -> None:
        device = os.open(self.path, os.O_RDWR)
        try:
            fcntl.ioctl(device, LOOP_SET_FD, image)
        finally:
            os.close(device)

    def release(self) -> None:
        device = os.open(self.path, os.O_RDWR)
        try:
            fcntl.ioctl(device, LOOP_CLR_FD)
        finally:
            os.close(device)


def mount(device: str, flags: int) -> int:
    """0, or the errno."""
    done = LIBC.mount(device.encode(), MOUNT.encode(), b"vexfs", flags, None)
    return 0 if done == 0 else ctypes.get_errno()


def unmount() -> int:
    done = LIBC.umount2(MOUNT.encode(), 0)
    return 0 if done == 0 else ctypes.get_errno()


class Answers:
    """Counts how calls ended, by errno."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def ask(self, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            self.counts[name] = self.counts.get(name, 0) + 1
            return None


def read_some(path: str, size: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for at in sorted({0, max(0, size // 2), max(0, size - 5000)}):
            os.pread(descriptor, 1 << 15, at)
    finally:
        os.close(descriptor)


def search(path: str, number: int = 3, wanted: int = 6) -> list[tuple[int, str]]:
    """Answers of a collection to the query that fuse/tests/images/vectors.rs makes: inode and bits of the distance."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        shape = bytearray(COLLECTION.size)
        fcntl.ioctl(folder, IOC_GET, shape, True)
        dimension = COLLECTION.unpack(shape)[0]
        query = [(number * 7 + at * 13) % 31 / 4.0 - 3.0 for at in range(dimension)]
        buffer = bytearray(SEARCH_SIZE)
        SEARCH.pack_into(buffer, 0, dimension, wanted, 0, 0, 0, 0, 0)
        struct.pack_into(f"={dimension}f", buffer, SEARCH.size, *query)
        fcntl.ioctl(folder, IOC_SEARCH, buffer, True)
        found = struct.unpack_from("=I", buffer, 12)[0]
        hits = [struct.unpack_from("=QQ", buffer, SEARCH.size + at * 16) for at in range(min(found, wanted))]
        return [(ino, f"{bits:016x}") for ino, bits in hits]
    finally:
        os.close(folder)


def walk(answers: Answers) -> list[str]:
    """Looks at everything, within bounds; returns regular files."""
    waiting, files, left = [MOUNT], [], ENTRIES
    while waiting and left > 0:
        folder = waiting.pop()
        for name in answers.ask(os.listdir, folder) or []:
            left -= 1
            if left < 0:
                break
            path = os.path.join(folder, name)
            status = answers.ask(os.lstat, path)
            for key in answers.ask(lambda path: os.listxattr(path, follow_symlinks=False), path) or []:
                answers.ask(lambda path, key: os.getxattr(path, key, follow_symlinks=False), path, key)
            if status is None:
                continue
            if stat.S_ISDIR(status.st_mode) and path.count("/") < 12:
                waiting.append(path)
                answers.ask(search, path)
            elif stat.S_ISLNK(status.st_mode):
                answers.ask(os.readlink, path)
            elif stat.S_ISREG(status.st_mode):
                files.append(path)
                answers.ask(read_some, path, status.st_size)
    return files


def write_some(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_size
        os.pwrite(descriptor, b"x" * 9000, size // 2)
        os.ftruncate(descriptor, size // 3)
        os.posix_fallocate(descriptor, 20_000, 30_000)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def change(answers: Answers, files: list[str]) -> None:
    answers.ask(os.mkdir, f"{MOUNT}/new-folder")
    descriptor = answers.ask(os.open, f"{MOUNT}/new-folder/file", os.O_CREAT | os.O_RDWR)
    if descriptor is not None:
        answers.ask(os.write, descriptor, b"y" * 20_000)
        answers.ask(os.close, descriptor)
    for number, path in enumerate(files[:12]):
        answers.ask(write_some, path)
        answers.ask(os.setxattr, path, "user.new", b"z" * 300)
        if number % 3 == 0:
            answers.ask(os.unlink, path)
        elif number % 3 == 1:
            answers.ask(os.rename, path, f"{MOUNT}/moved-{number}")
        else:
            answers.ask(os.link, path, f"{MOUNT}/linked-{number}")
    for name in (answers.ask(os.listdir, MOUNT) or [])[:20]:
        path = os.path.join(MOUNT, name)
        answers.ask(os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink, path)
    answers.ask(os.sync)


def unpack(bases: dict[str, Any]) -> dict[str, tuple[int, list[tuple[int, bytes]]]]:
    """Of each base its size and its blocks that are not zero."""
    done = {}
    for name, base in bases.items():
        data = zlib.decompress(base64.b64decode(base["blocks"]))
        step = BLOCK + 8
        blocks = [(struct.unpack_from("<Q", data, at)[0], data[at + 8 : at + step]) for at in range(0, len(data), step)]
        done[name] = (base["size"], blocks)
    return done


def fill(image: int, base: tuple[int, list[tuple[int, bytes]]], patches: list[tuple[int, str]]) -> None:
    size, blocks = base
    os.ftruncate(image, 0)
    os.ftruncate(image, size)
    for at, data in blocks:
        os.pwrite(image, data, at * BLOCK)
    for offset, data in patches:
        os.pwrite(image, bytes.fromhex(data), offset)


def mutated(loop: Loop, image: int) -> dict[str, Any]:
    """One image, first read-only and then read-write."""
    result: dict[str, Any] = {}
    for mode, flags in (("ro", MS_RDONLY), ("rw", 0)):
        loop.bind(image)
        answers = Answers()
        try:
            refused = mount(loop.path, flags)
            if not refused:
                try:
                    files = walk(answers)
                    if mode == "rw":
                        change(answers, files)
                finally:
                    result[f"{mode}-unmount"] = unmount()
            result[mode] = errno.errorcode.get(refused, "ok" if not refused else str(refused))
            result[f"{mode}-answers"] = answers.counts
        finally:
            loop.release()
    return result


def listing() -> dict[str, Any]:
    """Everything below the mount: type, mode, owner, links, size, device, and the hash of what it holds."""
    found: dict[str, Any] = {}
    for folder, folders, names in os.walk(os.fsencode(MOUNT), onerror=fail):
        for name in folders + names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            held = b""
            if stat.S_ISLNK(status.st_mode):
                held = os.readlink(path)
            digest = hashlib.sha256(held)
            if stat.S_ISREG(status.st_mode):
                digest = hashlib.sha256()
                digest_file(path, status.st_size, digest)
            sized = stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
            size, device = status.st_size if sized else 0, encoded(status.st_rdev)
            shown = os.path.relpath(path, os.fsencode(MOUNT)).decode("latin-1")
            owner = [status.st_mode, status.st_nlink, status.st_uid, status.st_gid]
            found[shown] = [*owner, device, size, status.st_mtime_ns, digest.hexdigest()]
    return found


def searches() -> list[list[Any]]:
    """The answers of every collection below the root."""
    found: list[list[Any]] = []
    for name in sorted(os.listdir(MOUNT)):
        path = os.path.join(MOUNT, name)
        if not os.path.isdir(path) or os.path.islink(path):
            continue
        try:
            found.append([name, search(path)])
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EMEDIUMTYPE):
                raise
    return found


def fail(error: OSError) -> None:
    """A folder that cannot be listed is left out by os.walk unless it is told otherwise."""
    raise error


def encoded(device: int) -> int:
    """A device number as the format (and the kernel's new_encode_dev) has it."""
    major, minor = os.major(device), os.minor(device)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def digest_file(path: bytes, size: int, digest: Any) -> None:
    """Of data and where they are: holes are not read, they may be gigabytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        at = 0
        while at < size:
            piece = os.pread(descriptor, 1 << 20, at)
            if not piece:
                break
            if piece.strip(b"\0"):
                digest.update(struct.pack("<Q", at) + piece)
            at = at + len(piece) if piece.strip(b"\0") else max(at + len(piece), next_data(descriptor, at + len(piece), size))
    finally:
        os.close(descriptor)


def next_data(descriptor: int, at: int, size: int) -> int:
    """Start of the piece (of 1 MiB) in which the next data are."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA) >> 20 << 20 if at < size else size
    except OSError:
        return size


def shown(tree: dict[str, Any]) -> dict[str, Any]:
    """The listing, or if it is long its digest: as fuse/tests/golden.rs has it."""
    if len(tree) <= LISTED:
        return {"tree": tree}
    digest = hashlib.sha256()
    for path in sorted(tree):
        line = json.dumps([path, tree[path]], separators=(",", ":"), ensure_ascii=False)
        digest.update(line.encode() + b"\n")
    return {"names": len(tree), "sha256": digest.hexdigest()}


def golden(loop: Loop, image: int) -> dict[str, Any]:
    """What the module reads from an image that is right (or refuses it)."""
    loop.bind(image)
    try:
        refused = mount(loop.path, 0)
        if refused:
            return {"refused": errno.errorcode[refused]}
        try:
            return shown(listing()) | {"search": searches()}
        except OSError as error:
            return {"failed": errno.errorcode[error.errno or 0]}
        finally:
            unmount()
    finally:
        loop.release()


def main() -> None:
    with gzip.open(sys.argv[1], "rt") as file:
        work = json.load(file)
    os.makedirs(MOUNT, exist_ok=True)
    bases = unpack(work["bases"])
    loop, image = Loop(), os.open(f"{FOLDER}/image", os.O_CREAT | os.O_RDWR)
    with open("/dev/kmsg", "w") as kernel_log:
        for item in work["images"]:
            say(begin=item["seed"])
            kernel_log.write(f"mutation: {item['base']} seed {item['seed']}\n")
            kernel_log.flush()
            fill(image, bases[item["base"]], item["patches"])
            act = golden if item["seed"] == "golden" else mutated
            say(seed=item["seed"], base=item["base"], **act(loop, image))
    os.close(image)
    os.unlink(f"{FOLDER}/image")


if __name__ == "__main__":
    main()
