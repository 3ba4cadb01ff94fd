# SPDX-License-Identifier: Apache-2.0
"""The crash suite, as far as it lives in one guest: recorded writes cut at any place, and daemons that are killed.

The numbers in the cases' names are seeds: asked for by name, any other number is a case too, and one that failed is repeated so.
"""

from __future__ import annotations

import errno
import functools
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import ends, mapper, product, stage, writelog
from .context import Context, Failed, Plan
from .engine import DAEMON, MODULE, Table

LOG_BYTES = 1 << 30  # sparse
_BASE, _LOG, _CUT = ".base", ".log", ".cut"  # beside the volume: as it was before, its writes, and a disk made of both
# What a system call gives once nobody serves the mount any more; anything else is a wrong answer.
_NOBODY = {errno.ENOTCONN, errno.ECONNABORTED}


def table(plan: Plan) -> Table:
    """The suite's cases: so many seeds as the manifest's options say, from `seed` on; and those that are asked for by name."""
    cases = Table()
    cases.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.ensure_loaded)
    cases.case("old-ends", kinds=(MODULE, DAEMON), mounted=False)(_old_ends)
    first = int(plan.options.get("seed", 1))
    for kind, function, kinds in (("recorded", _recorded, (MODULE, DAEMON)), ("kill", _kill, (DAEMON,))):
        seeds = list(range(first, first + int(plan.options.get(kind, 1))))
        seeds += [int(name.removeprefix(f"{kind}-")) for name in plan.only if name.startswith(f"{kind}-")]
        for seed in dict.fromkeys(seeds):
            cases.case(f"{kind}-{seed}", kinds=kinds, mounted=False)(functools.partial(function, seed=seed))
    return cases


@contextmanager
def _recording(t: Context) -> Iterator[mapper.Mapped]:
    """A fresh volume, mounted; every write to it and every flush is recorded until it is unmounted, which the caller does."""
    plan = t.plan
    stage.begin(t)
    stage.prepare(t)
    t.must(["cp", "--sparse=always", plan.volume, plan.volume + _BASE])
    log = plan.volume + _LOG
    with (
        stage.loop(t, plan.volume) as data,
        stage.loop(t, log, LOG_BYTES) as record,
        stage.mapped(t, data, f"log-writes {data} {record}") as device,
    ):
        t.plan = stage.on(plan, device.path)
        product.mount(t)
        yield device
    t.plan = stage.on(plan, plan.volume + _CUT)


def _old_ends(t: Context) -> None:
    """Files that were cut off grow again, and the power is lost before their contents are on the disk: what was cut off stays away."""
    plan = t.plan
    with _recording(t) as device:
        ends.change(t)
        device.message("mark grown")
        product.unmount(t)
    entries = writelog.read(plan.volume + _LOG)
    (mark,) = (place for place, entry in enumerate(entries) if entry.label == "grown")
    disks = writelog.Disks(plan.volume + _LOG, plan.volume + _BASE, entries)
    disks.cut(writelog.Cut(mark, 0), random.Random("ends"), plan.volume + _CUT)
    disks.close()
    product.mount(t)
    t.detail = ends.check(t)
    product.unmount(t)
    stage.fsck(t)
    t.plan = plan
    stage.begin(t)


def _recorded(t: Context, seed: int) -> None:
    """Every write of a workload is recorded below the filesystem; then disks as a power cut would leave them are looked at."""
    dice = random.Random(f"recorded/{seed}")
    operations = int(t.plan.options.get("operations", 60))
    plan, base, log, cut_disk = t.plan, t.plan.volume + _BASE, t.plan.volume + _LOG, t.plan.volume + _CUT
    begun: list[list[int]] = []
    with _recording(t) as device:
        chosen = stage.options(t, seed, operations)
        work = stage.Workload(t, chosen)

        def told(_: dict[str, Any]) -> None:
            device.message(f"mark {len(begun)}")
            begun.append(work.begun())

        work.listen(None, told)
        t.check(not work.errors(), f"the workload failed: {work.errors()}")
        product.unmount(t)
        device.message("mark end")
    entries = writelog.read(log)
    disks = writelog.Disks(log, base, entries, lies=bool(plan.options.get("lying_disk")))
    promises = files = lost = 0
    moments = writelog.cuts(entries, int(plan.options.get("cuts", 10)), dice)
    t.check(len(moments) > 0, "the workload wrote nothing to the disk")
    for cut in moments:
        where = f"a cut behind write {cut.entry} of {len(entries)}"
        t.op(f"make the disk of {where}")
        open_writes, kept = disks.cut(cut, dice, cut_disk)
        known = begun[min(cut.marks, len(begun) - 1)]
        result = stage.recover(t, chosen, work.messages[: cut.marks], known, where)
        promises, files, lost = promises + result.promises, files + result.files, lost + open_writes - kept
    disks.close()
    t.check(promises > 0, "no cut came after a promise: nothing was proved")
    t.detail = (
        f"{len(moments)} cuts in {len(entries)} recorded writes ({lost} unflushed ones lost): {promises} promises kept, "
        f"{files} files compared; features {', '.join(chosen.features)}"
    )
    stage.begin(t)


def _kill(t: Context, seed: int) -> None:
    """The daemon is killed with SIGKILL in mid-work, again and again on one volume; each time a new one must bring all back."""
    stage.begin(t)
    stage.prepare(t)
    promises = files = rounds = 0
    for number in range(int(t.plan.options.get("rounds", 2))):
        dice = random.Random(f"kill/{seed}/{number}")
        product.mount(t)
        stage.clear(t)
        chosen = stage.options(t, seed * 1000 + number, 100_000)
        work = stage.Workload(t, chosen)
        work.until_ready()
        seconds = dice.uniform(0.05, 1.5)
        if work.listen(seconds):
            raise Failed(f"the workload ended before the daemon was killed: {work.errors()}")
        work.excused.add(-signal.SIGBUS)  # a store to a page of a mapping that nobody brings any more
        t.op(f"kill -9 the daemon {seconds:.2f} s after the workload was ready")
        os.kill(product.daemon_pid(t.plan), signal.SIGKILL)
        work.listen(None)
        strange = work.numbers() - _NOBODY
        t.check(not strange, f"round {number}: the workload got errno {sorted(strange)}: {work.errors()}")
        t.must(["umount", t.plan.mountpoint])
        result = stage.recover(t, chosen, work.messages, work.begun(), f"kill -9 in round {number}, {seconds:.2f} s after ready")
        promises, files, rounds = promises + result.promises, files + result.files, rounds + 1
    t.check(promises > 0, "nothing was promised before any of the kills: nothing was proved")
    t.detail = f"{rounds} kills: {promises} promises kept, {files} files compared; features {', '.join(chosen.features)}"
    stage.begin(t)
