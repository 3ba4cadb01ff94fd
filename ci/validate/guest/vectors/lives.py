# SPDX-License-Identifier: Apache-2.0
"""Collections through what interrupts them: a remount, a crash, the other implementation, and other processes at work."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import traceback
from dataclasses import replace
from typing import Any

from .. import mounts, product
from ..context import Context, Failed, Plan
from . import reference
from .answers import Model, drawn
from .collection import K_MAX, Collection

_SHAPES = ((reference.L2, 3), (reference.IP, 16), (reference.COSINE, 128))
_WORK_SECONDS = 3.0


def _filled(t: Context, seed: int, count: int, prefix: str) -> list[Model]:
    """A collection of each metric, with some vectors removed and replaced, and all of it fsynced."""
    models = []
    for metric, dimension in _SHAPES:
        dice = random.Random(f"{seed} {prefix} {metric}")
        model = Model(t, t.path(f"{prefix}-{metric}"), metric, dimension)
        collection = model.make()
        model.add(collection, range(count), [drawn(dice, dimension) for _ in range(count)])
        gone = list(model.held)[:: max(2, count // 8)]
        collection.remove(gone)
        for inode in gone:
            model.drop(inode)
        model.add(collection, range(1, count, 5), [drawn(dice, dimension) for _ in range(1, count, 5)])
        t.op(f"fsync {model.path}")
        collection.sync()
        collection.close()
        models.append(model)
    return models


def _same(t: Context, models: list[Model], *, at: str = "") -> None:
    """The collections are as their models say, below another mount point where one is named."""
    dice = random.Random(len(models))
    for model in models:
        path = model.path.replace(t.plan.mountpoint, at, 1) if at else model.path
        collection = Collection(path)
        shape = collection.shape()
        t.equal(f"the dimension of {path}", shape.dimension, model.dimension)
        model.check(collection, drawn(dice, model.dimension))
        model.check_vectors(collection)
        collection.close()


def remount(seed: int, count: int, t: Context) -> None:
    """Unmounted, checked, mounted again."""
    models = _filled(t, seed, count, "remount")
    _same(t, models)
    product.unmount_checked(t)
    product.mount(t)
    _same(t, models)


def kill(seed: int, count: int, t: Context) -> None:
    """SIGKILL to the daemon behind the fsync, with more changes on the way: what was fsynced is there."""
    models = _filled(t, seed, count, "kill")
    beside = Collection(_beside(t).path)
    beside.shape()
    beside.add(range(20), [reference.pack([float(number)] * 3) for number in range(20)])
    pid = product.daemon_pid(t.plan)
    t.op(f"kill the daemon {pid}")
    os.kill(pid, signal.SIGKILL)
    t.until("the daemon has ended", lambda: "code" in product.status(t.plan))
    beside.close()
    t.must(["umount", "--lazy", t.plan.mountpoint])
    product.mount(t)
    _same(t, models)


def _beside(t: Context) -> Model:
    model = Model(t, t.path("unsynced"), reference.L2, 3)
    model.make().close()
    return model


def crash(seed: int, count: int, t: Context) -> None:
    """A copy of the volume, taken behind the fsync while it is mounted, is what a power cut leaves: its mount has all of it.

    The suite power destroys whole guests; this needs none.
    """
    models = _filled(t, seed, count, "crash")
    copy = replace(t.plan, volume=f"{t.plan.volume}.copy", mountpoint=f"{t.plan.mountpoint}-copy", check=())
    words = [word.replace(t.plan.volume, copy.volume).replace(t.plan.mountpoint, copy.mountpoint) for word in t.plan.mount]
    copy = replace(copy, mount=tuple(words))
    t.must(["cp", "--sparse=always", t.plan.volume, copy.volume])
    try:
        other = _context(t, copy)
        product.mount(other)
        try:
            _same(t, models, at=copy.mountpoint)
        finally:
            t.must(["umount", copy.mountpoint])
        t.must([word.replace(t.plan.volume, copy.volume) for word in t.plan.check])
    finally:
        os.unlink(copy.volume)


def other_mount(seed: int, count: int, t: Context) -> None:
    """The volume through the other implementation: the same hits, and what is changed there is found here."""
    t.prove_mount()
    models = _filled(t, seed, count, "other")
    for facts in t.plan.others:
        other = _context(t, _over(t.plan, Plan.parse(json.dumps(facts))))
        product.unmount(t)
        if other.plan.module and not product.loaded(other.plan.module):
            product.load(other)
        product.mount(other)
        try:
            _same(t, models, at=other.plan.mountpoint)
            _change_there(t, models[0], other.plan, random.Random(seed))
            product.unmount(other)
        finally:
            if mounts.at(other.plan.mountpoint) is not None:  # what failed is told; the volume must not stay in use
                t.must(["umount", "--lazy", other.plan.mountpoint])
        product.mount(t)
        _same(t, models)
    t.prove_mount()


def _change_there(t: Context, model: Model, plan: Plan, dice: random.Random) -> None:
    """Add one vector and replace another through the other mount."""
    collection = Collection(model.path.replace(t.plan.mountpoint, plan.mountpoint, 1))
    collection.shape()
    vector, replaced = drawn(dice, model.dimension), drawn(dice, model.dimension)
    (inode,) = collection.add((999_999,), (vector,))
    model.held[inode] = vector
    first = next(iter(model.held))
    collection.set(first, replaced)
    model.held[first] = replaced
    collection.close()


def _over(plan: Plan, other: Plan) -> Plan:
    """The other product's plan on this one's volume, which is not made anew."""
    words = tuple(word.replace(other.volume, plan.volume) for word in other.mount)
    return replace(other, volume=plan.volume, mount=words, operation_deadline=plan.operation_deadline)


def _context(t: Context, plan: Plan) -> Context:
    """A context for another mount that tells the host as this one does. Its daemon, if it has one, has files of its own."""
    os.makedirs(plan.work, exist_ok=True)
    return t.beside(replace(plan, marker=t.plan.marker))


def concurrent(seed: int, t: Context) -> None:
    """Two processes change, two search. A search misses nothing that nobody touches, and each distance that it gives is that of a
    vector which the member had meanwhile."""
    dice = random.Random(f"{seed} concurrent")
    model = Model(t, t.path("concurrent"), reference.L2, 8)
    collection = model.make()
    quiet = 40
    model.add(collection, range(quiet), [drawn(dice, 8) for _ in range(quiet)])
    stable = {inode: reference.unpack(vector) for inode, vector in model.held.items()}
    pool = [drawn(dice, 8) for _ in range(6)]  # what the changers set
    t.op(f"change and search {model.path} in four processes for {_WORK_SECONDS:g} s")
    end = time.monotonic() + _WORK_SECONDS
    children = [_child(_change, model.path, pool, number, end) for number in (1, 2)]
    children += [_child(_search, model.path, pool, stable, seed + number, end) for number in (3, 4)]
    counts = [_answer(child) for child in children]
    t.check(all(count > 0 for count in counts), f"a process did nothing: {counts}")
    left = {inode for _, inode in collection.search(pool[0], K_MAX)}
    t.check(set(stable) <= left, "a vector that nobody touched is gone")
    t.equal("the count", collection.shape().count, len(left))
    collection.close()
    shutil.rmtree(model.path)
    t.detail = f"{counts[0] + counts[1]} changes beside {counts[2] + counts[3]} searches"


def _child(work: Any, *arguments: Any) -> tuple[int, int]:
    """A process that does the work; its id, and the pipe that tells how often, or what went wrong."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            told: dict[str, Any] = {"count": work(*arguments)}
        except Failed as failure:
            told = {"failed": str(failure)}
        except BaseException:
            told = {"failed": traceback.format_exc()}
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    return pid, reader


def _answer(child: tuple[int, int]) -> int:
    pid, reader = child
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    told = json.loads(text) if text else {"failed": f"it ended with status {status}"}
    if "failed" in told:
        raise Failed(f"a process beside others: {told['failed']}")
    return int(told["count"])


def _change(path: str, pool: list[bytes], number: int, end: float) -> int:
    """Add, replace, remove and unlink members of its own."""
    dice = random.Random(number)
    collection = Collection(path)
    collection.shape()
    count = 0
    while time.monotonic() < end:
        ids = [number * 1000 + dice.randrange(30) for _ in range(3)]
        inodes = collection.add(ids, [dice.choice(pool) for _ in ids])
        if dice.random() < 0.5:
            collection.remove(tuple(set(inodes)))
        else:
            os.unlink(f"{path}/{ids[0]}")
        count += 1
    return count


def _search(path: str, pool: list[bytes], stable: dict[int, tuple[float, ...]], seed: int, end: float) -> int:
    """Every answer holds all that nobody touches, with its distance; the others have one of the pool's distances; sorted, none twice."""
    dice = random.Random(seed)
    collection = Collection(path)
    collection.shape()
    count = 0
    while time.monotonic() < end:
        query = drawn(dice, 8)
        wanted = reference.unpack(query)
        possible = {reference.distance(reference.L2, wanted, reference.unpack(vector)) for vector in pool}
        hits = collection.search(query, K_MAX)
        found = {inode: distance for distance, inode in hits}
        if hits != sorted(hits) or len(found) != len(hits):
            raise Failed(f"hits are not in order, or one comes twice: {hits[:5]}…")
        for inode, vector in stable.items():
            if found.pop(inode, None) != reference.distance(reference.L2, wanted, vector):
                raise Failed(f"inode {inode}, which nobody touches, is missing or has another distance")
        strange = [inode for inode, distance in found.items() if distance not in possible]
        if strange:
            raise Failed(f"inode {strange[0]} has a distance that belongs to no vector that it ever had")
        count += 1
    return count
