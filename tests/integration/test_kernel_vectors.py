# SPDX-License-Identifier: Apache-2.0
"""Vector collections through the module: the documented distances to the bit, and what becomes of vectors."""

from __future__ import annotations

import json
import math
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ci.vm.machine import Machine
from tests import vectors_in_guest as guest_side
from tests.integration.test_both_ways import DAEMON, FSCK, MKFS, must
from tests.integration.test_smoke import MANIFEST, ROOT, built
from tests.smokeguest import SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

VOLUME, COPY, MOUNT, PROGRAM = "/var/tmp/vectors", "/var/tmp/copied", "/mnt/vectors", "/opt/vexci/vectors_in_guest.py"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest with the module loaded and a fresh volume mounted."""
    with SmokeGuest(tmp_path_factory.mktemp("guest")) as shared:
        for name in ("vexfs-kernel", "vexfs-fuse", "vexfs-mkfs"):
            shared.deploy(*built(MANIFEST, name, tmp_path_factory.mktemp("build")))
        found = shared.machine()
        command = ["cargo", "build", "--release", "--bin", "fsck_vexfs", "--locked"]
        subprocess.run(command, cwd=ROOT / "fuse", check=True, capture_output=True, timeout=600)
        found.put(ROOT / "fuse/target/x86_64-unknown-linux-gnu/release/fsck_vexfs", FSCK)
        found.put(ROOT / "tests/vectors_in_guest.py", PROGRAM)
        script(found, f"mkdir -p {MOUNT}; {MKFS} {VOLUME} 192M; mount -t vexfs -o loop {VOLUME} {MOUNT}")
        yield found


def script(machine: Machine, text: str) -> str:
    return must(machine, "bash", "-euo", "pipefail", "-c", text)


def step(machine: Machine, name: str, mount: str = MOUNT) -> Any:
    """What a step of the program in the guest told."""
    return json.loads(must(machine, "python3", PROGRAM, name, mount))


@pytest.fixture(scope="module")
def searched(machine: Machine) -> Any:
    """The collections of every dimension and metric, and what their first searches found."""
    return step(machine, "search")


def lanes(terms: list[float]) -> float:
    """The sum of docs/format.md, 12.4: binary64, eight lanes, in this order."""
    sums = [0.0] * 8
    for i, term in enumerate(terms):
        sums[i % 8] += term
    for half in (4, 2, 1):
        for j in range(half):
            sums[j] += sums[j + half]
    return sums[0]


def single(value: float) -> float:
    """Rounded to binary32; too large a one is infinite. (The difference of two binary32 survives the detour over binary64.)"""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def documented(metric: int, query: list[float], vector: list[float]) -> float:
    """The distance, step by step as the format has it."""
    if metric == 1:
        return lanes([d * d for d in (single(q - x) for q, x in zip(query, vector, strict=True))])
    dot = lanes([q * x for q, x in zip(query, vector, strict=True)])
    if metric == 2:
        return 0.0 - dot
    qq, xx = lanes([q * q for q in query]), lanes([x * x for x in vector])
    return 1 - dot / (math.sqrt(qq) * math.sqrt(xx)) if qq and xx else 1.0


def exact(metric: int, query: list[float], vector: list[float]) -> tuple[float, float]:
    """The distance by exact sums, and the scale of its terms."""
    products = [q * x for q, x in zip(query, vector, strict=True)]
    if metric == 1:
        return (far := math.fsum((q - x) ** 2 for q, x in zip(query, vector, strict=True))), far
    if metric == 2:
        return -math.fsum(products), math.fsum(map(abs, products))
    norms = math.sqrt(math.fsum(q * q for q in query)) * math.sqrt(math.fsum(x * x for x in vector))
    return (1 - math.fsum(products) / norms if norms else 1.0), 1.0


def floats(data: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def test_every_distance_has_the_documented_bits_and_hits_are_sorted_with_ties_by_inode(searched: Any) -> None:
    assert [(row["dimension"], row["metric"]) for row in searched] == [(d, m) for d in guest_side.DIMENSIONS for m in guest_side.METRICS]
    for row in searched:
        metric, made = row["metric"], [floats(v) for v in guest_side.vectors(row["dimension"], row["metric"])]
        for query, (scanned, hits) in zip(guest_side.queries(row["dimension"], metric), row["hits"], strict=True):
            distances = [documented(metric, floats(query), vector) for vector in made]
            want = sorted(zip(distances, row["inodes"], strict=True))
            assert scanned == len(made)
            assert hits == [[ino, struct.unpack("<Q", struct.pack("<d", d))[0]] for d, ino in want], (row["dimension"], metric)
        query = guest_side.queries(row["dimension"], metric)[0]  # of the size of one, so that no difference overflows
        for vector in made:
            if max(map(abs, vector)) < 1e15:
                value, scale = exact(metric, floats(query), vector)
                assert abs(documented(metric, floats(query), vector) - value) <= 1e-5 * max(abs(value), scale)


def test_comparing_with_integers_alone_gives_the_same_bits(searched: Any) -> None:
    assert all(row["slow"] == row["hits"] for row in searched)


def test_few_hits_are_the_first_of_all_and_a_search_goes_on_behind_the_last(searched: Any) -> None:
    for row in searched:
        every = row["hits"][0][1]
        assert row["few"] == every[:5]
        assert row["rest"] == every[5:12]


def test_vectors_come_back_as_they_were_set(searched: Any) -> None:
    for row in searched:
        count = guest_side.count_of(row["dimension"])
        assert row["same"]
        dimension, metric, element, flags, live, slots, stride, directory = row["facts"]
        assert (dimension, metric, element, flags) == (row["dimension"], row["metric"], 1, 0)
        assert live == slots == count and stride == (4 * dimension + 15) // 16 * 16 and directory > 0


def test_what_was_fsynced_is_in_a_copy_taken_while_mounted_and_after_a_remount(machine: Machine, searched: Any) -> None:
    copied = f"{MOUNT}2"
    script(machine, f"cp {VOLUME} {COPY}; mkdir -p {copied}; mount -t vexfs -o loop {COPY} {copied}")
    crashed = step(machine, "again", copied)
    script(machine, f"umount {copied}; {FSCK} -n {COPY}; rm {COPY}")
    # Not `-o loop,ro`, which makes a loop device that can never be written; -d takes effect when it is unmounted.
    writable = f"loop=$(losetup -f --show {VOLUME}); mount -t vexfs -o ro $loop {MOUNT}; losetup -d $loop"
    script(machine, f"umount {MOUNT}; {FSCK} -n {VOLUME}; {writable}")
    remounted = step(machine, "again")
    refused = step(machine, "denied")
    script(machine, f"mount -o remount,rw {MOUNT}")
    for row, *others in zip(searched, crashed, remounted, strict=True):
        for other in others:
            assert other == {key: row[key] for key in other} and other["same"]
    assert refused == {"search": "", "get": "", "set": "EROFS", "add": "EROFS", "remove": "EROFS"}


def test_the_daemon_finds_the_same_in_the_same_collections(machine: Machine, searched: Any) -> None:
    """Distances to the last bit, so within any bound, and equal ones by inode: on the volume that the module wrote."""
    script(machine, f"umount {MOUNT}; {DAEMON} --image {VOLUME} --log /run/vectors.log {MOUNT}; findmnt -t fuse.vexfs {MOUNT}")
    through_daemon = step(machine, "again")
    ended = "for i in $(seq 1 200); do pgrep -x vexfs_fuse >/dev/null || exit 0; sleep 0.1; done; exit 1"
    script(machine, f"umount {MOUNT}; {ended}")
    script(machine, f"{FSCK} -n {VOLUME}; mount -t vexfs -o loop {VOLUME} {MOUNT}")
    assert len(through_daemon) == len(searched)
    for row, found in zip(searched, through_daemon, strict=True):
        assert found["same"] and found == {key: row[key] for key in found}, (row["dimension"], row["metric"])


def test_replacing_vectors_again_and_again_uses_slots_again(machine: Machine, searched: Any) -> None:
    told = step(machine, "churn")
    count = guest_side.count_of(128)
    assert told["count"] == count and count < told["slots"] <= 3 * count
    script(machine, f"umount {MOUNT}; {FSCK} -n {VOLUME}; mount -t vexfs -o loop {VOLUME} {MOUNT}")


def test_a_vector_lives_and_dies_with_its_file(machine: Machine) -> None:
    assert step(machine, "life") == {
        "not there": False,
        "there": True,
        "mode": "0o100640",
        "order": [0, 1, 2, 3, 4],
        "added again": True,
        "replaced": [0, 3, 1, 2, 4],
        "excl": "EEXIST",
        "removed": [0, 3, 2, 4],
        "get removed": "ENODATA",
        "remove removed": "ENODATA",
        "set": [0, 3, 2, 4, 1],
        "still linked": 5,
        "deleted while open": [0, 3, 4, 1],
        "set deleted": "ENOENT",
        "partly": [1, "ENOENT"],
        "link out": "EXDEV",
        "rename out": "EXDEV",
        "exchange": "EXDEV",
        "set outside": "ENOENT",
        "renamed over": [0, 4, 1],
        "count": 3,
        "rmdir full": "ENOTEMPTY",
        "anonymous": ["ENOENT", ""],
        "count at end": 0,
        "add to nothing": "EMEDIUMTYPE",
        "leaked blocks": 0,
    }


def test_errors_are_those_of_the_format(machine: Machine) -> None:
    told = step(machine, "errors")
    want = dict.fromkeys(told, "EINVAL")
    want |= dict.fromkeys(("GET of a plain one", "SEARCH of a plain one", "ADD to a plain one"), "EMEDIUMTYPE")
    want |= dict.fromkeys(("unknown", "on a file"), "ENOTTY")
    want |= dict.fromkeys(("no member", "no inode", "inode 0", "the directory itself", "a free inode"), "ENOENT")
    want |= {"INFO": "", "not empty": "ENOTEMPTY", "twice": "EEXIST", "nothing was made": "False", "fault": "EFAULT"}
    want |= {"add over a directory": "EISDIR", "owner of what was added": "65534"}
    want |= {"stranger 700": json.dumps(["EACCES"] * 6 + ["EPERM", ""]), "stranger 777": json.dumps([""] * 6 + ["EPERM", ""])}
    want |= {"stranger 744": json.dumps([""] * 3 + ["EACCES"] * 3 + ["EPERM", ""])}
    assert told == want


def test_nothing_is_wrong_afterwards_and_nothing_leaks(machine: Machine, searched: Any) -> None:
    script(machine, f"umount {MOUNT}; {FSCK} -n {VOLUME}; rmmod vexfs; modinfo -F features /opt/vexci/vexfs-kernel/vexfs.ko")
    log = must(machine, "dmesg")
    assert "Objects remaining" not in log
    assert [line for line in log.splitlines() if "vexfs (" in line and ": replayed " not in line] == []
