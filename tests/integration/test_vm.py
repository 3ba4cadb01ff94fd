# SPDX-License-Identifier: Apache-2.0
"""A real guest: it boots and answers, and everything that is learnt of it is what the guest itself says."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import psutil
import pytest

from ci import leftovers, process, store
from ci.errors import Hang, InfrastructureError, ProductFailure
from ci.vm import accel, connect, mail, registry
from ci.vm.guest import guest
from ci.vm.keys import guest_keys
from ci.vm.machine import Machine
from tests.vm_guest import SPEC, TCG, boot

pytestmark = pytest.mark.integration


def test_an_accelerator_counts_only_where_a_kernel_was_seen_to_run(tmp_path: Path) -> None:
    kernel = boot().kernel
    works, reason = accel.probe(kernel, "tcg", "max", deadline=180)
    assert works and "a real boot under TCG ran to the kernel's search for its root" in reason
    works, reason = accel.probe(kernel, "tcg", "max", deadline=0.5)
    assert not works and "within 0.5 s" in reason
    empty = tmp_path / "kernel"
    empty.write_bytes(b"\0" * 4096)
    assert not accel.probe(empty, "tcg", "max", deadline=5)[0]
    assert [
        p.pid for p in psutil.process_iter(["cmdline"]) if str(kernel) in (p.info["cmdline"] or []) and "256" in p.info["cmdline"]
    ] == []


def test_the_answer_about_kvm_is_observed_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = boot().kernel
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path))
    said: list[str] = []
    first = accel.accelerator(kernel, say=said.append)
    begin = time.monotonic()
    second = accel.accelerator(kernel, say=said.append)
    assert time.monotonic() - begin < 2 and first.name == second.name
    assert f"accelerator: {second.name} ({second.reason})" == said[-1]
    if first.name == "tcg":
        with pytest.raises(InfrastructureError, match="KVM is required and does not work"):
            accel.accelerator(kernel, require_kvm=True, say=print)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module", params=["booted", "restored"])
def machine(project: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Whatever way it came, it is one guest, and all that follows holds for it."""
    warm = request.param == "restored"
    run = store.RunFolder(project)
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=project, name="one", progress=print, warm=warm) as machine:
        assert machine.restored == warm
        yield machine
    assert registry.qemu_processes(machine.facts.uuid) == [], "QEMU outlived its guest"
    assert not machine.facts.folder.exists()
    assert machine.console.is_file(), "the console stays as evidence"


def test_the_guest_runs_the_kernel_and_has_the_name_that_was_asked_for(machine: Machine) -> None:
    assert machine.run(["uname", "-rn"], deadline=20).stdout.split() == ["one", machine.kernel]


def test_the_console_is_whole_from_the_kernel_s_first_line(machine: Machine) -> None:
    assert f"Linux version {machine.kernel}" in machine.console_text().splitlines()[0]


def test_a_command_gets_its_words_as_they_are_and_gives_back_streams_and_exit_code(machine: Machine) -> None:
    words = ["a b", "$HOME", "'", "*", "ü", ""]
    result = machine.run(["sh", "-c", 'for w; do echo "[$w]"; done; echo to-stderr >&2; exit 3', "sh", *words], deadline=20)
    assert result.stdout.splitlines() == [f"[{word}]" for word in words]
    assert (result.stderr, result.returncode) == ("to-stderr\n", 3)


def test_a_failed_command_that_must_succeed_is_the_product_s_failure(machine: Machine) -> None:
    with pytest.raises(ProductFailure, match=r"exit 1: cat: .*no-such-file"):
        machine.run(["cat", "/no-such-file"], deadline=20, check=True)


def test_lines_arrive_while_the_command_runs(machine: Machine) -> None:
    begin = time.monotonic()
    seen: list[tuple[str, float]] = []
    machine.run(
        ["sh", "-c", "echo one; sleep 2; printf two"], deadline=20, on_line=lambda line: seen.append((line, time.monotonic() - begin))
    )
    assert [line for line, _ in seen] == ["one", "two"]
    assert seen[1][1] - seen[0][1] > 1


def test_much_output_arrives_whole(machine: Machine) -> None:
    result = machine.run(["sh", "-c", "seq 1 50000; seq 1 50000 >&2"], deadline=60)
    expected = "".join(f"{n}\n" for n in range(1, 50001))
    assert result.stdout == expected and result.stderr == expected


def test_files_travel_whole_with_their_mode_and_make_their_folders(machine: Machine, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(3 << 20))
    sent.chmod(0o750)
    machine.put(sent, "/var/tmp/a/b/file")
    assert machine.run(["stat", "-c", "%a %s", "/var/tmp/a/b/file"], deadline=20).stdout.split() == ["750", str(3 << 20)]
    machine.put(sent, "/var/tmp/a/b/file")  # an existing file is replaced
    machine.get("/var/tmp/a/b/file", back)
    assert store.sha256_file(back) == store.sha256_file(sent)
    assert machine.run(["ls", "-A", "/var/tmp/a/b"], deadline=20).stdout == "file\n"


def test_a_file_for_which_the_guest_has_no_room_leaves_nothing_there_nor_on_the_way(machine: Machine, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(mail.LEAST))
    assert mail.serves(machine.facts.folder, mail.LEAST) and not mail.serves(machine.facts.folder, mail.LEAST - 1)
    machine.run(["sh", "-c", "mkdir -p /mnt/small && mount -t tmpfs -o size=1m none /mnt/small"], deadline=30, check=True)
    with pytest.raises(InfrastructureError, match="No space left"):
        machine.put(large, "/mnt/small/file")
    assert machine.run(["sh", "-c", "ls -A /mnt/small; umount /mnt/small"], deadline=30, check=True).stdout == ""
    assert (machine.facts.folder / mail.NAME).stat().st_blocks == 0, "the way is empty for the next file"
    machine.put(large, "/var/tmp/ü $HOME 'large'")
    machine.get("/var/tmp/ü $HOME 'large'", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_a_file_that_the_guest_refuses_is_named_and_nothing_stays(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="No such file"):
        machine.get("/no-such-file", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    assert machine.alive() and machine.run(["true"], deadline=20).ok


def test_the_guest_has_no_route_out_of_itself(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(3)
        port = server.getsockname()[1]
        look = f"ip route add default via 10.0.2.2 2>/dev/null; timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.2.2/{port}'"
        assert machine.run(["sh", "-c", look], deadline=30).returncode != 0
        with pytest.raises(TimeoutError):
            server.accept()


def test_only_loopback_leads_to_the_guest(machine: Machine) -> None:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{machine.port:04X}")]
    assert listening == [f"0100007F:{machine.port:04X}"]


def test_the_real_ssh_client_gets_in_with_the_pinned_key_only(machine: Machine, project: Path, tmp_path: Path) -> None:
    argv = connect.ssh_argv(machine.port, guest_keys(project, machine.facts.keys), ["echo", "a  b"])
    assert process.output(argv) == "a  b\n"
    wrong = guest_keys(project, tmp_path / "other")
    with pytest.raises(InfrastructureError, match="Host key verification failed"):
        process.output(connect.ssh_argv(machine.port, wrong, ["true"]))
    with pytest.raises(paramiko.BadHostKeyException):
        connect.connect(machine.port, wrong, None, 20)


def test_sysrq_answers_on_the_console(machine: Machine) -> None:
    before = len(machine.console_text())
    machine.sysrq("w")
    deadline = time.monotonic() + 10
    while "sysrq: Show Blocked State" not in machine.console_text()[before:]:
        assert time.monotonic() < deadline, machine.console_text()[before:]
        time.sleep(0.05)


def test_a_command_that_never_ends_is_a_hang_with_a_diagnosis_and_is_ended(machine: Machine) -> None:
    begin = time.monotonic()
    with pytest.raises(Hang, match=r"no end within 2 s in the guest: sh -c 'sleep 4242 & wait'") as error:
        machine.run(["sh", "-c", "sleep 4242 & wait"], deadline=2)
    assert time.monotonic() - begin < 60
    files = {path.name: path.read_text() for path in error.value.evidence}
    assert next(iter(files)) == "index.txt" and "not to be had" not in files["index.txt"]
    assert "sysrq.txt: the kernel's answer" in files["index.txt"] and "tasks.txt: FUSE connections that wait" in files["index.txt"]
    assert "sysrq: Show State" in files["sysrq.txt"] and "task:systemd" in files["sysrq.txt"]
    assert "(sleep)" in files["tasks.txt"], "the diagnosis was made while the command still hung"
    assert machine.run(["pgrep", "-x", "sleep"], deadline=20).returncode == 1, "the command's process group was killed"


def test_a_command_that_falls_silent_is_a_hang(machine: Machine) -> None:
    with pytest.raises(Hang, match="nothing printed for 2 s in the guest: sh"):
        machine.run(["sh", "-c", "echo begin; sleep 4243"], deadline=100, silence=2)


def test_the_guest_is_on_record_while_it_lives(machine: Machine) -> None:
    facts = next(f for f in registry.listing() if f.id == machine.facts.id)
    assert facts.alive and not facts.kept and facts.owner == leftovers.owner_id()
    assert [str(p.pid) for p in registry.qemu_processes(facts.uuid)] == [facts.qemu.split("-")[0]]
