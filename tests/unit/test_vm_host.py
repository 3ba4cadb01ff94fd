# SPDX-License-Identifier: Apache-2.0
"""What is refused before anything is started, and which accelerator is taken without a boot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci import store
from ci.errors import InfrastructureError, UsageError
from ci.manifest import MachineSpec
from ci.model import Accelerator
from ci.vm import accel, agent, start
from ci.vm.boot import Boot
from ci.vm.driver import driver
from ci.vm.guest import down, guest

pytestmark = pytest.mark.unit
TCG = Accelerator("tcg", "as the test wants it")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "s"))
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path / "c"))


def boot(folder: Path) -> Boot:
    files = [folder / name for name in ("kernel", "initrd", "modules", "disk")]
    for file in files:
        file.touch()
    return Boot(files[0], files[1], files[2], "", files[3])


def refused(tmp_path: Path, *, memory: int = 64, missing: str = "") -> str:
    files = boot(tmp_path)
    if missing:
        (tmp_path / missing).unlink()
    run = store.RunFolder(tmp_path)
    with (
        pytest.raises(InfrastructureError) as error,
        guest(MachineSpec("m", "i", "k", memory), files, accelerator=TCG, run=run, root=tmp_path, name="g", progress=print),
    ):
        pass
    assert list((tmp_path / "s" / "owners").glob("*")) == [] and not (tmp_path / "s" / "g").exists()
    return error.value.message


def test_a_guest_larger_than_the_host_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    assert "needs 999999999 MiB of memory" in refused(tmp_path, memory=999_999_999)


def test_a_nearly_full_disk_is_said_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_SPARE_DISK_MIB", 1 << 40)
    assert "nearly full" in refused(tmp_path)


def test_an_image_that_was_cleaned_away_is_said_by_name(tmp_path: Path) -> None:
    assert str(tmp_path / "disk") in refused(tmp_path, missing="disk")


def test_there_is_no_guest_to_take_down(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no guest nobody"):
        down("nobody", tmp_path)


def test_a_state_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long for sockets"):
        driver("private", tmp_path / ("x" * 100))


def test_another_libvirt_can_be_named(tmp_path: Path) -> None:
    assert driver("qemu:///system", tmp_path).uri == "qemu:///system"


def test_libvirt_s_own_words_reach_the_user(tmp_path: Path) -> None:
    pytest.importorskip("libvirt", reason="libvirt-python comes with the tasks that start guests; quick tests do without")
    with pytest.raises(InfrastructureError, match="Domain not found"):
        driver("test:///default", tmp_path).ask("state", uuid="00000000-0000-0000-0000-000000000000")


def test_without_a_kvm_device_guests_run_under_tcg_and_nothing_is_booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "no-kvm")
    said: list[str] = []
    found = accel.accelerator(tmp_path / "no-kernel", say=said.append)
    assert found == Accelerator("tcg", f"{tmp_path}/no-kvm does not exist")
    assert said == [f"accelerator: tcg ({tmp_path}/no-kvm does not exist)"]


def test_required_kvm_that_is_missing_is_an_error_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "DEVICE", tmp_path / "no-kvm")
    with pytest.raises(InfrastructureError, match="KVM is required"):
        accel.accelerator(tmp_path / "no-kernel", require_kvm=True, say=print)


@pytest.mark.parametrize("name", ["qemu-that-aborts", "qemu-that-says-nothing"])
def test_a_qemu_that_does_not_boot_the_kernel_is_not_kvm(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / name
    program.write_text(
        "#!/bin/sh\n" + {"qemu-that-aborts": "echo kvm_buf_set_msrs >&2; kill -ABRT $$", "qemu-that-says-nothing": "exit 0"}[name]
    )
    program.chmod(0o755)
    monkeypatch.setattr(accel, "qemu_program", lambda: program)
    works, reason = accel.probe(tmp_path / "kernel", "kvm", "host")
    assert not works
    assert {"qemu-that-aborts": "killed by SIGABRT (kvm_buf_set_msrs)", "qemu-that-says-nothing": "were not seen"}[name] in reason


def test_every_sysrq_key_that_diagnosis_presses_is_known() -> None:
    assert {agent._LINUX_KEYS[key] for key in "wlt"} == {17, 38, 20}  # KEY_W, KEY_L, KEY_T of input-event-codes.h


def test_importing_the_package_loads_neither_libvirt_nor_fabric() -> None:
    code = (
        "import sys, ci.vm, ci.vm.guest, ci.vm.access; sys.exit(bool({'libvirt', 'fabric', 'paramiko', 'cryptography'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()}).returncode == 0
