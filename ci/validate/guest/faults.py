# SPDX-License-Identifier: Apache-2.0
"""The faults suite: disks that fail or are full, memory that cannot be had, volumes that are damaged or none at all. Every fault is
reported, nothing promised is lost, and nothing hangs."""

from __future__ import annotations

import errno
import functools
import os
import random
from collections.abc import Callable
from contextlib import suppress

from . import calls, memory, product, stage
from .context import Context, Failed, Plan
from .engine import DAEMON, MODULE, Table
from .fileops import pattern, promise

BLOCK = 4096
KEPT = 60_000
PROMISES = 25  # before the disk fails
# What a system call may say of a failed disk or a damaged volume; 0 is a short count.
_FAILED = {errno.EIO, errno.EROFS, errno.EUCLEAN, errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN}
_SHORT = 0  # a write that a failing disk cut short said so by its count (write(2))
_DAMAGED = _FAILED | {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC, errno.EINVAL, errno.EFBIG, errno.ENODATA, errno.ENOTEMPTY}
_DAMAGED |= {errno.ELOOP, errno.ESTALE, errno.EPERM, errno.EACCES, errno.ENXIO, errno.EMEDIUMTYPE, errno.ENOTTY, errno.EMLINK, errno.EEXIST}
_REPAIRED = (0, 1, 4)  # fsck(8): clean, repaired, errors left


def table(plan: Plan) -> Table:
    """The cases; `flipped` of the options says how many damaged volumes, each a case by its seed."""
    cases = Table()
    both = (MODULE, DAEMON)
    cases.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.ensure_loaded)
    cases.case("no-volume", kinds=both, mounted=False)(_no_volume)
    cases.case("full-disk", kinds=both, mounted=False)(_full)
    cases.case("write-errors", kinds=both, mounted=False)(functools.partial(_failing, fault="flakey {data} 0 0 1000 1 error_writes"))
    cases.case("dead-disk", kinds=both, mounted=False)(functools.partial(_failing, fault="error"))
    cases.case("no-memory", kinds=(MODULE,), mounted=False)(memory.no_memory)
    first = int(plan.options.get("seed", 1))
    seeds = list(range(first, first + int(plan.options.get("flipped", 3))))
    seeds += [int(name.removeprefix("flipped-")) for name in plan.only if name.startswith("flipped-")]
    for seed in dict.fromkeys(seeds):
        cases.case(f"flipped-{seed}", kinds=both, mounted=False)(functools.partial(_flipped, seed=seed))
    return cases


def _mounts(t: Context) -> bool:
    """Whether the volume can be mounted; a refusal, in whatever words, is an answer too. A hang is not."""
    try:
        product.mount(t)
    except Failed:
        stage.release(t)
        return False
    return True


def _let_go(t: Context) -> None:
    """Unmount what may have failed: it must go, but a daemon need not call it a success."""
    pid = product.daemon_pid(t.plan) if t.plan.kind == DAEMON else 0
    t.must(["umount", t.plan.mountpoint])
    if pid:
        t.until(f"the daemon {pid} has ended after umount", lambda: "code" in product.status(t.plan))
        code = int(product.status(t.plan)["code"])
        t.check(code >= 0, f"the daemon ended with {product.describe(code)} after umount{product.log_tail(t.plan)}")


def _no_volume(t: Context) -> None:
    """Zeros and noise are no volume: whoever mounts them mounts anything (T6)."""
    stage.begin(t)
    noise = random.Random(1).randbytes(1 << 20)
    for what, piece in (("zeros", bytes(1 << 20)), ("random bytes", noise)):
        with open(t.plan.volume, "wb") as file:
            for _ in range(16):
                file.write(piece)
        t.op(f"mount a volume of {what}")
        if _mounts(t):
            _let_go(t)
            raise Failed(f"a volume of {what} was mounted")
        os.unlink(t.plan.volume)


def _keep(t: Context, name: str) -> None:
    """A file that is promised."""
    t.op(f"write and fsync {name}")
    promise(t, name, KEPT)


def _kept(t: Context, name: str) -> None:
    t.op(f"read {name}")
    with open(t.path(name), "rb") as file:
        t.check(file.read() == pattern(name, KEPT), f"{name}, which had been fsynced, has other contents now")


def _full(t: Context) -> None:
    """No operation on a full disk says anything but ENOSPC, or works; and room that is made is there."""
    stage.begin(t)
    product.mount(t)
    _keep(t, "kept")
    able = stage.features(t)
    _fill(t, "fallocate" in able)
    refused = []
    for name, action in _on_full(t, able).items():
        t.op(f"{name} on a full disk")
        try:
            action()
        except OSError as error:
            t.check(error.errno == errno.ENOSPC, f"{name} on a full disk: {error}, expected ENOSPC")
            refused.append(name)
    t.check(len(refused) >= 2, f"of all operations on a full disk only {refused} were refused: it was not full")
    _kept(t, "kept")
    t.op("make room again")
    for name in os.listdir(t.plan.mountpoint):
        if name.startswith("fill"):
            os.unlink(t.path(name))
    _keep(t, "afterwards")
    product.unmount(t)
    stage.fsck(t)
    product.mount(t)
    _kept(t, "kept")
    _kept(t, "afterwards")
    product.unmount(t)
    t.detail = f"ENOSPC from {', '.join(refused)}"
    stage.begin(t)


def _fill(t: Context, preallocate: bool) -> None:
    size = 64 << 20
    number = 0
    descriptor = os.open(t.path("fill"), os.O_WRONLY | os.O_CREAT, 0o600)
    offset = 0
    try:
        while preallocate and size >= 1 << 20:
            t.op(f"fallocate {size} bytes more")
            try:
                calls.fallocate(descriptor, 0, offset, size)
                offset += size
            except OSError as error:
                t.check(error.errno == errno.ENOSPC, f"fallocate on a nearly full disk: {error}")
                size //= 2
        offset = os.lseek(descriptor, 0, os.SEEK_END)
        data = pattern("fill", 1 << 16)
        while True:
            if number % 64 == 0:
                t.op(f"write until the disk is full: {number} pieces so far")
            number += 1
            try:
                offset += os.pwrite(descriptor, data, offset)
            except OSError as error:
                t.check(error.errno == errno.ENOSPC, f"a write to a full disk: {error}")
                if len(data) == BLOCK:
                    return
                data = data[:BLOCK]
    finally:
        os.close(descriptor)


def _on_full(t: Context, able: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    """The operations that may need room."""

    def append(size: int) -> None:
        descriptor = os.open(t.path("full"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for _ in range(16):
                os.write(descriptor, bytes(size))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def folders() -> None:
        os.mkdir(t.path("full-folder"))
        for number in range(200):
            os.mkdir(t.path("full-folder", f"{number:0200}"))

    actions: dict[str, Callable[[], object]] = {
        "append": lambda: append(BLOCK),
        "mkdir": folders,
        "symlink": lambda: os.symlink("x" * 3000, t.path("full-link")),
        "link": lambda: os.link(t.path("kept"), t.path("kept-too")),
        "rename": lambda: os.rename(t.path("kept-too"), t.path("kept-" + "y" * 200)),
        "truncate": lambda: os.truncate(t.path("fill"), 1 << 32),
    }
    if "xattr" in able:
        actions["setxattr"] = lambda: os.setxattr(t.path("kept"), "user.large", bytes(3500))
    if "fallocate" in able:
        actions["fallocate"] = lambda: _descriptor(t.path("fill"), lambda fd: calls.fallocate(fd, 0, 1 << 33, 64 << 20))
    return actions


def _descriptor(path: str, action: Callable[[int], object]) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        action(descriptor)
    finally:
        os.close(descriptor)


def _failing(t: Context, fault: str) -> None:
    """The disk fails in mid-work: that is said, what was promised before is there when it works again, and the mount can be let go."""
    stage.begin(t)
    plan = t.plan
    stage.prepare(t)
    with stage.loop(t, plan.volume) as data:
        if fault.startswith("flakey"):
            t.must(["modprobe", "dm-flakey"])
        with stage.mapped(t, data, f"linear {data} 0") as device:
            t.plan = stage.on(plan, device.path)
            product.mount(t)
            chosen = stage.options(t, int(plan.options.get("seed", 1)), 100_000)
            work = stage.Workload(t, chosen)
            while len(work.messages) < PROMISES:
                t.check(not work.listen(0.05), f"the workload ended before the disk failed: {work.errors()}")
            t.op(f"the disk fails: {fault}")
            device.replace(fault.format(data=data))
            work.listen(None)
            strange = work.numbers() - _FAILED - {_SHORT}
            t.check(not strange, f"the workload on a failed disk got errno {sorted(strange)}: {work.errors()}")
            t.check(bool(work.numbers()), "no operation said that the disk had failed")
            _refused(t)
            _let_go(t)
    # Another device: this one's page cache remembers errors that nobody has been told yet, and would tell fsck.
    t.plan = plan
    if plan.repair:
        ended = t.command(list(plan.repair))
        t.check(ended.code in (0, 1), f"{' '.join(plan.repair)}: exit {ended.code}: {ended.output[:600]}")
    result = stage.recover(t, chosen, work.messages, work.begun(), f"the disk's failure in mid-work ({fault.split()[0]})")
    names = ", ".join(sorted(errno.errorcode.get(number, str(number)) for number in work.numbers()))
    t.detail = f"{names} from the workload; {result.promises} promises kept"
    stage.begin(t)


def _refused(t: Context) -> None:
    """fsync of new contents on a failed disk must not say that it worked."""
    t.op("fsync on a failed disk")
    try:
        _keep(t, "never")
    except OSError as error:
        t.check(error.errno in _FAILED, f"fsync on a failed disk: {error}, expected EIO or EROFS")
        return
    raise Failed("fsync on a failed disk says that it worked")


def _flipped(t: Context, seed: int) -> None:
    """Bits of a volume in use are flipped: whoever mounts, reads, writes and repairs it gets errors, not crashes and not hangs."""
    stage.begin(t)
    dice = random.Random(f"flipped/{seed}")
    plan = t.plan
    product.mount(t)
    chosen = stage.options(t, seed, 40)
    work = stage.Workload(t, chosen)
    work.listen(None)
    t.check(not work.errors(), f"the workload failed: {work.errors()}")
    product.unmount(t)
    flipped = _flip(t, dice)
    answers: set[int] = set()
    mounted = _mounts(t)
    if mounted:
        _walk(t, answers)
        _let_go(t)
    strange = answers - _DAMAGED
    t.check(not strange, f"on a damaged volume there were errno {sorted(strange)}")
    if plan.repair:
        ended = t.command(list(plan.repair))
        t.check(ended.code in _REPAIRED, f"{' '.join(plan.repair)}: exit {ended.code}: {ended.output[:600]}")
        if ended.code in (0, 1):
            stage.fsck(t)
            product.mount(t)
            _walk(t, answers)
            product.unmount(t)
    names = ", ".join(sorted(errno.errorcode.get(number, str(number)) for number in answers)) or "no error"
    t.detail = f"{flipped} bits flipped; {'mounted' if mounted else 'not mounted'}; {names}"
    stage.begin(t)


def _flip(t: Context, dice: random.Random) -> int:
    """Flip bits in blocks that are not zero, more of them near the beginning, where the metadata is."""
    t.op("flip bits of the volume")
    count = dice.choice((1, 4, 20))
    with open(t.plan.volume, "rb+", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        used = []
        place = 0
        with suppress(OSError):  # ENXIO: no data behind
            while place < size:
                place = os.lseek(file.fileno(), place, os.SEEK_DATA)
                end = os.lseek(file.fileno(), place, os.SEEK_HOLE)
                used += [at for at in range(place, end, BLOCK) if os.pread(file.fileno(), BLOCK, at).strip(b"\0")]
                place = end
        for _ in range(count):
            at = used[int(len(used) * dice.random() ** 2)] + dice.randrange(BLOCK)
            byte = os.pread(file.fileno(), 1, at)[0]
            os.pwrite(file.fileno(), bytes([byte ^ 1 << dice.randrange(8)]), at)
    return count


def _walk(t: Context, answers: set[int]) -> None:
    """Read all that there is, and write beside it."""

    def ask(action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            answers.add(error.errno or 0)

    t.op("read everything on the damaged volume")
    paths: list[str] = []
    for base, folders, files in os.walk(t.plan.mountpoint, onerror=lambda error: answers.add(error.errno or 0)):
        paths += [os.path.join(base, name) for name in (*folders, *files)]
        if len(paths) > 2000:
            break
    for path in paths:
        ask(lambda path=path: os.lstat(path))  # type: ignore[misc]
        ask(lambda path=path: os.listxattr(path, follow_symlinks=False))  # type: ignore[misc]
        if os.path.isfile(path) and not os.path.islink(path):
            ask(lambda path=path: _descriptor(path, lambda fd: os.read(fd, 1 << 18)))  # type: ignore[misc]
    t.op("write to the damaged volume")
    ask(lambda: _keep(t, f"written-{len(os.listdir(t.plan.mountpoint))}"))
    for path in [path for path in paths if not os.path.isdir(path)][:20]:
        ask(lambda path=path: os.unlink(path))  # type: ignore[misc]
    t.op("sync the damaged volume")
    ask(lambda: _sync(t.plan.mountpoint))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
