# SPDX-License-Identifier: Apache-2.0
"""The domain says what a guest is allowed: no route out, read-only disks, an end that ends QEMU."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ci.vm import driver
from ci.vm.domain import DomainFacts, domain_xml

pytestmark = pytest.mark.unit

FACTS = DomainFacts(
    name="vexci-1",
    uuid="11111111-2222-3333-4444-555555555555",
    memory=1024,
    cpus=2,
    accelerator="tcg",
    emulator=Path("/usr/bin/qemu-system-x86_64"),
    kernel=Path("/k"),
    initrd=Path("/i"),
    command_line='console=ttyS0 option="a & b <c>"',
    root=Path("/g/root.qcow2"),
    modules=Path("/m.ext4"),
    seed=Path("/g/seed.tar"),
    port=40022,
    console_socket=Path("/g/console.sock"),
    console_log=Path("/runs/console.log"),
    port_socket=Path("/g/port.sock"),
    generation="99999999-2222-3333-4444-555555555555",
    mail=Path("/g/mail.raw"),
)
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def domain(**changes: object) -> ET.Element:
    return ET.fromstring(domain_xml(replace(FACTS, **changes)))  # type: ignore[arg-type]


def test_the_same_facts_give_the_same_bytes() -> None:
    assert domain_xml(FACTS) == domain_xml(replace(FACTS))


def test_a_command_line_with_special_characters_arrives_unchanged() -> None:
    assert domain().findtext("os/cmdline") == FACTS.command_line


def test_the_guest_has_no_route_out_and_listens_on_loopback_only() -> None:
    words = [word.get("value") or "" for word in domain().iter(f"{QEMU}arg")]
    network = words[words.index("-netdev") + 1].split(",")
    assert "restrict=on" in network
    assert [word for word in network if word.startswith("hostfwd")] == ["hostfwd=tcp:127.0.0.1:40022-:22"]
    assert domain().find("devices/interface") is None


def test_only_what_is_the_guest_s_own_can_be_written() -> None:
    disks = {disk.findtext("serial"): disk for disk in domain().iter("disk")}
    assert set(disks) == {"vexci-root", "vexci-modules", "vexci-seed", "vexci-mail"}
    assert [name for name, disk in disks.items() if disk.find("readonly") is None] == ["vexci-root", "vexci-mail"]
    source = disks["vexci-root"].find("source")
    assert source is not None and source.get("file") == "/g/root.qcow2"


@pytest.mark.parametrize("event", ["on_poweroff", "on_reboot", "on_crash"])
def test_every_end_of_the_guest_ends_qemu_with_nobody_connected(event: str) -> None:
    assert domain().findtext(event) == "destroy"
    assert "-action reboot=shutdown,shutdown=poweroff" in words()


def test_the_console_goes_to_a_file_and_to_a_socket() -> None:
    serial = domain().find("devices/serial")
    assert serial is not None
    assert {child.tag: child.attrib.get("file") or child.attrib.get("path") for child in serial if child.tag != "target"} == {
        "source": "/g/console.sock",
        "log": "/runs/console.log",
    }


def test_kvm_gets_the_host_s_processor_and_tcg_all_that_it_can_emulate() -> None:
    for accelerator, kind, mode in (("kvm", "kvm", "host-passthrough"), ("tcg", "qemu", "maximum")):
        root = domain(accelerator=accelerator)
        cpu = root.find("cpu")
        assert cpu is not None and (root.get("type"), cpu.get("mode")) == (kind, mode)


def test_what_libvirt_shall_overlook_is_named_only_where_libvirt_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_CACHE", str(tmp_path))
    assert driver.overlooked("private") == (), "nothing is known before the first guest"
    learnt = tmp_path / "libvirt" / f"capabilities-{os.getuid()}" / "a.xml"
    learnt.parent.mkdir(parents=True)
    learnt.write_text("<qemuCaps>\n  <flag name='cpu-unavailable-features'/>\n</qemuCaps>\n")
    assert driver.overlooked("private") == ("cpu-unavailable-features",) and driver.overlooked("qemu:///system") == ()
    assert [one.get("capability") for one in domain(overlooked=("a", "b")).iter(f"{QEMU}del")] == ["a", "b"]
    assert domain().find(f"{QEMU}capabilities") is None


def words(**changes: object) -> str:
    return " ".join(word.get("value") or "" for word in domain(**changes).iter(f"{QEMU}arg"))


def test_a_guest_that_is_to_be_kept_runs_in_a_shared_file_and_a_restored_one_in_a_private_view_of_it() -> None:
    assert "memory-backend" not in words() and "-incoming" not in words()
    kept = words(ram=Path("/s/memory"), ram_shared=True)
    assert "size=1024M,mem-path=/s/memory,share=on" in kept and "-machine memory-backend=vexci-ram" in kept and "-incoming" not in kept
    restored = words(ram=Path("/s/memory"), incoming=True)
    assert "share=off" in restored and "-incoming defer" in restored


def test_the_port_leads_to_a_socket_and_the_generation_is_the_guest_s_own() -> None:
    channel = domain().find("devices/channel")
    assert channel is not None and [child.attrib.get("path") or child.attrib.get("name") for child in channel] == [
        "/g/port.sock",
        "vexci.0",
    ]
    assert domain().findtext("genid") == FACTS.generation
