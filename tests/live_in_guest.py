# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest, on a mounted VexFS volume: quick checks of what only a live kernel can show.

`live_in_guest.py STEP MOUNT [IMAGE]` prints what it saw as one line of JSON. Only the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
LIBC = ctypes.CDLL(None, use_errno=True)
PAGE = 4096


def failure(call: Callable[..., Any], *args: Any) -> str:
    """The name of the error that a call ends with, or nothing."""
    try:
        call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def rename2(old: str, new: str, flags: int) -> None:
    if LIBC.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def link_open(handle: int, path: str) -> None:
    """Gives an open file a name. (os.link never passes AT_SYMLINK_FOLLOW.)"""
    if LIBC.linkat(AT_FDCWD, f"/proc/self/fd/{handle}".encode(), AT_FDCWD, path.encode(), AT_SYMLINK_FOLLOW):
        raise OSError(ctypes.get_errno(), "linkat")


def content(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def freeze(mount: str) -> dict[str, Any]:
    """A writer stops while the volume is frozen, readers do not; after the thaw it goes on."""
    folder = os.open(mount, os.O_RDONLY)
    write(f"{mount}/before", "old")
    fcntl.ioctl(folder, FIFREEZE, 0)
    begun, done = threading.Event(), threading.Event()

    def change() -> None:
        begun.set()
        write(f"{mount}/while-frozen", "new")
        done.set()

    writer = threading.Thread(target=change, daemon=True)
    try:
        writer.start()
        begun.wait(30)
        blocked = not done.wait(1.0)
        read, twice = content(f"{mount}/before"), failure(fcntl.ioctl, folder, FIFREEZE, 0)
    finally:
        fcntl.ioctl(folder, FITHAW, 0)
    went_on = done.wait(30)
    thawed = failure(fcntl.ioctl, folder, FITHAW, 0)
    os.close(folder)
    return {"blocked": blocked, "read": read, "twice": twice, "went on": went_on, "thaw": thawed, "wrote": content(f"{mount}/while-frozen")}


def names(mount: str) -> dict[str, Any]:
    """rename with flags, and O_TMPFILE."""
    a, b = f"{mount}/a", f"{mount}/b"
    write(a, "a")
    write(b, "b")
    told: dict[str, Any] = {"noreplace": failure(rename2, a, b, RENAME_NOREPLACE)}
    rename2(a, b, RENAME_EXCHANGE)
    told["exchanged"] = content(a) + content(b)
    told["whiteout"] = failure(rename2, a, b, RENAME_WHITEOUT)
    rename2(a, f"{mount}/c", RENAME_NOREPLACE)
    told["moved"] = content(f"{mount}/c") + str(os.path.exists(a))
    handle = os.open(mount, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(handle, b"anonymous")
    told["anonymous links"] = os.fstat(handle).st_nlink
    link_open(handle, f"{mount}/named")
    told["linked"] = [content(f"{mount}/named"), os.fstat(handle).st_nlink, oct(os.fstat(handle).st_mode & 0o7777)]
    os.close(handle)
    hidden = os.open(mount, os.O_TMPFILE | os.O_EXCL | os.O_RDWR, 0o600)
    told["excl"] = failure(link_open, hidden, f"{mount}/never")
    os.close(hidden)
    return told


def attributes(mount: str) -> dict[str, Any]:
    """Three namespaces are kept, ACLs are refused; flags of setxattr count."""
    path = f"{mount}/attributes"
    write(path, "")
    told: dict[str, Any] = {}
    for name in ("user.x", "trusted.x", "security.x"):
        os.setxattr(path, name, name.encode() * 3)
        told[name] = os.getxattr(path, name).decode()
    told["list"] = sorted(os.listxattr(path))
    told["acl"] = failure(os.setxattr, path, "system.posix_acl_access", b"\2\0\0\0")
    told["create"] = failure(os.setxattr, path, "user.x", b"y", os.XATTR_CREATE)
    told["replace"] = failure(os.setxattr, path, "user.none", b"y", os.XATTR_REPLACE)
    told["large"] = failure(os.setxattr, path, "user.large", b"z" * 4001)
    os.removexattr(path, "user.x")
    told["removed"] = failure(os.getxattr, path, "user.x")
    return told


def contents(mount: str) -> dict[str, Any]:
    """mmap and read agree at once; holes are found; what fallocate reserves reads as zeros."""
    path = f"{mount}/contents"
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    os.ftruncate(handle, 64 * PAGE)
    with mmap.mmap(handle, 64 * PAGE) as window:
        window[5 * PAGE : 5 * PAGE + 5] = b"mmap!"
        told: dict[str, Any] = {"read after mmap": os.pread(handle, 5, 5 * PAGE).decode()}
        os.pwrite(handle, b"pwrite", 9 * PAGE)
        told["mmap after write"] = window[9 * PAGE : 9 * PAGE + 6].decode()
        window.flush()
    told["data"] = os.lseek(handle, 0, os.SEEK_DATA) // PAGE
    told["hole"] = os.lseek(handle, 5 * PAGE, os.SEEK_HOLE) // PAGE
    told["next data"] = os.lseek(handle, 6 * PAGE, os.SEEK_DATA) // PAGE
    told["last hole"] = os.lseek(handle, 10 * PAGE, os.SEEK_HOLE) // PAGE
    told["no data"] = failure(os.lseek, handle, 10 * PAGE, os.SEEK_DATA)
    blocks = os.fstat(handle).st_blocks
    os.posix_fallocate(handle, 20 * PAGE, 4 * PAGE)
    told["reserved"] = [(os.fstat(handle).st_blocks - blocks) // 8, os.pread(handle, 4 * PAGE, 20 * PAGE).strip(b"\0") == b""]
    told["punched"] = LIBC.fallocate(handle, 3, ctypes.c_long(5 * PAGE), ctypes.c_long(PAGE))
    told["after punch"] = [os.lseek(handle, 0, os.SEEK_DATA) // PAGE, os.pread(handle, 5, 5 * PAGE) == bytes(5)]
    os.close(handle)
    return told


def direct(mount: str) -> dict[str, Any]:
    """O_DIRECT and the page cache see each other's bytes; holes, parts of blocks, the end of the file, wrong alignment."""
    path = f"{mount}/direct"
    plain, handle = os.open(path, os.O_CREAT | os.O_RDWR), os.open(path, os.O_RDWR | os.O_DIRECT)
    window = mmap.mmap(-1, 4 * PAGE)  # aligned, as O_DIRECT wants it

    def put(text: bytes, size: int, at: int) -> int:
        window[:size] = text * (size // len(text))
        return os.pwritev(handle, [memoryview(window)[:size]], at)

    def get(size: int, at: int) -> bytes:
        return window[: os.preadv(handle, [memoryview(window)[:size]], at)]

    told: dict[str, Any] = {"into a hole": [put(b"d", 2 * PAGE, PAGE), os.fstat(plain).st_size // PAGE]}
    told["read through the cache"] = os.pread(plain, 4 * PAGE, 0) == bytes(PAGE) + b"d" * 2 * PAGE
    os.pwrite(plain, b"cached", PAGE)
    told["sees what is cached"] = get(PAGE, PAGE) == b"cached" + b"d" * (PAGE - 6)
    put(b"over", PAGE, PAGE)
    told["the cache sees it"] = os.pread(plain, PAGE, PAGE) == b"over" * (PAGE // 4)
    put(b"part", 512, 5 * PAGE + 512)
    told["part of a block"] = os.pread(plain, PAGE, 5 * PAGE) == bytes(512) + b"part" * 128
    told["size"] = os.fstat(plain).st_size - 5 * PAGE
    os.pwrite(plain, b"end", 6 * PAGE)
    told["the rest is zero"] = os.pread(plain, PAGE + 3, 5 * PAGE) == bytes(512) + b"part" * 128 + bytes(PAGE - 1024) + b"end"
    told["short at the end"] = len(get(4 * PAGE, 4 * PAGE)) - 2 * PAGE
    told["behind the end"] = len(get(PAGE, 9 * PAGE))
    told["not aligned"] = [failure(put, b"x", 100, 0), failure(get, 512, PAGE + 100)]
    os.close(handle)
    os.close(plain)
    return told


def counts(mount: str) -> dict[str, Any]:
    """statfs follows what is written and removed. Blocks come back at the commit."""

    def free() -> int:
        os.sync()
        return os.statvfs(mount).f_bfree

    before, files = free(), os.statvfs(mount).f_ffree
    write(f"{mount}/counted", "x" * (64 * PAGE))
    with_file, files_with = free(), os.statvfs(mount).f_ffree
    os.unlink(f"{mount}/counted")
    status = os.statvfs(mount)
    return {
        "taken": before - with_file,
        "inodes": files - files_with,
        "given back": free() - before,
        "block": status.f_bsize,
        "name": status.f_namemax,
    }


def discard(mount: str, image: str) -> dict[str, Any]:
    """With -o discard, what is freed becomes a hole of the image once it is committed."""

    def allocated() -> int:
        os.sync()
        return os.stat(image).st_blocks * 512

    with open(f"{mount}/large", "wb") as file:
        file.write(os.urandom(1 << 20) * 16)
        os.fsync(file.fileno())
    full = allocated()
    os.unlink(f"{mount}/large")
    return {"given back": full - allocated() >= 15 << 20}


def remount(mount: str) -> dict[str, Any]:
    """Read-only refuses every change and still reads; busy writers keep it read-write."""

    def turn(mode: str) -> int:
        return subprocess.run(["mount", "-o", f"remount,{mode}", mount], capture_output=True).returncode

    write(f"{mount}/kept", "kept")
    with open(f"{mount}/kept", "a"):
        busy = turn("ro") != 0
    told: dict[str, Any] = {"busy": busy, "ro": turn("ro")}
    told["write"] = failure(write, f"{mount}/other", "x")
    told["mkdir"] = failure(os.mkdir, f"{mount}/folder")
    told["xattr"] = failure(os.setxattr, f"{mount}/kept", "user.a", b"a")
    told["read"] = content(f"{mount}/kept")
    told["rw"] = turn("rw")
    write(f"{mount}/kept", "changed")
    return told | {"after": content(f"{mount}/kept")}


def orphan(mount: str, image: str) -> dict[str, Any]:
    """A copy of the image taken while a file without a name is open is what a crash leaves: its mount frees the file."""
    other, copy = f"{mount}2", f"{image}.copy"
    os.makedirs(other, exist_ok=True)
    os.sync()
    free = os.statvfs(mount).f_bfree, os.statvfs(mount).f_ffree
    handle = os.open(f"{mount}/unlinked", os.O_CREAT | os.O_RDWR)
    os.write(handle, b"x" * (256 * PAGE))
    os.unlink(f"{mount}/unlinked")
    os.fsync(handle)
    held = free[0] - os.statvfs(mount).f_bfree
    subprocess.run(["cp", "--sparse=always", image, copy], check=True)
    os.close(handle)
    subprocess.run(["mount", "-t", "vexfs", "-o", "loop", copy, other], check=True)
    os.sync()
    status = os.statvfs(other)
    subprocess.run(["umount", other], check=True)
    return {"held": held, "leaked": [free[0] - status.f_bfree, free[1] - status.f_ffree]}


def break_folder(image: str, name: str) -> None:
    """Damages the directory leaf of an image, not mounted, that has the record of `name`."""
    with open(image, "r+b") as file:
        for at in range(0, os.fstat(file.fileno()).st_size, PAGE):
            block = os.pread(file.fileno(), PAGE, at)
            if block[:4] == b"VXDL" and name.encode() in block:
                os.pwrite(file.fileno(), b"?", at + block.index(name.encode()))


def errors(mount: str, image: str, policy: str) -> dict[str, Any]:
    """What a damaged directory does to a mount with errors=`policy`; the image has the folder `broken`."""
    subprocess.run(["mount", "-t", "vexfs", "-o", f"loop,errors={policy}", image, mount], check=True)
    told = {"before": failure(write, f"{mount}/before", "x"), "list": failure(os.listdir, f"{mount}/broken")}
    told["after"] = failure(write, f"{mount}/after", "x")
    told["read"] = content(f"{mount}/whole")
    subprocess.run(["umount", mount], check=True)
    return told


STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "freeze": freeze,
    "names": names,
    "attributes": attributes,
    "contents": contents,
    "direct": direct,
    "counts": counts,
    "discard": discard,
    "remount": remount,
    "orphan": orphan,
    "errors": errors,
}

if __name__ == "__main__":
    if sys.argv[1] == "break":
        break_folder(*sys.argv[2:])
    else:
        print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
