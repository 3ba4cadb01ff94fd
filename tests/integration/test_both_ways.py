# SPDX-License-Identifier: Apache-2.0
"""A volume travels both ways: what one side writes, the other reads, and fsck finds nothing wrong in between."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from ci.vm.machine import Machine
from tests.integration.test_smoke import MANIFEST, ROOT, built
from tests.smokeguest import SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

VOLUME, MOUNT = "/var/tmp/travels", "/mnt/travels"
DAEMON, MKFS, FSCK = "/opt/vexci/vexfs-fuse/vexfs_fuse", "/opt/vexci/vexfs-mkfs/mkfs_vexfs", "/opt/vexci/fsck_vexfs"
# Names, contents, types, modes, owners, link counts, link targets and times of everything below the mount.
STATE = """
cd {mount}
find . -printf '%P %y %m %U:%G %n %s %l %T@\\n' | grep -v '^ d' | sort
find . -type f -print0 | sort -z | xargs -0 sha256sum
python3 -c "import os; print(os.listxattr('big'), os.getxattr('big', 'user.note'))"
"""
FILL = """
cd {mount}
cp -a /usr/lib/python3.11/email /etc .
mkdir -p deep/a/b/c && ln -s ../a deep/link && ln etc/passwd deep/hard && mkfifo deep/pipe && mknod deep/null c 1 3
dd if=/dev/urandom of=big bs=64k count=70 status=none
truncate -s 24M sparse && dd if=/dev/urandom of=sparse bs=4k seek=5000 count=3 conv=notrunc status=none
python3 -c "import os; os.setxattr('big', 'user.note', b'kept')"
for i in $(seq 1 400); do echo $i > deep/a/b/c/file-with-a-rather-long-name-$i; done
sync
"""
CHANGE = """
cd {mount}
rm -r email && mv etc moved && chmod 600 moved/passwd && chown 7:8 big && truncate -s 1M big
for i in $(seq 1 2 400); do rm deep/a/b/c/file-with-a-rather-long-name-$i; done
mkdir new && cp -a /usr/lib/python3.11/json new/
dd if=/dev/urandom of=new/more bs=64k count=50 status=none
sync
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest with the module loaded, and the daemon, mkfs and fsck in place."""
    with SmokeGuest(tmp_path_factory.mktemp("guest")) as shared:
        for name in ("vexfs-kernel", "vexfs-fuse", "vexfs-mkfs"):
            shared.deploy(*built(MANIFEST, name, tmp_path_factory.mktemp("build")))
        command = ["cargo", "build", "--release", "--bin", "fsck_vexfs", "--locked"]
        subprocess.run(command, cwd=ROOT / "fuse", check=True, capture_output=True, timeout=600)
        found = shared.machine()
        found.put(ROOT / "fuse/target/x86_64-unknown-linux-gnu/release/fsck_vexfs", FSCK)
        yield found


def must(machine: Machine, *argv: str, deadline: float = 240) -> str:
    done = machine.run(list(argv), deadline=deadline)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def script(machine: Machine, text: str) -> str:
    return must(machine, "bash", "-euo", "pipefail", "-c", text.format(mount=MOUNT))


def mount(machine: Machine, side: str) -> None:
    if side == "kernel":
        must(machine, "mount", "-t", "vexfs", "-o", "loop", VOLUME, MOUNT)
    else:
        must(machine, DAEMON, "--image", VOLUME, "--log", "/run/travels.log", MOUNT)


def unmount(machine: Machine, side: str) -> None:
    must(machine, "umount", MOUNT)
    if side == "fuse":
        script(machine, "for i in $(seq 1 200); do pgrep -x vexfs_fuse >/dev/null || exit 0; sleep 0.1; done; exit 1")
    told = machine.run([FSCK, "-n", VOLUME], deadline=120)
    assert told.returncode == 0, f"after {side}: {told.stdout}{told.stderr}"


@pytest.mark.parametrize(("first", "second"), [("fuse", "kernel"), ("kernel", "fuse")])
def test_a_volume_that_one_side_fills_and_the_other_changes_is_read_alike_by_both(machine: Machine, first: str, second: str) -> None:
    must(machine, "rm", "-f", VOLUME)
    must(machine, "mkdir", "-p", MOUNT)
    must(machine, MKFS, VOLUME, "192M")
    mount(machine, first)
    script(machine, FILL)
    filled = script(machine, STATE)
    unmount(machine, first)
    mount(machine, second)
    assert script(machine, STATE) == filled
    script(machine, CHANGE)
    changed = script(machine, STATE)
    unmount(machine, second)
    mount(machine, first)
    assert script(machine, STATE) == changed != filled
    unmount(machine, first)
