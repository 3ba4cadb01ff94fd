# SPDX-License-Identifier: Apache-2.0
"""Guests that do not boot, die, or are killed, and tools that are: the right verdict soon, and nothing left behind (M2-M7)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ci import leftovers, store
from ci.errors import GuestPanic, InfrastructureError, UsageError
from ci.images.boot import static_busybox
from ci.images.cpio import Archive
from ci.vm import guest as guests
from ci.vm import registry
from ci.vm.access import ssh_argv
from ci.vm.boot import Boot
from ci.vm.guest import guest
from ci.vm.machine import Machine
from tests.vm_guest import SPEC, TCG, boot

pytestmark = pytest.mark.integration
TOOL = Path(__file__).parent.parent / "vm_guest.py"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of its own, in which nothing may be left."""
    folder = Path(f"/tmp/vexci-test-{os.getpid()}")
    monkeypatch.setenv("VEXCI_STATE", str(folder))
    yield folder
    own = leftovers.owner_id()
    left = [path for path in folder.rglob("*") if path.is_file() and path.parent.name not in ("locks", own)]
    qemu = [process.pid for process in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(process.info["cmdline"] or [])]
    for facts in registry.listing():
        registry.remove(facts.id, facts.uuid)  # so that one failure is not the next test's, too
    process = subprocess.run(["rm", "-rf", folder], check=False)
    assert (left, qemu, process.returncode) == ([], [], 0)


def started(tmp_path: Path, files: Boot | None = None, **options: float) -> Machine:
    """A guest that must not come up (or is used by the caller through `guest` itself)."""
    run = store.RunFolder(tmp_path)
    with guest(SPEC, files or boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print, **options) as machine:
        return machine


def initrd(path: Path, script: str) -> Path:
    """An initramfs whose init is this shell script."""
    archive = Archive()
    for name in ("bin", "dev", "proc"):
        archive.folder(name)
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", static_busybox().read_bytes(), 0o755)
    archive.file("init", f"#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n{script}\n".encode(), 0o755)
    path.write_bytes(archive.finish())
    return path


def test_a_kernel_without_a_root_ends_at_once_with_the_console_s_tail(tmp_path: Path) -> None:
    empty = tmp_path / "initrd"
    empty.write_bytes(Archive().finish())
    begin = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"has nothing to boot: .*VFS: Unable to mount root fs") as error:
        started(tmp_path, replace(boot(), initrd=empty))
    assert time.monotonic() - begin < 60, "far less than the boot deadline"
    assert "Kernel panic - not syncing" in error.value.hint
    assert any("Linux version" in path.read_text(errors="replace") for path in error.value.evidence)


def test_a_kernel_that_crashes_at_boot_is_a_panic(tmp_path: Path) -> None:
    crash = initrd(tmp_path / "initrd", "echo c > /proc/sysrq-trigger")
    with pytest.raises(GuestPanic, match="sysrq triggered crash"):
        started(tmp_path, replace(boot(), initrd=crash))


def test_a_guest_that_misses_a_disk_says_which(tmp_path: Path) -> None:
    nothing = tmp_path / "modules"
    nothing.write_bytes(b"\0" * (1 << 20))
    with pytest.raises(InfrastructureError, match="vexci-init: FAILED: cannot mount the modules"):
        started(tmp_path, replace(boot(), modules=nothing))


def test_a_guest_that_never_answers_ends_at_the_deadline(tmp_path: Path) -> None:
    idle = initrd(tmp_path / "initrd", "echo idle; /bin/busybox sleep 1000")
    begin = time.monotonic()
    with pytest.raises(InfrastructureError, match="did not answer within 15 s under tcg") as error:
        started(tmp_path, replace(boot(), initrd=idle), boot_deadline=15)
    assert time.monotonic() - begin < 30 and "idle" in error.value.hint


def test_a_disk_that_qemu_cannot_open_is_reported_in_qemu_s_words(tmp_path: Path) -> None:
    broken = tmp_path / "disk"
    os.mkfifo(broken)
    with pytest.raises(InfrastructureError, match="is not there any more"):
        started(tmp_path, replace(boot(), disk=broken))


def test_a_killed_qemu_is_a_lost_guest_within_seconds(tmp_path: Path) -> None:
    run = store.RunFolder(tmp_path)
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print, warm=True) as machine:
        (qemu,) = registry.qemu_processes(machine.facts.uuid)
        threading.Timer(1.0, qemu.kill).start()
        begin = time.monotonic()
        with pytest.raises(
            InfrastructureError, match=r"lost during 'sleep 100': its QEMU has ended, and the console shows no kernel failure"
        ):
            machine.run(["sleep", "100"], deadline=100)
        assert time.monotonic() - begin < 6
        assert not machine.alive()
        with pytest.raises(InfrastructureError, match="lost"):
            machine.run(["true"], deadline=10)
        with pytest.raises(InfrastructureError, match="lost"):
            machine.put(TOOL, "/x")
        files = machine.diagnose(tmp_path / "diagnosis")
        assert "QEMU has ended" in files[0].read_text() and "sysrq.txt: not to be had: QEMU has ended" in files[0].read_text()


@pytest.mark.parametrize("after", [-1, 0])
def test_a_kernel_that_crashes_in_mid_test_is_a_panic(after: int, tmp_path: Path) -> None:
    """With panic=-1 QEMU ends; with panic=0 the guest stays, silent, and only its console tells."""
    run = store.RunFolder(tmp_path)
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print, warm=True) as machine:
        begin = time.monotonic()
        with pytest.raises(GuestPanic, match="sysrq triggered crash") as error:
            machine.run(["sh", "-c", f"echo {after} > /proc/sys/kernel/panic; sleep 1; echo c > /proc/sysrq-trigger"], deadline=60)
        assert time.monotonic() - begin < 15
        while after < 0 and machine.alive():  # QEMU ends by itself, though nobody is connected to libvirt
            assert time.monotonic() - begin < 20
            time.sleep(0.05)
        assert "Kernel panic" in error.value.evidence[0].read_text(errors="replace")


def test_a_full_disk_on_the_host_is_not_the_guest_s_hang(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("a small file system can only be mounted as root")
    state.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m,mode=0700", "none", state], check=True)
    try:
        monkeypatch.setattr("ci.vm.start._SPARE_DISK_MIB", 1)
        with (
            guest(
                SPEC, boot(), accelerator=TCG, run=store.RunFolder(tmp_path), root=tmp_path, name="g", progress=print, warm=True
            ) as machine,
            pytest.raises(InfrastructureError, match=r"no space left|the disk is full"),
        ):
            machine.run(["sh", "-c", "dd if=/dev/urandom of=/var/tmp/fill bs=1M count=100 conv=fsync"], deadline=15)
    finally:
        subprocess.run(["umount", state], check=True)


class Tool:
    """The tool as a process of its own, whose words are read as they come."""

    def __init__(self, project: Path, name: str, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, TOOL, project, name, what], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as words:
            self.said += words

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None and time.monotonic() < end, "".join(self.said)
            time.sleep(0.02)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(150)
        self._reader.join()
        return code


def folder_is_there() -> bool:
    return any((leftovers.state_dir() / "g").glob("*/libvirt"))


def qemu_runs() -> bool:
    return any(registry.qemu_processes(facts.uuid) for facts in registry.listing())


def console_speaks() -> bool:
    return any(Path(facts.console).exists() and Path(facts.console).stat().st_size > 1000 for facts in registry.listing())


MOMENTS: dict[str, Callable[[], bool]] = {
    "the folder is made": folder_is_there,
    "QEMU has just started": qemu_runs,
    "the kernel boots": console_speaks,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_nothing(moment: str, tmp_path: Path) -> None:
    boot()  # so that the tool itself need not make an image first
    tool = Tool(tmp_path, "g", "hold")
    tool.until(MOMENTS[moment])
    assert tool.end(signal.SIGINT) != 0
    assert "Interrupted: SIGINT" in "".join(tool.said)
    assert leftovers.sweep() == [], "nothing was left for the next start"


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_kill_9_the_next_start_removes_everything(moment: str, tmp_path: Path) -> None:
    boot()
    tool = Tool(tmp_path, "g", "hold")
    tool.until(MOMENTS[moment])
    assert tool.end(signal.SIGKILL) == -9
    # libvirt's helper may still be starting QEMU; a start that sweeps at once must cope with that too
    assert any("released a guest" in sentence for sentence in leftovers.sweep())
    assert registry.listing() == []


def test_a_stopped_ssh_server_is_no_trouble_for_a_restored_guest_and_soon_said_of_another(tmp_path: Path) -> None:
    run = store.RunFolder(tmp_path)
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print, warm=True) as machine:
        machine.run(["sh", "-c", "systemctl stop ssh; pkill -KILL sshd; ! pgrep sshd"], deadline=60, check=True)
        assert machine.run(["uname", "-r"], deadline=30).stdout.strip() == machine.kernel, "the port does not need it"
        assert machine.second_connection(3.0) is None
    with guest(SPEC, boot(), accelerator=TCG, run=run, root=tmp_path, name="h", progress=print) as machine:
        begin = time.monotonic()
        with pytest.raises(InfrastructureError, match="the connection to the guest h failed during"):
            machine.run(["sh", "-c", "systemd-run -q sh -c 'sleep 0.5; pkill -KILL sshd'; sleep 300"], deadline=400)
        assert time.monotonic() - begin < 60
        assert machine.alive(), "only its SSH server is gone"


def test_a_host_with_too_little_memory_refuses_at_once(tmp_path: Path) -> None:
    short = replace(SPEC, memory=1 << 20)
    run = store.RunFolder(tmp_path)
    with (
        pytest.raises(InfrastructureError, match=r"needs 1048576 MiB of memory, and the host has \d+ MiB left"),
        guest(short, boot(), accelerator=TCG, run=run, root=tmp_path, name="g", progress=print),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    boot()
    tool = Tool(tmp_path, "g", "hold")
    tool.until(qemu_runs)
    assert tool.end(number) != 0
    assert f"Interrupted: {number.name}" in "".join(tool.said)
    assert leftovers.sweep() == [] and registry.listing() == []


def test_two_runs_at_once_both_succeed(tmp_path: Path) -> None:
    release = boot().release
    tools = [Tool(tmp_path, f"g{number}", "answer") for number in range(2)]
    assert [tool.wait() for tool in tools] == [0, 0], "".join(tools[0].said + tools[1].said)
    assert all(f"{release}\n" in tool.said for tool in tools)


def type_on_console(name: str, project: Path, keys: bytes, until: bytes) -> bytes:
    """What a person sees on a terminal who attaches to the console, types, and leaves with Ctrl-]."""
    code = (
        "import sys; from pathlib import Path; from ci.vm import access, guest\n"
        "access.attach_console(guest.running(sys.argv[1], Path(sys.argv[2])))"
    )
    terminal, slave = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", code, name, project], stdin=slave, stdout=slave, stderr=slave, cwd=TOOL.parent.parent)
    os.close(slave)
    seen, end = b"", time.monotonic() + 40
    while b"Ctrl-] leaves it" not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(terminal, 65536)
    before = len(seen)
    os.write(terminal, keys)
    while until not in seen[before:]:
        assert time.monotonic() < end and select.select([terminal], [], [], 20)[0], seen[before:]
        seen += os.read(terminal, 65536)
    os.write(terminal, b"\x1d")
    assert process.wait(20) == 0
    os.close(terminal)
    return seen


def test_a_kept_guest_lives_on_until_it_is_taken_down(tmp_path: Path) -> None:
    boot()
    tool = Tool(tmp_path, "kept", "up")
    assert tool.wait() == 0, "".join(tool.said)
    assert leftovers.sweep() == []
    (facts,) = registry.listing()
    assert facts.kept and facts.alive and facts.uuid == tool.said[-1].strip()
    with pytest.raises(UsageError, match="is already up"):
        guests.up(SPEC, boot(), accelerator=TCG, root=tmp_path, name="kept", evidence=tmp_path, progress=print)
    with guests.attached("kept", tmp_path, evidence=tmp_path) as machine:
        assert machine.run(["hostname"], deadline=20).stdout == "kept\n"
        reader = 'read word </dev/ttyS0; echo "the guest read $word" >/dev/ttyS0'
        machine.run(["sh", "-c", f"({reader}) </dev/null >/dev/null 2>&1 &"], deadline=20)
        machine.sysrq("w")  # libvirt takes up a guest that another process started
    done = subprocess.run(ssh_argv("kept", tmp_path, ["echo", "from ssh"]), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "from ssh\n"
    console = Path(facts.console)
    assert console.read_text(errors="replace").startswith("[    0.000000] Linux version")
    shown = type_on_console(facts.name, tmp_path, b"typed\r", until=b"the guest read typed")
    assert b"Linux version" in shown, "what was printed before comes first"
    assert facts.alive, "leaving the console leaves the guest"
    guests.down("kept", tmp_path)
    assert registry.listing() == [] and not console.exists() and registry.qemu_processes(facts.uuid) == []
    with pytest.raises(UsageError, match="there is no guest kept"):
        guests.down("kept", tmp_path)


def test_a_kept_guest_whose_qemu_died_is_said_to_have_ended_and_its_name_can_be_used_again(tmp_path: Path) -> None:
    facts = guests.up(SPEC, boot(), accelerator=TCG, root=tmp_path, name="kept", evidence=tmp_path, progress=print, warm=True)
    (qemu,) = registry.qemu_processes(facts.uuid)
    qemu.kill()
    psutil.wait_procs([qemu], timeout=10)
    with pytest.raises(UsageError, match="has ended"):
        ssh_argv("kept", tmp_path, [])
    assert [f.alive for f in registry.listing()] == [False]
    again = guests.up(SPEC, boot(), accelerator=TCG, root=tmp_path, name="kept", evidence=tmp_path, progress=print, warm=True)
    assert again.alive and len(registry.listing()) == 1
    guests.down("kept", tmp_path)
