# SPDX-License-Identifier: Apache-2.0
"""Guests through a libvirt daemon: the machine's own, and by way of SSH. Both are started by the test, and nobody else sees them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ci import process
from ci.errors import InfrastructureError
from ci.store import RunFolder
from ci.vm import snapshot
from ci.vm.guest import guest
from tests.vm_guest import SPEC, TCG, boot

TOOL = Path(__file__).parent.parent / "vm_guest.py"
SCRIPT = Path(__file__).parent.parent / "libvirt_system.sh"
SSH = "qemu+ssh://root@127.0.0.1:{port}/system?command={folder}/ssh&no_tty=1"


def sshd(folder: Path) -> Path:
    """OpenSSH's server, which is not installed for that: its packages are unpacked."""
    process.output(["apt-get", "download", "openssh-server", "libwrap0"], cwd=folder, deadline=120)
    for package in folder.glob("*.deb"):
        process.output(["dpkg", "-x", package, folder / "sshd"])
    return folder / "sshd" / "usr" / "sbin" / "sshd"


def through(uri: str, what: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a tool says that starts a guest through this URI, and how it ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    tool = [sys.executable, TOOL, folder / "project", "g", what]
    env = {**os.environ, "VEXCI_TEST_URI": uri.format(port=port, folder=folder)}
    argv = [*unshare, "sh", SCRIPT, folder, sshd(folder), str(port), *tool]
    return subprocess.run(argv, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=420)


@pytest.mark.soak
@pytest.mark.parametrize(("uri", "what"), [("qemu:///system", "restart"), (SSH, "answer")])
def test_a_guest_through_a_daemon_answers_also_after_its_restart_and_leaves_nothing(
    uri: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("a private system daemon needs root")
    release = boot().release
    state = f"/tmp/vexci-uri-{os.getpid()}"
    monkeypatch.setenv("VEXCI_STATE", state)
    (tmp_path / "project").mkdir()
    done = through(uri, what, tmp_path)
    print(done.stdout)
    assert done.returncode == 0 and f"\n{release}\n" in done.stdout, done.stdout
    assert what != "restart" or f"after the restart: {release}\n" in done.stdout
    assert "memory snapshots need the private libvirt driver" in done.stdout, "what cannot work there says so"
    qemu = [one.pid for one in psutil.process_iter(["cmdline"]) if state in " ".join(one.info["cmdline"] or [])]
    assert qemu == [] and list(Path(state, "g").glob("*")) == []
    subprocess.run(["rm", "-rf", state], check=True)


@pytest.mark.integration
def test_a_daemon_that_is_not_there_or_not_here_says_so(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)

    def problem(uri: str) -> InfrastructureError:
        with (
            pytest.raises(InfrastructureError) as error,
            guest(replace(SPEC, uri=uri), boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print),
        ):
            pass
        return error.value

    nowhere = problem(f"qemu+unix:///system?socket={tmp_path}/none")
    assert "Failed to connect socket" in nowhere.message and "uri" in nowhere.hint
    # libvirt's own test driver: a daemon that answers and has no QEMU.
    assert "is not a QEMU driver" in problem("test:///default").message
    assert "memory snapshots" in snapshot.refusal(replace(SPEC, uri="qemu:///system"))
