# SPDX-License-Identifier: Apache-2.0
"""Vector collections, exercised inside a guest: `python3 vectors_in_guest.py STEP MOUNT` prints what happened as JSON.

It runs with the guest's bare Python (no numpy), so it computes nothing: it makes vectors of a fixed seed, and tells which
inodes and which bits of distances came back. The host compares. Works on any mount of a volume, the module's or the daemon's.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

DIMENSIONS = (1, 3, 16, 128, 2048)
METRICS = (1, 2, 3)
BATCH, SEARCH, COLLECTION, INFO = 16320, 16320, 64, 112
CREATE, GET_COLLECTION = 0x404056E1, 0x804056E2
SET, ADD, GET, REMOVE, FIND, GET_INFO = 0xFFC056E3, 0xFFC056E4, 0xFFC056E5, 0xFFC056E6, 0xFFC056E7, 0x807056E0
EXCL, AFTER = 1, 1
RENAME_EXCHANGE = 2


def count_of(dimension: int) -> int:
    """Vectors of a collection in this test: more than one block of the slot map where that is cheap."""
    return {1: 600, 3: 300, 16: 280, 128: 270, 2048: 20}[dimension]


def vectors(dimension: int, metric: int) -> list[bytes]:
    """The vectors, as little-endian floats: random ones, some equal ones, zeros, tiny, huge and mixed ones."""
    rand = random.Random(dimension * 10 + metric)
    made = [struct.pack(f"<{dimension}f", *(rand.uniform(-1, 1) for _ in range(dimension))) for _ in range(count_of(dimension))]
    made[3] = made[7] = made[5]
    made[4] = bytes(4 * dimension)
    made[6] = struct.pack(f"<{dimension}f", *(rand.uniform(-1, 1) * 1e-40 for _ in range(dimension)))
    made[8] = struct.pack(f"<{dimension}f", *(rand.choice((-3e38, 3e38)) for _ in range(dimension)))
    made[9] = struct.pack(f"<{dimension}f", *(rand.uniform(-1, 1) * 10.0 ** rand.randrange(-30, 30) for _ in range(dimension)))
    return made


def queries(dimension: int, metric: int) -> list[bytes]:
    """A random query, one that is a vector, zero, and a huge one."""
    rand = random.Random(dimension * 10 + metric + 5)
    made = vectors(dimension, metric)
    wild = struct.pack(f"<{dimension}f", *(rand.choice((-2e38, 1.0, 3e38)) for _ in range(dimension)))
    return [struct.pack(f"<{dimension}f", *(rand.uniform(-1, 1) for _ in range(dimension))), made[5], bytes(4 * dimension), wild]


class Collection:
    """The ioctls of one directory."""

    def __init__(self, path: str, dimension: int = 0) -> None:
        self.path, self.dimension = path, dimension
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def close(self) -> None:
        os.close(self.fd)

    def create(self, dimension: int, metric: int, element: int = 1, flags: int = 0, spare: int = 0) -> None:
        self.dimension = dimension
        fcntl.ioctl(self.fd, CREATE, struct.pack("<4I6Q", dimension, metric, element, flags, 0, 0, 0, 0, spare, 0))

    def facts(self) -> tuple[int, ...]:
        """dimension, metric, element, flags, count, slots, stride, dir_ino"""
        data = bytearray(COLLECTION)
        fcntl.ioctl(self.fd, GET_COLLECTION, data)
        return struct.unpack("<4I6Q", data)[:8]

    def batch(
        self, what: int, keys: list[int], values: list[bytes], dimension: int = -1, flags: int = 0, mode: int = 0, spare: int = 0
    ) -> tuple[int, int, bytearray]:
        """done, error, and the data after the call."""
        dimension = (0 if what == REMOVE else self.dimension) if dimension < 0 else dimension
        head = struct.pack("<6I5Q", dimension, len(keys), 0, 0, flags, mode, spare, 0, 0, 0, 0)
        data = bytearray(head + struct.pack(f"<{len(keys)}Q", *keys) + b"".join(values))
        data += bytes(BATCH - len(data))
        fcntl.ioctl(self.fd, what, data)
        done, error = struct.unpack_from("<Ii", data, 8)
        return done, error, data[64:]

    def per_batch(self) -> int:
        return 16256 // (8 + 4 * self.dimension)

    def add(self, ids: list[int], values: list[bytes], flags: int = 0, mode: int = 0o640) -> list[int]:
        """Add all, in as many calls as it takes; the inode numbers."""
        inodes: list[int] = []
        size = self.per_batch()
        for at in range(0, len(ids), size):
            part = ids[at : at + size]
            done, error, data = self.batch(ADD, part, values[at : at + size], flags=flags, mode=mode)
            assert (done, error) == (len(part), 0), (done, error)
            inodes += struct.unpack_from(f"<{len(part)}Q", data)
        return inodes

    def get(self, inodes: list[int]) -> list[bytes]:
        values: list[bytes] = []
        size, width = self.per_batch(), 4 * self.dimension
        for at in range(0, len(inodes), size):
            part = inodes[at : at + size]
            done, error, data = self.batch(GET, part, [])
            assert (done, error) == (len(part), 0), (done, error)
            values += [bytes(data[8 * len(part) + width * i :][:width]) for i in range(len(part))]
        return values

    def search(
        self, query: bytes, k: int, after: tuple[int, int] | None = None, flags: int = 0, dimension: int = 0, spare: int = 0
    ) -> tuple[int, list[tuple[int, int]]]:
        """scanned, and (inode, bits of the distance) of each hit."""
        ino, bits = after or (0, 0)
        data = bytearray(
            struct.pack("<4I6Q", dimension or self.dimension, k, flags or (AFTER if after else 0), 0, ino, bits, 0, spare, 0, 0)
        )
        data += query + bytes(SEARCH - len(data) - len(query))
        fcntl.ioctl(self.fd, FIND, data)
        found, scanned = struct.unpack_from("<I", data, 12)[0], struct.unpack_from("<Q", data, 32)[0]
        return scanned, [struct.unpack_from("<2Q", data, 64 + 16 * i) for i in range(found)]


def fpu(on: bool) -> bool:
    """Choose how the module compares; False where there is no choice."""
    switch = Path("/sys/module/vexfs/parameters/fpu")
    if switch.exists():
        switch.write_text("1" if on else "0")
    return switch.exists()


def search(mount: str) -> object:
    """Every metric and dimension: the ids' inodes and the hits of each query, by both ways of comparing."""
    told = []
    for dimension in DIMENSIONS:
        for metric in METRICS:
            path = f"{mount}/c{dimension}-{metric}"
            os.mkdir(path)
            coll = Collection(path)
            coll.create(dimension, metric)
            made = vectors(dimension, metric)
            inodes = coll.add(list(range(len(made))), made)
            hits = [coll.search(query, min(len(made), 1016)) for query in queries(dimension, metric)]
            if fpu(False):
                slow = [coll.search(query, min(len(made), 1016)) for query in queries(dimension, metric)]
                fpu(True)
            else:
                slow = hits
            few = coll.search(queries(dimension, metric)[0], 5)
            rest = coll.search(queries(dimension, metric)[0], 7, after=few[1][-1])
            same = coll.get(inodes) == made
            told.append(
                {
                    "dimension": dimension,
                    "metric": metric,
                    "inodes": inodes,
                    "hits": hits,
                    "slow": slow,
                    "few": few[1],
                    "rest": rest[1],
                    "same": same,
                    "facts": coll.facts(),
                }
            )
            os.fsync(coll.fd)
            coll.close()
    return told


def again(mount: str) -> object:
    """After a remount, a crash, or on the other side: the same vectors and hits, and what cannot be told apart from before."""
    told = []
    for dimension in DIMENSIONS:
        for metric in METRICS:
            coll = Collection(f"{mount}/c{dimension}-{metric}", dimension)
            made = vectors(dimension, metric)
            inodes = [os.stat(f"{mount}/c{dimension}-{metric}/{i}").st_ino for i in range(len(made))]
            hits = [coll.search(query, min(len(made), 1016)) for query in queries(dimension, metric)]
            told.append({"inodes": inodes, "hits": hits, "same": coll.get(inodes) == made, "facts": coll.facts()})
            coll.close()
    return told


def code(act: Callable[[], object]) -> str:
    """The name of the error that `act` fails with, or "" if it does not."""
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def exchange(a: str, b: str) -> None:
    """renameat2 with RENAME_EXCHANGE."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, a.encode(), -100, b.encode(), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), a)


def one(coll: Collection, what: int, key: int, value: float = 1.0) -> None:
    coll.batch(what, [key], [] if what in (GET, REMOVE) else [struct.pack("<3f", value, 0, 0)], mode=0o600 if what == ADD else 0)


def life(mount: str) -> object:
    """Vectors set, replaced, removed and deleted with their files; links, renames, and the directory's end."""
    told: dict[str, object] = {}
    free = os.statvfs(mount).f_bfree
    path, plain = f"{mount}/life", f"{mount}/plain"
    os.mkdir(path)
    os.mkdir(plain)
    coll = Collection(path)
    coll.create(3, 1)
    told["not there"] = os.path.exists(f"{path}/1")  # leaves a negative entry
    inodes = coll.add([0, 1, 2, 3, 4], [struct.pack("<3f", i, 0, 0) for i in range(5)])
    told["there"] = os.path.exists(f"{path}/1")
    told["mode"] = oct(os.stat(f"{path}/1").st_mode)
    told["order"] = [inodes.index(ino) for ino, _ in coll.search(struct.pack("<3f", 0, 0, 0), 10)[1]]
    told["added again"] = coll.add([3], [struct.pack("<3f", -0.5, 0, 0)]) == [inodes[3]]
    told["replaced"] = [inodes.index(ino) for ino, _ in coll.search(struct.pack("<3f", 0, 0, 0), 10)[1]]
    told["excl"] = code(lambda: coll.add([3], [bytes(12)], flags=EXCL))
    one(coll, REMOVE, inodes[1])
    told["removed"] = [inodes.index(ino) for ino, _ in coll.search(struct.pack("<3f", 0, 0, 0), 10)[1]]
    told["get removed"] = code(lambda: one(coll, GET, inodes[1]))
    told["remove removed"] = code(lambda: one(coll, REMOVE, inodes[1]))
    one(coll, SET, inodes[1], 9)
    told["set"] = [inodes.index(ino) for ino, _ in coll.search(struct.pack("<3f", 0, 0, 0), 10)[1]]
    os.link(f"{path}/2", f"{path}/two")
    os.unlink(f"{path}/2")
    told["still linked"] = len(coll.search(bytes(12), 10)[1])
    held = os.open(f"{path}/two", os.O_RDWR)
    os.unlink(f"{path}/two")
    told["deleted while open"] = [inodes.index(ino) for ino, _ in coll.search(bytes(12), 10)[1]]
    told["set deleted"] = code(lambda: one(coll, SET, inodes[2]))
    os.close(held)
    partly = coll.batch(SET, [inodes[0], 10**9, inodes[4]], [bytes(12)] * 3)
    told["partly"] = [partly[0], errno.errorcode[partly[1]]]
    told["link out"] = code(lambda: os.link(f"{path}/0", f"{plain}/0"))
    told["rename out"] = code(lambda: os.rename(f"{path}/0", f"{plain}/0"))
    Path(f"{plain}/x").write_text("x")
    told["exchange"] = code(lambda: exchange(f"{path}/0", f"{plain}/x"))
    os.rename(f"{plain}/x", f"{path}/x")
    one(coll, SET, os.stat(f"{path}/x").st_ino, 7)
    one(coll, REMOVE, os.stat(f"{path}/x").st_ino)
    os.rename(f"{path}/x", f"{plain}/x")
    told["set outside"] = code(lambda: one(coll, SET, os.stat(f"{plain}/x").st_ino))
    os.rename(f"{path}/4", f"{path}/3")  # replaces a member
    told["renamed over"] = [inodes.index(ino) for ino, _ in coll.search(bytes(12), 10)[1]]
    told["count"] = coll.facts()[4]
    told["rmdir full"] = code(lambda: os.rmdir(path))
    told["anonymous"] = anonymous(coll)
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    told["count at end"] = coll.facts()[4]
    os.rmdir(path)
    told["add to nothing"] = code(lambda: coll.add([1], [bytes(12)]))
    coll.close()
    os.unlink(f"{plain}/x")
    os.rmdir(plain)
    os.sync()
    told["leaked blocks"] = free - os.statvfs(mount).f_bfree
    return told


def anonymous(coll: Collection) -> list[str]:
    """A file made with O_TMPFILE becomes a member with its first name."""
    try:
        fd = os.open(coll.path, os.O_TMPFILE | os.O_RDWR)
    except OSError:
        return ["EOPNOTSUPP"]
    ino = os.fstat(fd).st_ino
    before = code(lambda: one(coll, SET, ino))
    os.link(f"/proc/self/fd/{fd}", f"{coll.path}/anon", src_dir_fd=coll.fd, follow_symlinks=True)
    os.close(fd)
    return [before, code(lambda: one(coll, SET, ino))]


def errors(mount: str) -> object:
    """The table of errors, and permission."""
    nan = struct.pack("<3f", 0, float("nan"), 0)
    inf = struct.pack("<3f", float("inf"), 0, 0)
    path, plain = f"{mount}/errors", f"{mount}/bare"
    os.mkdir(path)
    os.mkdir(plain)
    bare, coll = Collection(plain, 3), Collection(path)
    told = {
        "GET of a plain one": code(bare.facts),
        "SEARCH of a plain one": code(lambda: bare.search(bytes(12), 1)),
        "ADD to a plain one": code(lambda: bare.add([1], [bytes(12)])),
        "unknown": code(lambda: fcntl.ioctl(bare.fd, 0x56F0)),
        "INFO": code(lambda: fcntl.ioctl(bare.fd, GET_INFO, bytearray(INFO))),
        "dimension 0": code(lambda: coll.create(0, 1)),
        "dimension 2049": code(lambda: coll.create(2049, 1)),
        "metric 0": code(lambda: coll.create(3, 0)),
        "metric 4": code(lambda: coll.create(3, 4)),
        "element 2": code(lambda: coll.create(3, 1, element=2)),
        "flags": code(lambda: coll.create(3, 1, flags=1)),
        "reserved": code(lambda: coll.create(3, 1, spare=1)),
    }
    Path(f"{plain}/f").write_text("")
    told["not empty"] = code(lambda: bare.create(3, 1))
    coll.create(3, 1)
    told["twice"] = code(lambda: coll.create(3, 1))
    (ino,) = coll.add([1], [bytes(12)])
    os.mkdir(f"{path}/2")
    os.symlink("x", f"{path}/3")
    told |= {
        "NaN": code(lambda: coll.add([5], [nan])),
        "infinite": code(lambda: coll.batch(SET, [ino], [inf])),
        "nothing was made": str(os.path.exists(f"{path}/5")),
        "wrong dimension": code(lambda: coll.batch(SET, [ino], [bytes(16)], dimension=4)),
        "no entries": code(lambda: coll.batch(SET, [], [])),
        "too many": code(lambda: many(coll)),
        "batch flags": code(lambda: coll.batch(SET, [ino], [bytes(12)], flags=1)),
        "batch mode": code(lambda: coll.batch(SET, [ino], [bytes(12)], mode=1)),
        "batch reserved": code(lambda: coll.batch(SET, [ino], [bytes(12)], spare=1)),
        "no member": code(lambda: coll.batch(SET, [os.stat(f"{plain}/f").st_ino], [bytes(12)])),
        "no inode": code(lambda: coll.batch(GET, [2**40], [])),
        "inode 0": code(lambda: coll.batch(GET, [0], [])),
        "the directory itself": code(lambda: coll.batch(SET, [os.stat(path).st_ino], [bytes(12)])),
        "a free inode": code(lambda: coll.batch(SET, [ino + 3], [bytes(12)])),
        "add over a directory": code(lambda: coll.add([2], [bytes(12)])),
        "add over a symlink": code(lambda: coll.add([3], [bytes(12)])),
        "k 0": code(lambda: coll.search(bytes(12), 0)),
        "k 1017": code(lambda: coll.search(bytes(12), 1017)),
        "query NaN": code(lambda: coll.search(nan, 1)),
        "search flags": code(lambda: coll.search(bytes(12), 1, flags=2)),
        "search reserved": code(lambda: coll.search(bytes(12), 1, spare=1)),
        "search dimension": code(lambda: coll.search(bytes(16), 1, dimension=4)),
        "fault": code(lambda: fault(coll)),
    }
    Path(f"{path}/file").write_text("")
    fd = os.open(f"{path}/file", os.O_RDWR)
    told["on a file"] = code(lambda: fcntl.ioctl(fd, GET_COLLECTION, bytearray(COLLECTION)))
    os.close(fd)
    told |= stranger(path, plain, ino)
    coll.close()
    bare.close()
    return told


def many(coll: Collection) -> None:
    """One entry more than fits."""
    head = struct.pack("<6I5Q", 3, 16256 // 20 + 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    fcntl.ioctl(coll.fd, SET, bytearray(head + bytes(BATCH - len(head))))


def fault(coll: Collection) -> None:
    """An address that is not there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(coll.fd, ctypes.c_ulong(FIND), ctypes.c_void_p(4096)):
        raise OSError(ctypes.get_errno(), "fault")


def stranger(path: str, plain: str, ino: int) -> dict[str, str]:
    """What somebody else may: nothing where the mode is 0700, look where it is 0744 (opened before, as a descriptor may be passed on)."""
    told = {}
    coll, bare = Collection(path, 3), Collection(plain, 3)
    for mode in (0o700, 0o744, 0o777):
        os.chmod(path, mode)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.setgid(65534)
            os.setuid(65534)
            found = [
                code(coll.facts),
                code(lambda: coll.search(bytes(12), 1)),
                code(lambda: coll.batch(GET, [ino], [])),
                code(lambda: coll.batch(SET, [ino], [bytes(12)])),
                code(lambda: coll.add([7], [bytes(12)])),
                code(lambda: coll.batch(REMOVE, [ino], [])),
                code(lambda: bare.create(3, 1)),
                code(lambda: fcntl.ioctl(coll.fd, GET_INFO, bytearray(INFO))),
            ]
            os.write(write, json.dumps(found).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            told[f"stranger {mode:o}"] = pipe.read()
        os.waitpid(child, 0)
    told["owner of what was added"] = str(os.stat(f"{path}/7").st_uid)
    coll.close()
    bare.close()
    return told


def denied(mount: str) -> object:
    """On a read-only mount: reading goes on, changing is EROFS."""
    coll = Collection(f"{mount}/c3-1", 3)
    ino = os.stat(f"{mount}/c3-1/1").st_ino
    told = {
        "search": code(lambda: coll.search(bytes(12), 1)),
        "get": code(lambda: coll.batch(GET, [ino], [])),
        "set": code(lambda: coll.batch(SET, [ino], [bytes(12)])),
        "add": code(lambda: coll.add([99999], [bytes(12)])),
        "remove": code(lambda: coll.batch(REMOVE, [ino], [])),
    }
    coll.close()
    return told


def churn(mount: str) -> object:
    """Replaces and removes many times over: slots are used again, so the store stays small."""
    coll = Collection(f"{mount}/c128-1", 128)
    made = vectors(128, 1)
    inodes = [os.stat(f"{mount}/c128-1/{i}").st_ino for i in range(len(made))]
    size = coll.per_batch()
    for turn in range(6):
        moved = made[turn + 1 :] + made[: turn + 1]
        for at in range(0, len(inodes), size):
            part = inodes[at : at + size]
            done, error, _ = coll.batch(SET, part, moved[at : at + size])
            assert (done, error) == (len(part), 0)
        os.fsync(coll.fd)
        assert coll.get(inodes) == moved
    for at in range(0, len(inodes), size):
        part = inodes[at : at + size]
        done, error, _ = coll.batch(SET, part, made[at : at + size])
        assert (done, error) == (len(part), 0)
    os.fsync(coll.fd)
    facts = coll.facts()
    coll.close()
    return {"count": facts[4], "slots": facts[5]}


def off(mount: str) -> object:
    """Where vectors are not built in."""
    coll = Collection(mount, 3)
    info = bytearray(INFO)
    fcntl.ioctl(coll.fd, GET_INFO, info)
    told = {
        "features": struct.unpack_from("<Q", info, 8)[0],
        "codes": [
            code(coll.facts),
            code(lambda: coll.create(3, 1)),
            code(lambda: coll.search(bytes(12), 1)),
            *(code(lambda what=what: one(coll, what, 1)) for what in (SET, ADD, GET, REMOVE)),  # type: ignore[misc]
        ],
    }
    coll.close()
    return told


if __name__ == "__main__":
    steps = {"search": search, "again": again, "life": life, "errors": errors, "denied": denied, "churn": churn, "off": off}
    print(json.dumps(steps[sys.argv[1]](sys.argv[2])))
