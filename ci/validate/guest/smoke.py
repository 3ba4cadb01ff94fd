# SPDX-License-Identifier: Apache-2.0
"""The smoke suite: the shortest way once through everything that a filesystem is for."""

from __future__ import annotations

import errno
import os

from . import contents, mounts, naming, product
from .context import Context
from .engine import DAEMON, MODULE, Table
from .fileops import pattern, round_trip, same, write

TABLE = Table()
case = TABLE.case

KEPT = 256 << 10


@case("load", kinds=(MODULE,), mounted=False, vital=True)
def _load(t: Context) -> None:
    product.load_afresh(t)


@case("mount", mounted=False, vital=True)
def _mount(t: Context) -> None:
    os.makedirs(t.plan.mountpoint, exist_ok=True)
    t.check(mounts.at(t.plan.mountpoint) is None, f"something is mounted at {t.plan.mountpoint} already")
    product.mount(t)


@case("identity")
def _identity(t: Context) -> None:
    """What runs is what was built (M8)."""
    if t.plan.kind == MODULE:
        t.equal(f"the loaded {t.plan.module} (a stale build?)", product.identity(t.plan.module), t.plan.expected_id)
        return
    pid = product.daemon_pid(t.plan)
    t.op(f"hash /proc/{pid}/exe")
    t.equal(f"sha256 of the running daemon {pid} (a stale build?)", product.file_sha256(f"/proc/{pid}/exe"), t.plan.expected_id)


TABLE.extend(naming.TABLE)
TABLE.extend(contents.TABLE)


@case("remount", kinds=(MODULE,))
def _remount(t: Context) -> None:
    path = t.path("remount")
    write(t, path, pattern("remount", 7000))
    t.must(["mount", "-o", "remount,ro", t.plan.mountpoint])
    t.op("write to a read-only mount")
    t.refuses("create on a read-only mount", lambda: os.mkdir(t.path("no")), errno.EROFS)
    t.must(["mount", "-o", "remount,rw", t.plan.mountpoint])
    t.prove_mount()
    t.drop_caches()
    same(t, path, pattern("remount", 7000))
    write(t, path, pattern("remount again", 7000))
    same(t, path, pattern("remount again", 7000))


@case("busy-unmount")
def _busy_unmount(t: Context) -> None:
    path = t.path("busy")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        ended = t.command(["umount", t.plan.mountpoint])
        t.check(ended.code != 0, "umount succeeded while a file was open")
        t.prove_mount()
        t.equal("write after the refused umount", os.write(descriptor, b"alive"), 5)
    finally:
        os.close(descriptor)


@case("unmount", mounted=False, vital=True)
def _unmount(t: Context) -> None:
    t.prove_mount()
    write(t, t.path("kept"), pattern("kept", KEPT))
    product.unmount(t)
    t.op(f"look into {t.plan.mountpoint}")
    t.equal(f"names in {t.plan.mountpoint} after umount", os.listdir(t.plan.mountpoint), [])


@case("mount-again", mounted=False, vital=True)
def _mount_again(t: Context) -> None:
    product.mount(t)
    if t.plan.persistent:
        same(t, t.path("kept"), pattern("kept", KEPT))  # T3
    round_trip(t, "mount-again")
    product.unmount(t)


@case("unload", kinds=(MODULE,), mounted=False, vital=True)
def _unload(t: Context) -> None:
    product.unload(t)
    with open("/proc/filesystems", encoding="ascii") as file:
        t.check(t.plan.filesystem not in file.read().split(), f"/proc/filesystems still lists {t.plan.filesystem} after rmmod")


@case("load-again", kinds=(MODULE,), mounted=False, vital=True)
def _load_again(t: Context) -> None:
    """A second life; the module stays loaded, as deploy left it."""
    product.load(t)
    product.mount(t)
    round_trip(t, "load-again")
    product.unmount(t)


@case("start-again", kinds=(DAEMON,), mounted=False, vital=True)
def _start_again(t: Context) -> None:
    """A third process on the same mount point."""
    product.mount(t)
    round_trip(t, "start-again")
    product.unmount(t)
