# SPDX-License-Identifier: Apache-2.0
"""A real guest for tests: the project's own image and kernel. As a program it is a tool that can be killed:

    python tests/vm_guest.py PROJECT NAME {hold|answer|up|restart}

`hold` boots a guest and keeps it until it is killed, `answer` prints the kernel release of a restored one, `up` leaves a kept guest,
`restart` ends and starts the daemon of tests/libvirt_system.sh in between.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from ci import config, images, kernels, leftovers, process, store  # noqa: E402
from ci.images.boot import FAILED, boot_files  # noqa: E402
from ci.manifest import ImageSpec, KernelSpec, MachineSpec  # noqa: E402
from ci.model import Accelerator  # noqa: E402
from ci.vm import guest as guests  # noqa: E402
from ci.vm.boot import Boot  # noqa: E402

KERNEL = "debian-6.1"
SPEC = MachineSpec("default", "debian-12", KERNEL, memory=512, uri=os.environ.get("VEXCI_TEST_URI", "private"))
TCG = Accelerator("tcg", "tests run alike on every machine")


def boot(name: str = KERNEL) -> Boot:
    """The boot files of a kernel (`debian-6.1`, or as vexci.yaml has it) and the root disk, from the cache or made now."""
    spec = KernelSpec(KERNEL, "apt", "6.1-cloud") if name == KERNEL else config.read(HERE / "vexci.yaml").kernel(name)
    kernel = kernels.resolve(spec, say=print)
    files = boot_files(kernel, say=print)
    log = store.cache_dir() / "tests" / "image.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    image = images.build(ImageSpec("debian-12", HERE / "vmimages" / "debian-12"), HERE, log=log, say=print)
    words = (files.command_line, image.disk, image.name, kernel.release, FAILED)
    return Boot(files.kernel, files.initrd, files.modules, *words, patience=spec.patience)


def restart_daemon(folder: Path) -> None:
    """End the libvirtd whose pid file lies in `folder`, and start another."""
    pid = folder / "libvirtd.pid"
    number = int(pid.read_text())
    daemon = leftovers.owner_id(number)
    os.kill(number, signal.SIGTERM)
    while leftovers.alive(daemon):
        time.sleep(0.05)
    process.output(["libvirtd", "-d", "-f", "/etc/libvirt/libvirtd.conf", "-p", pid])


def main(project: Path, name: str, what: str) -> None:
    """Be a tool: say each step on standard output, as soon as it is taken."""

    def say(text: str) -> None:
        print(text, flush=True)

    process.signals.take_over()
    run = store.RunFolder(project)
    if what == "up":
        facts = guests.up(SPEC, boot(), accelerator=TCG, root=project, name=name, evidence=run.path, progress=say)
        say(facts.uuid)
        return
    warm = what == "answer" or SPEC.uri != "private"
    with guests.guest(SPEC, boot(), accelerator=TCG, run=run, root=project, name=name, progress=say, warm=warm) as machine:
        say(machine.run(["uname", "-r"], deadline=30).stdout.strip())
        if what == "restart":
            restart_daemon(project.parent)
            machine.sysrq("w")  # through libvirt, which must find the guest again
            say("after the restart: " + machine.run(["uname", "-r"], deadline=30).stdout.strip())
        while what == "hold":
            time.sleep(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
