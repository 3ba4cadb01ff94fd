# SPDX-License-Identifier: Apache-2.0
"""What the crash and faults suites do again and again: a fresh volume, devices under it, the workload on it, and the check of all."""

from __future__ import annotations

import errno
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

from . import calls, mapper, mounts, product, worker
from .changes import Options
from .checker import Result, check
from .context import Context, Failed, Plan, environment
from .engine import DAEMON
from .stacks import members

_ABSENT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EPERM)
_TELL_EVERY = 25  # promises between two words to the host
_END_SECONDS = 3.0


def begin(t: Context) -> None:
    """A case of its own: nothing of an earlier one is mounted or running, and there is no volume."""
    release(t)
    for suffix in ("", ".base", ".log", ".cut"):
        with suppress(FileNotFoundError):
            os.unlink(t.plan.volume + suffix)


def release(t: Context) -> None:
    """End what an earlier case may have left behind."""
    if t.plan.kind == DAEMON:
        for pid in members(t.plan.marker):
            if _program(pid) == t.plan.file:
                os.kill(pid, 9)
    while mounts.at(t.plan.mountpoint) is not None:
        t.must(["umount", "--lazy", t.plan.mountpoint])


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""  # it has ended


def on(plan: Plan, device: str) -> Plan:
    """The plan with the volume at another place. A block device is mounted as it is, without a loop device over it."""
    words = [word.replace(plan.volume, device) for word in plan.mount]
    if device.startswith("/dev/"):
        pairs = list(zip(words, [*words[1:], ""], strict=True))
        drop = {place + step for place, pair in enumerate(pairs) if pair == ("-o", "loop") for step in (0, 1)}
        words = [word for place, word in enumerate(words) if place not in drop]
    check, repair = (tuple(word.replace(plan.volume, device) for word in argv) for argv in (plan.check, plan.repair))
    prepare = tuple(tuple(word.replace(plan.volume, device) for word in argv) for argv in plan.prepare)
    return replace(plan, volume=device, mount=tuple(words), prepare=prepare, check=check, repair=repair)


@contextmanager
def loop(t: Context, path: str, size: int = 0) -> Iterator[str]:
    """A loop device over a file, which is made (sparse, `size` bytes) where it is not there."""
    t.op(f"bind a loop device to {path}")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.truncate(size)
    bound = mapper.Loop(path)
    try:
        yield bound.path
    except BaseException:
        with suppress(OSError):  # what failed is told; that it holds the device is a consequence
            bound.close()
        raise
    bound.close()


@contextmanager
def mapped(t: Context, over: str, table: str) -> Iterator[mapper.Mapped]:
    """A mapped device of the size of `over`."""
    target = table.split()[0]
    t.must(["modprobe", "dm-mod"])
    if target not in ("linear", "error"):
        t.must(["modprobe", f"dm-{target}"])
    t.op(f"map: {table}")
    device = mapper.Mapped(f"vexci-{os.getpid()}-{target}", mapper.sectors(over), table)
    try:
        yield device
    except BaseException:
        with suppress(OSError):  # as above
            device.close()
        raise
    device.close()


def features(t: Context) -> tuple[str, ...]:
    """What the mounted volume can do, tried out in a folder that is removed again."""
    t.op("try what the volume can do")
    folder = t.path(".features")
    os.mkdir(folder)
    one, two = os.path.join(folder, "1"), os.path.join(folder, "2")
    for path in (one, two):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    probes: dict[str, Callable[[], object]] = {
        "xattr": lambda: os.setxattr(one, "user.a", b"a"),
        "exchange": lambda: calls.exchange(one, two),
        "fallocate": lambda: _opened(one, os.O_WRONLY, lambda fd: calls.fallocate(fd, calls.KEEP_SIZE, 0, 4096)),
        "chown": lambda: os.chown(one, 12, 34),
        "vectors": lambda: _collection(os.path.join(folder, "vectors")),
    }
    able = []
    for name, probe in probes.items():
        try:
            probe()
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
        else:
            able.append(name)
    for path in (one, two):
        os.unlink(path)
    with suppress(FileNotFoundError):
        os.rmdir(os.path.join(folder, "vectors"))
    os.rmdir(folder)
    return (*able, "map", *(() if t.plan.kind == DAEMON else ("syncfs",)))


def _opened(path: str, flags: int, action: Callable[[int], object]) -> None:
    descriptor = os.open(path, flags)
    try:
        action(descriptor)
    finally:
        os.close(descriptor)


def _collection(path: str) -> None:
    os.mkdir(path)
    _opened(path, os.O_RDONLY | os.O_DIRECTORY, lambda descriptor: calls.make_collection(descriptor, 4))


def options(t: Context, seed: int, operations: int, *, survives: bool = True) -> Options:
    """A workload on the mounted volume. With `survives` this guest lives on after the crash, and with it what is in its memory."""
    return Options(
        root=t.plan.mountpoint,
        folder=f"work-{seed}",
        seed=seed,
        operations=operations,
        scope=t.plan.fsync,
        features=features(t),
        owner=(os.geteuid(), os.getegid()),
        progress=os.path.join(t.plan.work, "progress") if survives else "",
    )


class Workload:
    """The workload's process, and what it has said. `messages` are its JSON lines; `excused` are exit codes that are no failure."""

    def __init__(self, t: Context, chosen: Options) -> None:
        self.messages: list[dict[str, Any]] = []
        self.chosen = chosen
        self.excused = {0}
        self._t = t
        self._rest = b""
        if chosen.progress:
            with suppress(FileNotFoundError):
                os.unlink(chosen.progress)
        argv = [sys.executable, os.environ["VEXCI_AGENT"], "work", json.dumps(asdict(chosen))]
        self._errors = os.path.join(t.plan.work, "work.errors")
        with open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment(t.plan))

    def listen(self, seconds: float | None, told: Callable[[dict[str, Any]], None] = lambda _: None) -> bool:
        """Take what it says, for so long or to its end; True where it has ended. `told` gets each message as it arrives."""
        assert self._process.stdout is not None
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            wait = None if end is None else max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._process.stdout], [], [], wait)
            if not ready:
                return False
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                return self._ended()
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                self.messages.append(message)
                told(message)
                if len(self.messages) % _TELL_EVERY == 1:
                    self._t.op(f"the workload on {self.chosen.folder}: {len(self.messages)} promises")

    def until_ready(self) -> None:
        """Wait until the workload's own folders are there and promised."""
        while not self.messages:
            if self.listen(0.05):
                raise Failed(f"the workload ended before it began: {self.errors()}")

    def errors(self) -> str:
        """What the workload's threads, or the process, complained of; empty where nothing."""
        told = [str(message["error"]) for message in self.messages if "error" in message]
        with open(self._errors, encoding="utf-8", errors="backslashreplace") as file:
            return "; ".join([*told[:3], *file.read().strip().splitlines()[-1:]])

    def numbers(self) -> set[int]:
        """The errno values that ended threads."""
        return {int(message["errno"] or 0) for message in self.messages if "error" in message}

    def begun(self) -> list[int]:
        """How many changes each thread has begun, until now."""
        return worker.begun(self.chosen) or [0] * self.chosen.threads

    def _ended(self) -> bool:
        code = self._process.wait()
        if code not in self.excused:
            raise Failed(f"the workload ended with {product.describe(code)}: {self.errors()}")
        return True


def recover(t: Context, chosen: Options, messages: list[dict[str, Any]], begun: list[int] | None, where: str) -> Result:
    """Mount after a crash, compare with what was promised, unmount, and have the product's own checker look.

    `where` names the moment of the crash for whoever reads of a failure.
    """
    try:
        product.mount(t)
        t.op(f"check {sum('floor' in message for message in messages)} promises after {where}")
        result = check(chosen, messages, begun)
        if result.problems:
            more = f" (and {len(result.problems) - 3} more)" if len(result.problems) > 3 else ""
            raise Failed(f"{'; '.join(result.problems[:3])}{more}")
        product.unmount(t)
        fsck(t)
    except Failed as failure:
        raise Failed(f"after {where}: {failure}") from failure
    except OSError as error:
        raise Failed(f"after {where}: {t.operation}: {error}") from error
    return result


def fsck(t: Context) -> None:
    """The product's own checker must find nothing, without changing anything."""
    if t.plan.check:
        ended = t.command(list(t.plan.check))
        t.check(ended.code == 0, f"{' '.join(t.plan.check)}: exit {ended.code}: {ended.output[:600]}")


def prepare(t: Context) -> None:
    """Make the volume as the manifest says."""
    for command in t.plan.prepare:
        t.must(list(command))


def clear(t: Context) -> None:
    """Remove what earlier workloads have left on the mounted volume."""
    for name in os.listdir(t.plan.mountpoint):
        if name.startswith("work-"):
            t.must(["rm", "-rf", t.path(name)])
