# SPDX-License-Identifier: Apache-2.0
"""Cases about what is in files, and about their attributes."""

from __future__ import annotations

import os
import stat

from .context import Context
from .engine import Table
from .fileops import absent, pattern, same, write

TABLE = Table()
case = TABLE.case

MIB = 1 << 20


@case("write-read")
def _write_read(t: Context) -> None:
    path = t.path("data")
    data = pattern("data", MIB)
    write(t, path, data)
    t.drop_caches()
    same(t, path, data)
    t.op(f"read {path} in the middle and past its end")
    with open(path, "rb", buffering=0) as file:
        t.equal("pread in the middle", os.pread(file.fileno(), 100, 70001), data[70001:70101])
        t.equal("pread across the end", os.pread(file.fileno(), 100, MIB - 10), data[-10:])
        t.equal("pread past the end", os.pread(file.fileno(), 100, MIB + 5), b"")
    other = t.path("other")
    write(t, other, pattern("other", 5000))
    same(t, other, pattern("other", 5000))
    same(t, path, data)


@case("overwrite")
def _overwrite(t: Context) -> None:
    path = t.path("overwrite")
    data = bytearray(pattern("overwrite", 20000))
    write(t, path, bytes(data))
    t.op(f"pwrite into the middle of {path}")
    descriptor = os.open(path, os.O_WRONLY)
    try:
        t.equal("pwrite", os.pwrite(descriptor, b"vexci was here", 4090), 14)
    finally:
        os.close(descriptor)
    data[4090:4104] = b"vexci was here"
    t.drop_caches()
    same(t, path, bytes(data))


@case("append")
def _append(t: Context) -> None:
    path = t.path("append")
    write(t, path, pattern("append-1", 5000))
    write(t, path, pattern("append-2", 3000), os.O_APPEND)
    t.drop_caches()
    same(t, path, pattern("append-1", 5000) + pattern("append-2", 3000))


@case("truncate")
def _truncate(t: Context) -> None:
    path = t.path("truncate")
    data = pattern("truncate", 10000)
    write(t, path, data)
    t.op(f"truncate {path} to 4097 bytes")
    os.truncate(path, 4097)
    same(t, path, data[:4097])
    t.op(f"truncate {path} to 9000 bytes")
    os.truncate(path, 9000)
    same(t, path, data[:4097] + bytes(9000 - 4097))
    t.op(f"open {path} with O_TRUNC")
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    same(t, path, b"")


@case("sparse")
def _sparse(t: Context) -> None:
    path = t.path("sparse")
    t.op(f"write behind a hole in {path}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        t.equal("pwrite behind a hole", os.pwrite(descriptor, b"end", 100000), 3)
    finally:
        os.close(descriptor)
    same(t, path, bytes(100000) + b"end")


@case("attributes")
def _attributes(t: Context) -> None:
    path = t.path("attributes")
    write(t, path, b"x")
    t.op(f"chmod, chown and utimens of {path}")
    os.chmod(path, 0o4751)
    os.chown(path, 1234, 4321)
    os.chmod(path, 0o640)
    os.utime(path, ns=(1_000_000_000_000_000_000, 1_100_000_000_000_000_000))
    t.drop_caches()
    info = os.stat(path)
    t.equal(f"mode of {path}", oct(stat.S_IMODE(info.st_mode)), oct(0o640))
    t.equal(f"owner of {path}", (info.st_uid, info.st_gid), (1234, 4321))
    t.equal(f"times of {path} in whole seconds", (int(info.st_atime), int(info.st_mtime)), (1_000_000_000, 1_100_000_000))


@case("open-unlinked")
def _open_unlinked(t: Context) -> None:
    path = t.path("open-unlinked")
    t.op(f"open, unlink and use {path}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, pattern("open-unlinked", 8192))
        os.unlink(path)
        absent(t, path)
        t.op("read and write the unlinked file")
        os.pwrite(descriptor, b"still here", 8192)
        t.equal("bytes of the unlinked file", os.pread(descriptor, 10000, 0), pattern("open-unlinked", 8192) + b"still here")
        t.equal("links of the unlinked file", os.fstat(descriptor).st_nlink, 0)
    finally:
        os.close(descriptor)


@case("statfs")
def _statfs(t: Context) -> None:
    t.op(f"statfs {t.plan.mountpoint}")
    info = os.statvfs(t.plan.mountpoint)
    t.check(info.f_bsize >= 512, f"statfs says a block size of {info.f_bsize}")
    t.check(info.f_namemax >= 255, f"statfs says names may have {info.f_namemax} bytes, expected at least 255")
    t.check(0 <= info.f_bavail <= info.f_bfree <= info.f_blocks, f"statfs says {info.f_blocks} blocks, {info.f_bfree} free")
    t.check(info.f_ffree <= info.f_files, f"statfs says {info.f_files} files, {info.f_ffree} free")


@case("sync")
def _sync(t: Context) -> None:
    path = t.path("sync")
    write(t, path, pattern("sync", 4000))
    t.op(f"fdatasync {path}")
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    t.op(f"fsync the directory {t.plan.mountpoint}")
    descriptor = os.open(t.plan.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    t.must(["sync", "--file-system", t.plan.mountpoint])
    same(t, path, pattern("sync", 4000))
