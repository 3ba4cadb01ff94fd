# SPDX-License-Identifier: Apache-2.0
"""Memory snapshots: what is kept, what two guests of one do not share, and what becomes of one that is damaged."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from ci import store
from ci.errors import InfrastructureError
from ci.vm import snapshot
from ci.vm.disks import Disk
from ci.vm.guest import guest
from ci.vm.machine import Machine
from tests.vm_guest import SPEC, TCG, boot

pytestmark = pytest.mark.integration
LOOK = """
hostname; cat /etc/hostname /etc/machine-id; cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub
head -c 16 /dev/urandom | sha256sum; python3 -c 'import random; print(random.random())'; cat /proc/sys/kernel/random/uuid
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for snapshots; everything else is the real one."""
    real, own = store.cache_dir(), tmp_path / "cache"
    own.mkdir()
    for name in ("kernels", "images", "boot", "libvirt", "accelerator"):
        (real / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to(real / name)
    monkeypatch.setenv("VEXCI_CACHE", str(own))
    return own


def warm(project: Path, name: str, words: list[str]) -> AbstractContextManager[Machine]:
    run = store.RunFolder(project)
    return guest(SPEC, boot(), accelerator=TCG, run=run, root=project, name=name, progress=words.append, warm=True)


def test_two_guests_of_one_snapshot_do_not_share_what_must_differ_and_a_damaged_one_is_made_again(cache: Path, tmp_path: Path) -> None:
    said: list[str] = []
    begin = time.monotonic()
    with warm(tmp_path, "one", said) as one:
        made = time.monotonic() - begin
        begin = time.monotonic()
        with warm(tmp_path, "two", said) as two:
            two.run(["true"], deadline=20)
            restored = time.monotonic() - begin
            assert one.restored and two.restored and restored < made / 3, (made, restored)
            looks = [machine.run(["sh", "-c", LOOK], deadline=60, check=True).stdout.splitlines() for machine in (one, two)]
            assert [look[:2] for look in looks] == [["one", "one"], ["two", "two"]]
            assert len(looks[0]) == 7 and [a for a, b in zip(*looks, strict=True) if a == b] == []
            for machine in (one, two):
                now = float(machine.run(["date", "+%s.%N"], deadline=20).stdout)
                assert abs(time.time() - now) < 2, "the clock is today's, not the snapshot's"
                connection = machine.second_connection()
                assert connection is not None, "SSH, too, shows the guest's own host key and takes the project's"
                connection.close()
            one.run(["sh", "-c", "echo only here > /root/mine; sync"], deadline=20, check=True)
            assert two.run(["cat", "/root/mine"], deadline=20).returncode == 1
    (folder,) = [path for path in (cache / "snapshots").iterdir() if not path.name.startswith(".")]
    assert (folder / "facts.json").is_file() and not (folder / "keys").exists(), "no key of anybody is kept"

    with open(folder / "memory", "r+b") as file:  # one byte in the kernel's own memory
        file.seek(16 << 20)
        byte = file.read(1)
        file.seek(16 << 20)
        file.write(bytes([byte[0] ^ 1]))
    said.clear()
    with warm(tmp_path, "three", said) as three:
        assert three.restored and any("damaged and is made again: memory is not what was saved" in words for words in said), said
    # A state that is what was saved, and that QEMU refuses all the same.
    (folder / "state").write_bytes(b"nonsense")
    facts = json.loads((folder / "facts.json").read_text())
    facts["files"]["state"] = snapshot.digest(folder / "state")
    (folder / "facts.json").write_text(json.dumps(facts))
    said.clear()
    with warm(tmp_path, "four", said) as four:
        assert four.restored and any("does not come to life and is thrown away" in words for words in said), said
    left = sorted(path.name for path in (cache / "snapshots").iterdir())
    assert left == [folder.name], "nothing half-made or damaged is left"


def test_a_change_of_anything_gives_another_key(tmp_path: Path) -> None:
    files = boot()
    disk = tmp_path / "disk"
    disk.write_bytes(b"")
    keys = [
        snapshot.key(SPEC, files, TCG),
        snapshot.key(replace(SPEC, memory=600), files, TCG),
        snapshot.key(replace(SPEC, cpus=1), files, TCG),
        snapshot.key(SPEC, files, replace(TCG, name="kvm")),
        snapshot.key(SPEC, replace(files, command_line="quiet"), TCG),
        snapshot.key(SPEC, replace(files, kernel=disk), TCG),
        snapshot.key(SPEC, replace(files, initrd=disk), TCG),
        snapshot.key(SPEC, replace(files, modules=disk), TCG),
        snapshot.key(SPEC, replace(files, disk=disk), TCG),
    ]
    disk.write_bytes(b"x")
    keys.append(snapshot.key(SPEC, replace(files, disk=disk), TCG))
    assert len(set(keys)) == len(keys)
    assert snapshot.key(SPEC, files, replace(TCG, reason="another")) == keys[0]


@pytest.mark.parametrize("restored", [True, False])
def test_a_guest_s_disk_is_a_file_of_the_host_s_also_after_a_restore_and_after_its_end(restored: bool, tmp_path: Path) -> None:
    volumes = [Disk(tmp_path / "one", "none"), Disk(tmp_path / "two", "unsafe")]
    for number, volume in enumerate(volumes, 3):
        with open(volume.path, "wb") as file:
            file.truncate(number << 20)
    run = store.RunFolder(tmp_path)
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print, warm=restored, given=volumes) as machine:
        assert machine.restored is restored
        for slot, size in ((0, 3 << 20), (1, 4 << 20)):
            device = machine.disk(slot)
            script = f"blockdev --getsize64 {device}; echo from the guest {slot} | dd of={device} bs=512 seek=9 conv=sync,fsync status=none"
            assert machine.run(["sh", "-c", script], deadline=30, check=True).stdout == f"{size}\n"
            with open(volumes[slot].path, "rb") as file:
                file.seek(9 * 512)
                assert file.read(16) == b"from the guest %d" % slot, "the host sees at once what the guest has flushed"
        with (
            pytest.raises(InfrastructureError, match=r"Failed to get .*lock"),
            guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="h", progress=print, given=volumes),
        ):
            pass
    assert volumes[0].path.stat().st_size == 3 << 20, "the caller's file stays"
