# SPDX-License-Identifier: Apache-2.0
"""What only a live kernel can show of the module: freezing, remounting, errors=, discard, orphans, and the VFS's finer verbs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ci import splat
from ci.errors import VexciError
from ci.vm.machine import Machine
from tests.integration.test_both_ways import MKFS, must
from tests.integration.test_smoke import MANIFEST, ROOT, built
from tests.smokeguest import KERNELS, SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

VOLUME, MOUNT, PROGRAM, MODULE = "/run/live", "/mnt/live", "/opt/vexci/live_in_guest.py", "/opt/vexci/vexfs-kernel/vexfs.ko"
BROKEN = "/run/broken"


@pytest.fixture(scope="module", params=KERNELS)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest with the module loaded, and a fresh volume mounted with -o discard."""
    with SmokeGuest(tmp_path_factory.mktemp("guest"), request.param) as shared:
        shared.deploy(*built(MANIFEST, "vexfs-kernel", tmp_path_factory.mktemp("build"), request.param))
        found = shared.machine()
        found.put(built(MANIFEST, "vexfs-mkfs", tmp_path_factory.mktemp("mkfs"))[1].path, MKFS)
        found.put(ROOT / "tests/live_in_guest.py", PROGRAM)
        script(found, f"mkdir -p {MOUNT}; {MKFS} {VOLUME} 64M; mount -t vexfs -o loop,discard {VOLUME} {MOUNT}")
        yield found


def script(machine: Machine, text: str) -> str:
    return must(machine, "bash", "-euo", "pipefail", "-c", text)


def step(machine: Machine, *words: str) -> Any:
    """What a step of the program in the guest saw."""
    return json.loads(must(machine, "python3", PROGRAM, *words))


def test_a_frozen_volume_blocks_writers_until_the_thaw_and_readers_never(machine: Machine) -> None:
    told = step(machine, "freeze", MOUNT)
    assert told == {"blocked": True, "read": "old", "twice": "EBUSY", "went on": True, "thaw": "EINVAL", "wrote": "new"}


def test_renames_with_flags_and_files_without_a_name(machine: Machine) -> None:
    told = step(machine, "names", MOUNT)
    want = {"noreplace": "EEXIST", "exchanged": "ba", "whiteout": "EINVAL", "moved": "bFalse"}
    assert told == want | {"anonymous links": 0, "linked": ["anonymous", 1, "0o640"], "excl": "ENOENT"}


def test_attributes_of_three_namespaces_are_kept_and_acls_refused(machine: Machine) -> None:
    told = step(machine, "attributes", MOUNT)
    names = ["security.x", "trusted.x", "user.x"]
    want = {"list": names, "acl": "ENOTSUP", "create": "EEXIST", "replace": "ENODATA", "large": "E2BIG", "removed": "ENODATA"}
    assert told == want | {name: name * 3 for name in names}


def test_mmap_agrees_with_read_and_write_and_holes_are_found(machine: Machine) -> None:
    told = step(machine, "contents", MOUNT)
    want = {
        "read after mmap": "mmap!",
        "mmap after write": "pwrite",
        "data": 5,
        "hole": 6,
        "next data": 9,
        "last hole": 10,
        "no data": "ENXIO",
    }
    assert told == want | {"reserved": [4, True], "punched": 0, "after punch": [9, True]}


def test_direct_io_and_the_page_cache_agree(machine: Machine) -> None:
    told = step(machine, "direct", MOUNT)
    want = {"into a hole": [8192, 3], "size": 1024, "short at the end": 3, "behind the end": 0, "not aligned": ["EINVAL", "EINVAL"]}
    same = ("read through the cache", "sees what is cached", "the cache sees it", "part of a block", "the rest is zero")
    assert told == want | dict.fromkeys(same, True)


def test_statfs_follows_what_is_written_and_removed(machine: Machine) -> None:
    assert step(machine, "counts", MOUNT) == {"taken": 64, "inodes": 1, "given back": 0, "block": 4096, "name": 255}


def test_discard_gives_blocks_back_to_what_lies_below(machine: Machine) -> None:
    assert step(machine, "discard", MOUNT, VOLUME) == {"given back": True}


def test_remounting_read_only_refuses_changes_and_goes_back(machine: Machine) -> None:
    told = step(machine, "remount", MOUNT)
    want = {"busy": True, "ro": 0, "write": "EROFS", "mkdir": "EROFS", "xattr": "EROFS"}
    assert told == want | {"read": "kept", "rw": 0, "after": "changed"}


def test_a_file_open_without_a_name_is_freed_by_the_mount_after_a_crash(machine: Machine) -> None:
    told = step(machine, "orphan", MOUNT, VOLUME)
    assert told["held"] >= 256 and told["leaked"] == [0, 0]
    assert "cleaned 1 orphans" in must(machine, "dmesg")


def test_features_are_those_of_modinfo(machine: Machine) -> None:
    live = script(machine, "cat /sys/fs/vexfs/features")
    assert live.split() == script(machine, f"modinfo -F features {MODULE}").split() == ["journal", "vector"]


@pytest.fixture(scope="module")
def broken(machine: Machine) -> str:
    """An image with a folder whose only leaf is damaged."""
    make = f"umount {MOUNT}; {MKFS} {BROKEN} 16M; mount -t vexfs -o loop {BROKEN} {MOUNT}; echo -n whole > {MOUNT}/whole"
    script(machine, f"{make}; mkdir {MOUNT}/broken; touch {MOUNT}/broken/damaged-name; umount {MOUNT}")
    script(machine, f"python3 {PROGRAM} break {BROKEN} damaged-name")
    return BROKEN


def gone(look: str) -> str:
    """A shell test that a command finds nothing. (`!` before a command does not end a script of `set -e`.)"""
    return f'test -z "$({look} 2>/dev/null)"'


@pytest.mark.parametrize(("policy", "after"), [("continue", ""), ("remount-ro", "EROFS")])
def test_damage_met_while_mounted_is_handled_as_asked(machine: Machine, broken: str, policy: str, after: str) -> None:
    assert step(machine, "errors", MOUNT, broken, policy) == {"before": "", "list": "EUCLEAN", "after": after, "read": "whole"}
    line = [line for line in must(machine, "dmesg").splitlines() if "corrupt directory at block" in line][-1]
    assert "vexfs (loop" in line and "(inode " in line and "checksum got" in line


def test_nothing_is_left_when_the_module_goes(machine: Machine, broken: str) -> None:
    script(machine, f"rmmod vexfs; {gone('ls -d /sys/kernel/slab/vexfs*')}; {gone('ls /sys/fs/vexfs')}; {gone('pgrep ^vexfs')}")
    told = must(machine, "dmesg")
    assert "Objects remaining" not in told and not splat.scan(told)
    script(machine, f"insmod {MODULE}")


def test_errors_panic_panics(machine: Machine, broken: str) -> None:
    """The last one: the guest is gone after it."""
    with pytest.raises(VexciError):
        step(machine, "errors", MOUNT, broken, "panic")
    assert "panic because of errors=panic" in machine.console_text()
