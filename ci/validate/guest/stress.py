# SPDX-License-Identifier: Apache-2.0
"""The suite stress: much at once and for a while, each part with a check of what came out of it.

`seconds` bounds each part; `seed` is the exerciser's first.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from . import product
from .churn import churn
from .context import Context, NotOffered, Plan
from .engine import MODULE, Table
from .exerciser import Exerciser
from .fileops import pattern, same, write

# stress-ng's stressors that work on files of one folder, and that need no privilege over the machine beyond it.
# fmt: off
STRESSORS = (
    "access", "chattr", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "fallocate", "fcntl", "fiemap",
    "file-ioctl", "filename", "flock", "fpunch", "fstat", "getdent", "hdd", "io", "link", "lockf", "mknod", "open", "readahead",
    "rename", "seek", "sync-file", "symlink", "touch", "utime", "xattr",
)
# fmt: on
# How large their files are. Of the gigabyte that is usual two would fill the volume, and whoever comes second has no room to begin.
# copy-file takes no less than 128 MiB; its files are sparse.
SIZES = {
    "fallocate": "--fallocate-bytes",
    "fiemap": "--fiemap-bytes",
    "hdd": "--hdd-bytes",
    "readahead": "--readahead-bytes",
    "seek": "--seek-size",
    "sync-file": "--sync-file-bytes",
}
SIZE = "8m"
NOT_SUPPORTED = 4  # of stress-ng's exit statuses
FIO_JOBS = {
    "random": ["--rw=randwrite", "--bs=4k", "--norandommap=0"],
    "mixed": ["--rw=randwrite", "--bsrange=1k-32k", "--numjobs=2", "--fsync=32"],
    "mapped": ["--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
}
# What a job writes for each second that a part may take: so much passes the slowest that there is, a daemon in an emulated guest.
FIO_RATE = 400 << 10
_OPERATIONS = re.compile(r"^stress-ng: metrc: \[\d+\] (?P<name>[a-z-]+) +(?P<count>\d+) ", re.MULTILINE)
# What it says where a stressor cannot be; it exits 0 then, too.
_SKIPPING = re.compile(r"^stress-ng: \w+: +\[\d+\] (.*(?:skipping stressor|not supported).*)", re.MULTILINE)


def table(plan: Plan) -> Table:
    """The cases in their order; what is mounted stays so from `mount` to `unmount`."""
    seconds = float(plan.options.get("seconds", "5"))
    seed = int(plan.options.get("seed", "1"))
    made = Table()
    made.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.load_afresh)
    made.case("mount", mounted=False, vital=True)(product.mount)
    made.case("exerciser")(lambda t: _exercise(t, seed, seconds))
    made.case("churn")(lambda t: churn(t, seconds))
    for name, words in FIO_JOBS.items():
        made.case(f"fio-{name}")(_fio(name, [*words, f"--size={max(1 << 20, round(seconds * FIO_RATE) & -4096)}"]))
    for name in STRESSORS:
        made.case(f"stress-ng-{name}")(_stressor(name, seconds / 5))
    made.case("unmount", mounted=False, vital=True)(_unmount)
    made.case("unload", kinds=(MODULE,), mounted=False, vital=True)(product.unload)
    return made


def _exercise(t: Context, seed: int, seconds: float) -> None:
    """New files until the time is over; each ends with a look at all of it."""
    end = time.monotonic() + seconds
    files = steps = 0
    while files == 0 or time.monotonic() < end:
        path = t.path(f"exerciser-{files}")
        t.op(f"exercise {path}, seed {seed + files}")
        exerciser = Exerciser(t, path, seed + files)
        try:
            for _ in range(400):
                exerciser.step()
                steps += 1
            exerciser.whole()
        finally:
            exerciser.close()
        os.unlink(path)
        files += 1
    t.detail = f"{steps} operations on {files} files, every byte read as it had to be"


def _fio(name: str, words: list[str]) -> Callable[[Context], None]:
    def body(t: Context) -> None:
        folder = t.path(f"fio-{name}")
        os.mkdir(folder)
        always = ["--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--fallocate=none", "--randrepeat=1", "--output-format=terse"]
        t.must(["fio", f"--name={name}", f"--directory={folder}", *always, *words])
        t.drop_caches()
        t.must(["fio", f"--name={name}", f"--directory={folder}", *always, *words, "--verify_only"])
        for entry in os.listdir(folder):
            os.unlink(os.path.join(folder, entry))
        os.rmdir(folder)

    return body


def _stressor(name: str, seconds: float) -> Callable[[Context], None]:
    """The stressor for so long; where it has not come to the end of one operation by then, until it has, for a third of what a command
    may take."""

    def body(t: Context) -> None:
        folder = t.path(f"stress-ng-{name}")
        os.mkdir(folder)
        count = _stress(t, name, folder, seconds)
        if not count:
            count = _stress(t, name, folder, t.plan.operation_deadline / 3, f"--{name}-ops", "1")
        t.must(["rm", "-rf", folder])
        t.detail = f"{count} operations"
        t.check(count > 0, f"stress-ng --{name} exits 0 and has not done one operation")

    return body


def _stress(t: Context, name: str, folder: str, seconds: float, *more: str) -> int:
    """How many operations it did in so many seconds; NotOffered where stress-ng says that it cannot."""
    size = [SIZES[name], SIZE] if name in SIZES else []
    limit = f"{max(1, round(seconds))}s"
    argv = ["stress-ng", f"--{name}", "2", *size, *more, "--temp-path", folder, "--timeout", limit, "--verify", "--metrics-brief"]
    ended = t.command(argv)
    t.check(ended.code in (0, NOT_SUPPORTED), f"{' '.join(argv)}: exit {ended.code}: {ended.output[-600:] or 'no output'}")
    t.check(bool(ended.output), f"{' '.join(argv)} exited {ended.code} and said nothing")
    count = operations(ended.output, name)
    absent = _SKIPPING.findall(ended.output)
    if ended.code == NOT_SUPPORTED or (absent and not count):
        t.must(["rm", "-rf", folder])
        raise NotOffered(f"stress-ng cannot do it here: {absent[0] if absent else ended.output[-200:]}")
    return count


def operations(output: str, name: str) -> int:
    """How many operations the stressor has counted, as stress-ng's table of metrics says."""
    return sum(int(row["count"]) for row in _OPERATIONS.finditer(output) if row["name"] == name)


def _unmount(t: Context) -> None:
    """What was written before is still there, and the manifest's check finds nothing."""
    write(t, t.path("kept"), pattern("stress", 100_000))
    t.drop_caches()
    same(t, t.path("kept"), pattern("stress", 100_000))
    product.unmount_checked(t)
