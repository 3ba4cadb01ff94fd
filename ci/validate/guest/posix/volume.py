# SPDX-License-Identifier: Apache-2.0
"""The file system as a whole: statfs(2), pathconf, numbers of inodes and devices, statx(2), ioctls that it does not know."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from . import libc
from .book import Group
from .content import data
from .place import ALICE, CONTENT, Place, write

VOLUME = Group("volume")
STATX = Group("statx")
GROUPS = [VOLUME, STATX]


@VOLUME.case("counts-make-sense")
def _counts(t: Place) -> None:
    found = os.statvfs(".")
    t.check(found.f_blocks > 0 and found.f_files > 0, f"an empty file system: {found}")
    t.check(found.f_bavail <= found.f_bfree <= found.f_blocks, f"more blocks are free than there are: {found}")
    t.check(found.f_ffree <= found.f_files, f"more inodes are free than there are: {found}")
    t.check(found.f_frsize > 0 and found.f_frsize & (found.f_frsize - 1) == 0, f"the block size {found.f_frsize} is no power of two")
    t.equal("the longest name", found.f_namemax, 255)


@VOLUME.case("blocks-follow-writes")
def _blocks(t: Place) -> None:
    def free() -> int:
        os.sync()
        return os.statvfs(".").f_bfree * os.statvfs(".").f_frsize

    before, size = free(), 2 << 20
    write("f", data(1, size))
    taken = before - free()
    t.check(size <= taken <= size * 1.2 + 65536, f"a file of {size} bytes takes {taken}")
    os.unlink("f")
    t.context.until("the blocks are free again", lambda: before - free() <= 65536)


@VOLUME.case("same-by-any-path", "d/ d/f")
def _same(t: Place) -> None:
    whole = os.statvfs(".")
    t.equal("by a file", (os.statvfs("d/f").f_blocks, os.statvfs("d/f").f_fsid), (whole.f_blocks, whole.f_fsid))
    descriptor = t.open("d/f")
    t.equal("by a descriptor", os.fstatvfs(descriptor).f_blocks, whole.f_blocks)


@VOLUME.case("limits-by-pathconf", "f")
def _limits(t: Place) -> None:
    t.equal("PC_NAME_MAX", os.pathconf(".", "PC_NAME_MAX"), 255)
    t.equal("PC_PATH_MAX", os.pathconf(".", "PC_PATH_MAX"), 4096)
    t.check(os.pathconf(".", "PC_LINK_MAX") >= 8, "PC_LINK_MAX is less than POSIX allows")


@VOLUME.case("one-device", "d/ d/f l->d p|")
def _device(t: Place) -> None:
    t.equal("st_dev of all", len({os.lstat(path).st_dev for path in (".", "d", "d/f", "l", "p")}), 1)


@VOLUME.case("numbers-are-different")
def _numbers(t: Place) -> None:
    for number in range(100):
        write(f"f{number}", b"")
    numbers = {os.stat(f"f{number}").st_ino for number in range(100)}
    t.equal("how many numbers", len(numbers), 100)
    t.check(0 not in numbers, "an inode has the number 0")


@VOLUME.case("numbers-stay", "f d/")
def _stay(t: Place) -> None:
    before = os.stat("f").st_ino
    os.rename("f", "d/g")
    os.chmod("d/g", 0o600)
    write("d/g", b"other")
    t.equal("the number", os.stat("d/g").st_ino, before)


@VOLUME.case("block-size-of-files", "f d/")
def _block_size(t: Place) -> None:
    for path in ("f", "d"):
        t.check(os.stat(path).st_blksize >= 512, f"st_blksize of {path} is {os.stat(path).st_blksize}")


VOLUME.refuse("unknown-ioctl", "f", (errno.ENOTTY, errno.EOPNOTSUPP), lambda: _ioctl("f", 0x5A5A))
VOLUME.refuse("unknown-ioctl-of-a-folder", "d/", (errno.ENOTTY, errno.EOPNOTSUPP), lambda: _ioctl("d", 0x5A5A))
VOLUME.refuse("terminal-ioctl", "f", (errno.ENOTTY, errno.EOPNOTSUPP), lambda: _ioctl("f", 0x5401))


def _ioctl(path: str, number: int) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, number, bytes(64))
    finally:
        os.close(descriptor)


@VOLUME.case("bytes-that-wait-to-be-read", "f")
def _fionread(t: Place) -> None:
    """FIONREAD of a regular file: from the position to the end."""
    descriptor = t.open("f")
    os.lseek(descriptor, 5, os.SEEK_SET)
    t.equal("FIONREAD", struct.unpack("i", fcntl.ioctl(descriptor, 0x541B, bytes(4)))[0], len(CONTENT) - 5)


_HEAD = struct.Struct("=IIQIIIHxxQQQQ")  # mask, blksize, attributes, nlink, uid, gid, mode, ino, size, blocks, attributes_mask


@STATX.case("agrees-with-stat", "f:640:1001 d/ l->f p|")
def _agrees(t: Place) -> None:
    for path in ("f", "d", "l", "p"):
        found, old = _HEAD.unpack_from(libc.statx(path, libc.AT_SYMLINK_NOFOLLOW)), os.lstat(path)
        t.equal(f"the mask of {path}", found[0] & libc.STATX_BASIC, libc.STATX_BASIC)
        expected = (old.st_nlink, old.st_uid, old.st_gid, old.st_mode, old.st_ino, old.st_size, old.st_blocks)
        t.equal(f"links, owner, group, mode, number, size, blocks of {path}", found[3:10], expected)


@STATX.case("follows-unless-told", "f l->f")
def _follows(t: Place) -> None:
    t.equal("followed", _HEAD.unpack_from(libc.statx("l"))[7], os.stat("f").st_ino)


STATX.refuse("unknown-flag", "f", errno.EINVAL, lambda: libc.statx("f", 0x10))
STATX.refuse("reserved-mask", "f", errno.EINVAL, lambda: libc.statx("f", 0, 1 << 31))


@STATX.case("of-a-closed-folder", "d/:700 d/f")
def _closed(t: Place) -> None:
    t.refuses("statx", lambda: t.as_user(ALICE, lambda: len(libc.statx("d/f"))), errno.EACCES)
