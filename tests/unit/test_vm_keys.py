# SPDX-License-Identifier: Apache-2.0
"""Keys are made once, are private, and reach a guest in its seed."""

from __future__ import annotations

import stat
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from ci import process
from ci.vm import seed
from ci.vm.keys import guest_keys, project_keys

pytestmark = pytest.mark.unit


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def content(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.iterdir())]


def test_keys_are_made_once(tmp_path: Path) -> None:
    first = content(project_keys(tmp_path))
    assert len(first) == 2
    assert content(project_keys(tmp_path)) == first


def test_two_tools_at_once_get_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: content(project_keys(tmp_path)), range(4)))
    assert all(each == made[0] for each in made)
    assert [path.name for path in (tmp_path / ".vexci").iterdir() if path.name.startswith(".keys-")] == []


def test_a_lost_part_makes_the_whole_set_anew_never_a_mixture(tmp_path: Path) -> None:
    folder = project_keys(tmp_path)
    before = (folder / "client").read_bytes()
    (folder / "client.pub").unlink()
    project_keys(tmp_path)
    assert (folder / "client").read_bytes() != before


def test_two_guests_have_the_project_s_key_in_common_and_not_their_own(tmp_path: Path) -> None:
    one, two = (guest_keys(tmp_path, tmp_path / name) for name in ("one", "two"))
    assert one.client.read_bytes() == two.client.read_bytes()
    assert one.host.read_bytes() != two.host.read_bytes()
    for keys in (one, two):
        assert keys.known_hosts.read_text().split()[2] == keys.host_public.read_text().split()[1]
    assert guest_keys(tmp_path, tmp_path / "one").host.read_bytes() == one.host.read_bytes(), "made once"


def test_private_keys_are_private_and_never_committed(tmp_path: Path) -> None:
    keys = guest_keys(tmp_path, tmp_path / "g")
    assert mode(keys.client) == mode(keys.host) == 0o600
    assert (tmp_path / ".vexci" / ".gitignore").read_text() == "*\n"


def test_openssh_and_paramiko_read_what_was_made(tmp_path: Path) -> None:
    keys = guest_keys(tmp_path, tmp_path / "g")
    public = process.output(["ssh-keygen", "-y", "-f", keys.client]).split()[:2]
    assert public == keys.client_public.read_text().split()[:2]
    assert paramiko.Ed25519Key.from_private_key_file(str(keys.host)).get_base64() == keys.host_public.read_text().split()[1]


def test_the_seed_is_a_disk_and_a_tar_with_strict_modes(tmp_path: Path) -> None:
    path = tmp_path / "seed"
    keys = guest_keys(tmp_path, tmp_path / "g")
    seed.write(path, seed.identity(keys, hostname="g1", machine_id="0" * 32))
    assert path.stat().st_size % (1 << 20) == 0 and mode(path) == 0o600
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive}
        assert {name: oct(member.mode) for name, member in members.items()} == {
            "root/.ssh": "0o700",
            "etc/ssh/ssh_host_ed25519_key": "0o600",
            "etc/ssh/ssh_host_ed25519_key.pub": "0o644",
            "root/.ssh/authorized_keys": "0o600",
            "etc/hostname": "0o644",
            "etc/machine-id": "0o444",
        }
        assert all((member.uid, member.gid) == (0, 0) for member in members.values())
        key = archive.extractfile("etc/ssh/ssh_host_ed25519_key")
        assert key is not None and key.read() == keys.host.read_bytes()
