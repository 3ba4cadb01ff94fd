# SPDX-License-Identifier: Apache-2.0
"""Runs as a process of its own and asks libvirt for one thing; the tool itself never loads libvirt.

libvirt's embedded QEMU driver allows one root folder for a whole process, and each guest has a root of its own. So
every request is a short-lived process: `python agent.py REQUEST.json`, where the request names the URI, the operation
and its arguments, and one line of JSON on standard output is the answer. Nothing of ci is imported here.

Two things that libvirt wants of the machine are arranged for this process alone:

- As root, libvirt's QEMU driver refuses to start where the accounts `libvirt-qemu` and `kvm` do not exist, also when
  qemu.conf names others. They come with a package that starts a daemon and a bridge, which nobody wants here; so this
  process sees copies of /etc/passwd and /etc/group that have them, in a mount namespace of its own.
- libvirt keeps what it learnt about QEMU (3-4 s), but calls it stale when the host's CPUID differs, and that holds the
  number of the CPU it was read on. So this process stays on one CPU. libvirt gives QEMU all CPUs back.
"""

from __future__ import annotations

import ctypes
import grp
import json
import os
import pwd
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import libvirt

USERS = ("libvirt-qemu",)
GROUPS = ("libvirt-qemu", "kvm")
_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 1 << 19
_PR_SET_PDEATHSIG = 1
_SETTLE_SECONDS = 10.0
_LINUX_KEYS = {name: code for code, name in enumerate("qwertyuiop", 16)}
_LINUX_KEYS.update({name: code for code, name in enumerate("asdfghjkl", 30)})
_LINUX_KEYS.update({name: code for code, name in enumerate("zxcvbnm", 44)})
_LINUX_KEYS.update({name: code for code, name in enumerate("1234567890", 2)})
_LEFT_ALT, _SYSRQ = 56, 99
_HOLD_MILLISECONDS = 100


class Refused(Exception):
    """What cannot be done, in a sentence for the user."""


def missing_accounts() -> tuple[list[str], list[str]]:
    """The users and the groups that libvirt asks for as root and that this machine has not."""
    return [name for name in USERS if not _known(pwd.getpwnam, name)], [name for name in GROUPS if not _known(grp.getgrnam, name)]


def _known(look_up: Any, name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def provide_accounts(folder: Path) -> None:
    """Let this process and its children see the missing accounts; nothing changes for anybody else."""
    users, groups = missing_accounts()
    if not users and not groups:
        return
    copies = {
        "/etc/passwd": "".join(f"{name}:x:{os.getuid()}:{os.getgid()}::/nonexistent:/usr/sbin/nologin\n" for name in users),
        "/etc/group": "".join(f"{name}:x:{os.getgid()}:\n" for name in groups),
    }
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None):
        raise Refused(_cannot(users, groups))
    folder.mkdir(parents=True, exist_ok=True)
    for original, lines in copies.items():
        copy = folder / Path(original).name
        text = Path(original).read_text()
        copy.write_text(text + ("" if text.endswith("\n") else "\n") + lines)
        if libc.mount(str(copy).encode(), original.encode(), None, _MS_BIND, None):
            raise Refused(_cannot(users, groups))


def _cannot(users: list[str], groups: list[str]) -> str:
    reason = os.strerror(ctypes.get_errno())
    commands = [f"groupadd --system {name}" for name in groups] + [f"useradd --system --gid {n} --no-create-home {n}" for n in users]
    problem = f"libvirt needs accounts that this machine has not, and root may not make a mount namespace here ({reason})"
    return f"{problem}. Run: {' && '.join(commands)}"


def open_connection(uri: str) -> libvirt.virConnect:
    """Open libvirt; the embedded driver needs an event loop that runs."""
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)  # errors are reported once, in the answer
    libvirt.virEventRegisterDefaultImpl()

    def turn() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=turn, daemon=True).start()
    return libvirt.open(uri)


def check_place(connection: libvirt.virConnect, uri: str) -> None:
    """Refuse a libvirt that is not this machine's: a guest's disks, console and port are files and sockets here."""
    if connection.getType() != "QEMU":
        raise Refused(f"{uri} is not a QEMU driver but {connection.getType()}")
    there = connection.getHostname()
    if there != socket.gethostname():
        raise Refused(
            f"the libvirt of {uri} runs on {there}: a guest's disks, console and forwarded port lie on {socket.gethostname()},"
            " where this tool runs, so that it can only use a libvirt of this machine"
        )


def settled(connection: libvirt.virConnect, uuid: str) -> libvirt.virDomain:
    """The domain, once libvirt is in touch with its QEMU again: after opening, that takes a moment in the background."""
    import libvirt

    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        domain = connection.lookupByUUIDString(uuid)
        try:
            if domain.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK:
                return domain
        except libvirt.libvirtError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise Refused(f"QEMU's monitor did not answer within {_SETTLE_SECONDS:g} s")
        time.sleep(0.02)


def create(connection: libvirt.virConnect, request: dict[str, Any]) -> dict[str, Any]:
    """Start a transient domain; answers when QEMU runs."""
    begin = time.monotonic()
    domain = connection.createXML(Path(request["xml"]).read_text(), 0)
    return {"id": domain.ID(), "create_seconds": time.monotonic() - begin}


def save(connection: libvirt.virConnect, request: dict[str, Any]) -> dict[str, Any]:
    """Stop the guest and write the state of its devices to `file`. Its memory is the shared file that it runs in, its
    disk is flushed; QEMU ends when it is done."""
    domain = settled(connection, request["uuid"])
    domain.suspend()
    _monitor(domain, "migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
    with socket.socket(socket.AF_UNIX) as server, open(request["file"], "wb") as file:
        server.bind(request["socket"])
        server.listen(1)
        server.settimeout(_SETTLE_SECONDS)
        _monitor(domain, "migrate", uri=f"unix:{request['socket']}")
        stream, _ = server.accept()
        with stream:
            while data := stream.recv(1 << 20):
                file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _moved(domain)
    domain.destroy()
    return {}


def restore(connection: libvirt.virConnect, request: dict[str, Any]) -> dict[str, Any]:
    """Start a transient domain whose XML waits for a state, give it the state in `file`, and let it run."""
    import libvirt

    begin = time.monotonic()
    domain = connection.createXML(Path(request["xml"]).read_text(), libvirt.VIR_DOMAIN_START_PAUSED)
    created = time.monotonic()
    try:
        _monitor(domain, "migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
        _monitor(domain, "migrate-incoming", uri=f"unix:{request['socket']}")
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(request["socket"])
            stream.sendall(Path(request["file"]).read_bytes())
        _moved(domain)
        for target, size in request["resized"].items():  # other files lie behind these disks than when it was saved
            domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        domain.resume()
    except (OSError, Refused, libvirt.libvirtError) as error:
        raise Refused(f"QEMU does not take the saved state: {error}") from error
    return {"id": domain.ID(), "create_seconds": created - begin, "restore_seconds": time.monotonic() - created}


def _moved(domain: libvirt.virDomain) -> None:
    """Wait until QEMU has sent or taken the whole state."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (status := _monitor(domain, "query-migrate").get("status")) != "completed":
        if status in ("failed", "cancelled") or time.monotonic() > deadline:
            raise Refused(f"QEMU says of the state: {status}")
        time.sleep(0.005)


def _monitor(domain: libvirt.virDomain, command: str, **arguments: Any) -> dict[str, Any]:
    """A command to QEMU itself, through libvirt, for what libvirt has no words for."""
    import libvirt_qemu

    words = {"execute": command, **({"arguments": arguments} if arguments else {})}
    answer = json.loads(libvirt_qemu.qemuMonitorCommand(domain, json.dumps(words), 0))
    if "error" in answer:
        raise Refused(f"QEMU ({command}): {answer['error']['desc']}")
    result: dict[str, Any] = answer["return"]
    return result


def state(connection: libvirt.virConnect, request: dict[str, Any]) -> dict[str, Any]:
    """Whether the guest runs or is paused, and why; disks that have an error."""
    import libvirt

    domain = settled(connection, request["uuid"])
    number, reason = domain.state()
    names = {libvirt.VIR_DOMAIN_RUNNING: "running", libvirt.VIR_DOMAIN_PAUSED: "paused", libvirt.VIR_DOMAIN_CRASHED: "crashed"}
    errors = domain.diskErrors()
    words = {libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE: "no space left", libvirt.VIR_DOMAIN_DISK_ERROR_UNSPEC: "input/output error"}
    return {"state": names.get(number, str(number)), "reason": reason, "disks": {k: words.get(v, "error") for k, v in errors.items()}}


def sysrq(connection: libvirt.virConnect, request: dict[str, Any]) -> dict[str, Any]:
    """Press Alt+SysRq+key for each key."""
    import libvirt

    domain = settled(connection, request["uuid"])
    for key in request["keys"]:
        codes = [_LEFT_ALT, _SYSRQ, _LINUX_KEYS[key]]
        domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, _HOLD_MILLISECONDS, codes, len(codes), 0)
        time.sleep(2 * _HOLD_MILLISECONDS / 1000)  # QEMU releases the keys after that time; a press before would be lost
    return {}


def core(connection: libvirt.virConnect, request: dict[str, Any]) -> dict[str, Any]:
    """The guest's memory as a file for crash(8): compressed where QEMU can, else ELF. The guest goes on afterwards."""
    import libvirt

    domain = settled(connection, request["uuid"])
    for form in (libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_KDUMP_ZLIB, libvirt.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW):
        try:
            domain.coreDumpWithFormat(request["file"], form, libvirt.VIR_DUMP_MEMORY_ONLY)
            return {"form": form}
        except libvirt.libvirtError as error:
            failure = error
    raise failure


OPERATIONS = {"create": create, "core": core, "save": save, "restore": restore, "state": state, "sysrq": sysrq}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what the request says; an error is an answer too."""
    begin = time.monotonic()
    try:
        import libvirt
    except ImportError as error:
        return {"error": f"libvirt-python is not installed: {error}", "code": -1}
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        if os.getuid() == 0 and "embed" in request["uri"]:
            provide_accounts(Path(request["accounts"]))
        connection = open_connection(request["uri"])
        opened = time.monotonic()
        if "embed" not in request["uri"] and request["operation"] == "create":
            check_place(connection, request["uri"])
        return {**OPERATIONS[request["operation"]](connection, request), "open_seconds": opened - begin}
    except Refused as error:
        return {"error": str(error), "code": -1}
    except libvirt.libvirtError as error:
        return {"error": error.get_error_message() or str(error), "code": error.get_error_code()}


def end_with(parent: int) -> None:
    """Be killed when the tool dies, so that no guest is started for nobody."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the tool has ended")


def main(path: Path) -> None:
    """Read the request and print the answer."""
    request = json.loads(path.read_text())
    end_with(request["parent"])
    print(json.dumps(answer(request)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # The event loop's thread may sit inside libvirt; tearing the interpreter down under it could crash.
    os._exit(0)
