# SPDX-License-Identifier: Apache-2.0
"""The case no-memory of the suite faults: one allocation of the kernel after the other fails during a call (failslab).

Every call must work, or say ENOMEM and have changed nothing; the volume goes on as if nothing had been, and its check finds nothing.
What is injected, and how, says Documentation/fault-injection of the kernel: `fail-nth` of a thread counts its own allocations, so that no
other process is hit. Only calls of the module's code run under it: the daemon is a process, whose allocations are not the kernel's.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from . import calls, product, stage
from .context import Context, Failed, NotOffered
from .fileops import pattern, promise
from .machine import throwaway
from .vectors.collection import ADD, Collection

FAIL_NTH = "/proc/thread-self/fail-nth"
DEBUG = "/sys/kernel/debug"
# Allocations that may wait, which are nearly all, and single pages; no stack of the kernel for each of them in its log.
SETTINGS = {
    "failslab": {"ignore-gfp-wait": "N", "verbose": "0", "cache-filter": "Y"},
    "fail_page_alloc": {"ignore-gfp-wait": "N", "ignore-gfp-highmem": "N", "min-order": "0", "verbose": "0"},
}
SLABS = "/sys/kernel/slab"
# jbd2 does not look whether the files in /proc that it makes at a mount were made, and the kernel warns when they are then removed
# (fs/jbd2/journal.c, as of Linux 6.12): that is no fault of the product.
SPARED = ("proc_dir_entry",)
_MOST = 400  # allocations of one call, where the plan says nothing else
_TELL_EVERY = 20
_REFUSED = {errno.ENOMEM}
_LOST = _REFUSED | {errno.EIO}  # fsync(2): what could not be written back is an EIO for whoever asks
_SIZE = 3 * 4096
_DIMENSION = 16


class Injector:
    """Lets the n-th allocation of a call fail, in this thread alone."""

    def __init__(self) -> None:
        self._file = os.open(FAIL_NTH, os.O_RDWR)

    def call(self, number: int, act: Callable[[], object]) -> tuple[bool, OSError | None]:
        """Make the call; whether it got to its allocation `number`, and its error."""
        failed = None
        os.pwrite(self._file, b"%d" % number, 0)
        try:
            act()
        except OSError as error:
            failed = error
        finally:
            left = int(os.pread(self._file, 16, 0))
            os.pwrite(self._file, b"0", 0)
        return left == 0, failed

    def close(self) -> None:
        """Nothing fails any more."""
        os.close(self._file)


@contextmanager
def injector(t: Context) -> Iterator[Injector]:
    """Fault injection as SETTINGS says, and afterwards as it was; NotOffered where the kernel has none."""
    t.check(throwaway(), "no allocation is made to fail on a machine that is not a throwaway guest")
    if not os.path.exists(FAIL_NTH) or not os.path.isdir(f"{DEBUG}/failslab"):
        raise NotOffered("this kernel cannot let allocations fail: it has no failslab (CONFIG_FAILSLAB, as the kernel 'debug' has it)")
    with ExitStack() as stack:
        for folder, values in SETTINGS.items():
            for name, value in values.items():
                path = f"{DEBUG}/{folder}/{name}"
                with open(path, encoding="ascii") as file:
                    stack.callback(_set, path, file.read().strip())
                _set(path, value)
        for path in _filters():
            stack.callback(_set, path, "0")
        made = Injector()
        stack.callback(made.close)
        yield made


def _filters() -> list[str]:
    """The switch of each slab cache whose allocations may fail. One that caches share refuses it; KASAN keeps them apart."""
    found = []
    for name in sorted(os.listdir(SLABS)):
        path = f"{SLABS}/{name}/failslab"
        if name in SPARED or os.path.islink(f"{SLABS}/{name}") or not os.path.exists(path):
            continue
        with suppress(OSError):  # EINVAL: shared
            _set(path, "1")
            found.append(path)
    return found


def _set(path: str, value: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


@dataclass(frozen=True)
class Call:
    """`act` is made while an allocation fails; `look` is told whether it worked, and checks what is there then."""

    act: Callable[[], object]
    look: Callable[[bool], None]
    errors: frozenset[int] = frozenset(_REFUSED)


Operation = Callable[[Context, int], Call]  # arranges one call; the number makes its names new


def no_memory(t: Context) -> None:
    """All operations, each until its allocations have failed one by one; then the volume is as good as ever."""
    most = int(t.plan.options.get("allocations", str(_MOST)))
    with injector(t) as faults:
        stage.begin(t)
        stage.prepare(t)
        with stage.loop(t, t.plan.volume) as device:
            told = [_mounting(t, faults, device, most)]
        product.mount(t)
        promise(t, "kept", _SIZE)
        for name, operation in OPERATIONS.items():
            told.append(_each(t, faults, name, operation, most))
        promise(t, "afterwards", _SIZE)
        product.unmount(t)
    stage.fsck(t)
    product.mount(t)
    for name in ("kept", "afterwards"):
        t.equal(f"{name}, which was fsynced", _read(t.path(name)), pattern(name, _SIZE))
    product.unmount(t)
    t.detail = f"allocations that failed (calls that said so): {', '.join(told)}"
    stage.begin(t)


def _each(t: Context, faults: Injector, name: str, operation: Operation, most: int) -> str:
    """The operation again and again, its first allocation failing, its second, until it does without as many; in words."""
    refused = 0
    for number in range(1, most + 1):
        if number % _TELL_EVERY == 1:
            t.op(f"{name}, from its allocation {number} on")
        call = operation(t, number)
        reached, failed = faults.call(number, call.act)
        _judge(f"{name}, whose allocation {number} failed", failed, call.errors, reached)
        call.look(failed is None)
        refused += failed is not None
        if not reached:
            return f"{name} {number - 1} ({refused})"
    return f"{name} the first {most} ({refused})"


def _judge(what: str, failed: OSError | None, errors: frozenset[int], reached: bool) -> None:
    if failed is not None and failed.errno not in errors:
        names = " or ".join(sorted(errno.errorcode[number] for number in errors))
        raise Failed(f"{what}: {errno.errorcode.get(failed.errno or 0, failed.errno)}, expected success or {names}")
    if failed is not None and not reached:
        raise Failed(f"{what}: {failed}, and no allocation had failed")


def _mounting(t: Context, faults: Injector, device: str, most: int) -> str:
    """mount(2) of the device itself. What cannot be mounted for want of memory is not mounted, and can be a moment later."""
    os.makedirs(t.plan.mountpoint, exist_ok=True)
    words = [os.fsencode(word) for word in (device, t.plan.mountpoint, t.plan.filesystem)]

    def arranged(_: Context, number: int) -> Call:
        def look(worked: bool) -> None:
            t.equal(f"whether it is mounted, allocation {number} failing", os.path.ismount(t.plan.mountpoint), worked)
            if worked:
                calls.unmount(words[1])

        return Call(lambda: calls.mount(*words), look)

    return _each(t, faults, "mount", arranged, most)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _there(t: Context, path: str, expected: bool) -> None:
    t.equal(f"whether {path} is there", os.path.lexists(path), expected)


def _made(name: str, make: Callable[[str], object]) -> Operation:
    """A call that makes a name, or does not."""

    def arranged(t: Context, number: int) -> Call:
        path = t.path(f"{name}-{number}")
        return Call(lambda: make(path), lambda worked: _there(t, path, worked))

    return arranged


def _gone(name: str, make: Callable[[str], object], remove: Callable[[str], object]) -> Operation:
    """A call that takes a name away, or does not."""

    def arranged(t: Context, number: int) -> Call:
        path = t.path(f"{name}-{number}")
        make(path)
        return Call(lambda: remove(path), lambda worked: _there(t, path, not worked))

    return arranged


def _empty(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _rename(t: Context, number: int) -> Call:
    old, new = t.path(f"old-{number}"), t.path(f"new-{number}")
    _empty(old)

    def look(worked: bool) -> None:
        _there(t, old, not worked)
        _there(t, new, worked)

    return Call(lambda: os.rename(old, new), look)


def _opened(t: Context, name: str, content: bytes = b"") -> int:
    descriptor = os.open(t.path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, content)
    return descriptor


def _write(t: Context, number: int) -> Call:
    descriptor, content = _opened(t, f"write-{number}"), pattern("write", _SIZE)
    written = [0]

    def act() -> None:
        written[0] = os.pwrite(descriptor, content, 0)

    def look(worked: bool) -> None:
        t.check(written[0] > 0 or not worked, "a write of three pages wrote nothing and did not fail")
        t.equal("what is there after a write", os.pread(descriptor, 2 * _SIZE, 0), content[: written[0]] if worked else b"")
        os.close(descriptor)

    return Call(act, look)


def _fsync(t: Context, number: int) -> Call:
    content = pattern("fsync", _SIZE)
    descriptor = _opened(t, f"fsync-{number}", content)

    def look(worked: bool) -> None:
        if not worked:  # it said so: whoever writes it again has it
            os.pwrite(descriptor, content, 0)
            os.fsync(descriptor)
        os.close(descriptor)

    return Call(lambda: os.fsync(descriptor), look, frozenset(_LOST))


def _truncate(t: Context, number: int) -> Call:
    descriptor = _opened(t, f"truncate-{number}", pattern("truncate", _SIZE))

    def look(worked: bool) -> None:
        t.equal("the size after truncate", os.fstat(descriptor).st_size, 5000 if worked else _SIZE)
        os.close(descriptor)

    return Call(lambda: os.ftruncate(descriptor, 5000), look)


def _setxattr(t: Context, number: int) -> Call:
    path = t.path(f"xattr-{number}")
    _empty(path)
    return Call(
        lambda: os.setxattr(path, "user.name", bytes(900)),
        lambda worked: t.equal("its attributes", os.listxattr(path), ["user.name"] if worked else []),
    )


def _cold_read(t: Context, number: int) -> Call:
    descriptor, content = os.open(t.path("kept"), os.O_RDONLY), pattern("kept", _SIZE)
    buffer = bytearray(b"x" * _SIZE)  # touched: a page fault of ours would be an EFAULT
    got = [0]
    t.drop_caches()

    def act() -> None:
        got[0] = os.preadv(descriptor, [buffer], 0)

    def look(worked: bool) -> None:
        if worked:
            t.equal(f"the {got[0]} bytes that were read", bytes(buffer[: got[0]]), content[: got[0]])
            t.check(got[0] > 0, "a read of a file with contents gave nothing and did not fail")
        os.close(descriptor)

    return Call(act, look)


def _cold_stat(t: Context, number: int) -> Call:
    t.drop_caches()
    path, size = t.path("kept"), [0]

    def act() -> None:
        size[0] = os.stat(path).st_size

    return Call(act, lambda worked: t.equal("the size by stat", size[0], _SIZE if worked else 0))


def _cold_list(t: Context, number: int) -> Call:
    t.drop_caches()
    folder, buffer = os.open(t.plan.mountpoint, os.O_RDONLY | os.O_DIRECTORY), bytearray(b"x" * 8192)
    got = [0]

    def act() -> None:
        got[0] = calls.getdents(folder, buffer)

    def look(worked: bool) -> None:
        t.equal("whether a listing has entries", got[0] > 0, worked)
        os.close(folder)

    return Call(act, look)


def _vector(number: int) -> bytes:
    return struct.pack(f"={_DIMENSION}f", *(float(number + place) for place in range(_DIMENSION)))


def _collection(t: Context) -> Collection:
    path = t.path("collection")
    if os.path.isdir(path):
        found = Collection(path)
        found.shape()
        return found
    os.mkdir(path)
    made = Collection(path)
    made.create(_DIMENSION, 1)
    return made


def _add(t: Context, number: int) -> Call:
    collection = _collection(t)
    before = collection.shape().count

    def look(worked: bool) -> None:
        t.equal("vectors of the collection", collection.shape().count, before + worked)
        collection.close()

    vector = _vector(number)
    return Call(lambda: collection.batch(ADD, (number,), vector, mode=0o600), look)


def _search(t: Context, number: int) -> Call:
    collection = _collection(t)
    query = _vector(2)
    expected = collection.search(query, 3)
    t.drop_caches()
    found: list[tuple[float, int]] = []

    def look(worked: bool) -> None:
        t.equal("what a search finds", found, expected if worked else [])
        t.equal("what the next search finds", collection.search(query, 3), expected)
        collection.close()

    return Call(lambda: found.extend(collection.search(query, 3)), look)


OPERATIONS: dict[str, Operation] = {
    "create": _made("create", lambda path: os.mknod(path, 0o100600)),
    "mkdir": _made("mkdir", os.mkdir),
    "symlink": _made("symlink", lambda path: os.symlink("x" * 300, path)),
    "link": _made("link", lambda path: os.link(os.path.join(os.path.dirname(path), "kept"), path)),
    "rename": _rename,
    "write": _write,
    "fsync": _fsync,
    "truncate": _truncate,
    "setxattr": _setxattr,
    "unlink": _gone("unlink", _empty, os.unlink),
    "rmdir": _gone("rmdir", os.mkdir, os.rmdir),
    "read": _cold_read,
    "stat": _cold_stat,
    "list": _cold_list,
    "add": _add,
    "search": _search,
}
