# SPDX-License-Identifier: Apache-2.0
"""The libvirt domain of a guest as XML. The same facts give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from ci.vm import disks, inside, mail

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
# Of the PCI slots on the root bus libvirt itself fills the low ones.
_NETWORK_SLOT = "0x10"
_ON_EVERY_END = ("on_poweroff", "on_reboot", "on_crash")


@dataclass(frozen=True)
class DomainFacts:
    """All that a domain is made of. Memory in MiB; `port` on 127.0.0.1 leads to the guest's port 22.

    `accelerator` is `kvm` or `tcg`. `console_socket` is for people; `console_log` gets every byte from the first.
    `port_socket` leads to the guest's virtio-serial port. `generation` (a UUID) is another for each guest of one snapshot:
    a kernel that knows ACPI's VM generation id makes its random numbers anew by it.

    `disks` has one for each of the slots of ci/vm/disks.py; `mail` is the file behind the disk of ci/vm/mail.py.

    With `ram` the memory lies in that file: shared where `ram_shared`, so that it can be kept, else a private copy on
    write. `incoming`: QEMU waits for the state of the devices, and a boot never happens. `overlooked` are names that libvirt has for
    what QEMU can do, and that it shall not make use of.
    """

    name: str
    uuid: str
    memory: int
    cpus: int
    accelerator: str
    emulator: Path
    kernel: Path
    initrd: Path
    command_line: str
    root: Path
    modules: Path
    seed: Path
    port: int
    console_socket: Path
    console_log: Path
    port_socket: Path
    generation: str
    mail: Path
    disks: tuple[disks.Disk, ...] = ()
    ram: Path | None = None
    ram_shared: bool = False
    incoming: bool = False
    overlooked: tuple[str, ...] = ()


def domain_xml(facts: DomainFacts) -> str:
    """The domain's XML for `virDomainCreateXML`."""
    ET.register_namespace("qemu", _QEMU)
    kvm = facts.accelerator == "kvm"
    domain = ET.Element("domain", type="kvm" if kvm else "qemu")
    _text(domain, "name", facts.name)
    _text(domain, "uuid", facts.uuid)
    _text(domain, "genid", facts.generation)
    _text(domain, "memory", str(facts.memory), unit="MiB")
    _text(domain, "vcpu", str(facts.cpus))
    system = ET.SubElement(domain, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    _text(system, "kernel", str(facts.kernel))
    _text(system, "initrd", str(facts.initrd))
    _text(system, "cmdline", facts.command_line)
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    ET.SubElement(domain, "cpu", mode="host-passthrough" if kvm else "maximum")
    # libvirt would end QEMU when the guest ends, but only while somebody is connected; see `_words`.
    for event in _ON_EVERY_END:
        _text(domain, event, "destroy")
    _devices(domain, facts)
    command = ET.SubElement(domain, f"{{{_QEMU}}}commandline")
    for word in _words(facts):
        ET.SubElement(command, f"{{{_QEMU}}}arg", value=word)
    if facts.overlooked:
        capabilities = ET.SubElement(domain, f"{{{_QEMU}}}capabilities")
        for name in facts.overlooked:
            ET.SubElement(capabilities, f"{{{_QEMU}}}del", capability=name)
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def _devices(domain: ET.Element, facts: DomainFacts) -> None:
    devices = ET.SubElement(domain, "devices")
    _text(devices, "emulator", str(facts.emulator))
    # An overlay that goes with the guest: nothing of it must outlive this machine, so that a flush need not wait for its disk.
    _disk(devices, "vda", facts.root, "qcow2", "vexci-root", read_only=False, cache="unsafe")
    _disk(devices, "vdb", facts.modules, "raw", "vexci-modules", read_only=True)
    _disk(devices, "vdc", facts.seed, "raw", "vexci-seed", read_only=True)
    for slot, given in enumerate(facts.disks):
        _disk(devices, disks.target(slot), given.path, "raw", disks.serial(slot), read_only=False, cache=given.cache, server=given.socket)
    _disk(devices, disks.target(disks.SLOTS), facts.mail, "raw", mail.SERIAL, read_only=False, cache="writeback")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    serial = ET.SubElement(devices, "serial", type="unix")
    ET.SubElement(serial, "source", mode="bind", path=str(facts.console_socket))
    ET.SubElement(serial, "log", file=str(facts.console_log), append="on")
    ET.SubElement(serial, "target", type="isa-serial", port="0")
    ET.SubElement(devices, "controller", type="virtio-serial", index="0", ports="2", vectors="2")
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "source", mode="bind", path=str(facts.port_socket))
    ET.SubElement(channel, "target", type="virtio", name=inside.PORT)
    random = ET.SubElement(devices, "rng", model="virtio")
    _text(random, "backend", "/dev/urandom", model="random")


def _disk(
    devices: ET.Element, target: str, path: Path, form: str, serial: str, *, read_only: bool, cache: str = "", server: Path | None = None
) -> None:
    disk = ET.SubElement(devices, "disk", type="network" if server else "file", device="disk")
    driver = ET.SubElement(disk, "driver", name="qemu", type=form)
    if not read_only:
        driver.set("discard", "unmap")
    if cache:
        driver.set("cache", cache)
    if server:
        ET.SubElement(ET.SubElement(disk, "source", protocol="nbd"), "host", transport="unix", socket=str(server.absolute()))
    else:
        ET.SubElement(disk, "source", file=str(path))
    ET.SubElement(disk, "target", dev=target, bus="virtio")
    if read_only:
        ET.SubElement(disk, "readonly")
    _text(disk, "serial", serial)


def _words(facts: DomainFacts) -> list[str]:
    """What libvirt 9 has no words for."""
    # No forwarded ports in user-mode networking. restrict=on: no way out of the guest.
    network = f"user,id=vexci,restrict=on,hostfwd=tcp:127.0.0.1:{facts.port}-:22"
    words = ["-netdev", network, "-device", f"virtio-net-pci,netdev=vexci,bus=pcie.0,addr={_NETWORK_SLOT},romfile="]
    # QEMU itself ends when the guest does. libvirt's -no-shutdown comes before this, and would keep it, paused, until libvirt is asked.
    words += ["-action", "reboot=shutdown,shutdown=poweroff"]
    if facts.ram is not None:
        share = "on" if facts.ram_shared else "off"
        backend = f"memory-backend-file,id=vexci-ram,size={facts.memory}M,mem-path={facts.ram},share={share}"
        words += ["-object", backend, "-machine", "memory-backend=vexci-ram"]
    if facts.incoming:
        words += ["-incoming", "defer"]
    return words


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
