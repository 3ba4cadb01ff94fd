# SPDX-License-Identifier: Apache-2.0
"""The largest volume, a file of 1 TiB and a directory of 100,000 names through the module, in soak runs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ci import splat
from ci.vm.machine import Machine
from tests.integration.test_both_ways import MKFS, must
from tests.integration.test_smoke import MANIFEST, ROOT, built
from tests.smokeguest import KERNEL, SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600)]

# On a tmpfs, whose files may be that large (ext4's may not); only what is written takes memory. That of /run is too small.
ROOM, VOLUME, MOUNT, PROGRAM = "/mnt/room", "/mnt/room/huge", "/mnt/huge", "/opt/vexci/sizes_in_guest.py"
NAMES = 100_000


@pytest.fixture(scope="module", params=(KERNEL, "debian-6.12"))
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest with a volume of 16 TiB mounted by the module."""
    with SmokeGuest(tmp_path_factory.mktemp("guest"), request.param) as shared:
        shared.deploy(*built(MANIFEST, "vexfs-kernel", tmp_path_factory.mktemp("build"), request.param))
        found = shared.machine()
        found.put(built(MANIFEST, "vexfs-mkfs", tmp_path_factory.mktemp("mkfs"))[1].path, MKFS)
        found.put(ROOT / "tests/sizes_in_guest.py", PROGRAM)
        must(found, "bash", "-euc", f"mkdir -p {MOUNT} {ROOM}; mount -t tmpfs -o size=75% room {ROOM}")
        must(found, "bash", "-euc", f"{MKFS} {VOLUME} 16T; mount -t vexfs -o loop {VOLUME} {MOUNT}")
        yield found


def step(machine: Machine, *words: str) -> object:
    return json.loads(must(machine, "python3", PROGRAM, *words, MOUNT, deadline=1200))


def remount(machine: Machine) -> None:
    must(machine, "bash", "-euc", f"umount {MOUNT}; mount -t vexfs -o loop {VOLUME} {MOUNT}")


def test_a_volume_of_sixteen_tebibytes_is_mounted_and_has_that_room(machine: Machine) -> None:
    """A 32nd of it are inodes: one of 512 bytes for each 16 KiB."""
    told = json.loads(must(machine, "python3", PROGRAM, "room", MOUNT))
    assert 15.4 < told["TiB"] <= 16 and told["free"] > 0.99


def test_a_file_of_one_tebibyte_keeps_what_is_at_its_ends_and_its_holes(machine: Machine) -> None:
    assert step(machine, "fill") == {"size": 1 << 40, "blocks": 6}
    remount(machine)
    assert step(machine, "look") == {"right": True, "data": [0, 1 << 39, (1 << 40) - 8192], "after the cut": [1 << 39, 2]}


def test_a_hundred_thousand_names_are_listed_found_and_removed(machine: Machine) -> None:
    assert step(machine, "names", str(NAMES)) == {"listed": NAMES}
    remount(machine)
    assert step(machine, "found", str(NAMES)) == {"listed": NAMES, "wrong": 0, "left": 0}
    told = must(machine, "dmesg")
    assert not splat.scan(told) and "corrupt" not in told
