# SPDX-License-Identifier: Apache-2.0
"""The .rpm packages in a scratch root by rpm itself: what they ask for, their scripts, an upgrade, a removal that leaves nothing.

There is no DKMS in that root but a stand-in that writes down how it was called; the real one is in the guest of
integration/test_release_guest.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ci import config
from ci.images.boot import static_busybox
from ci.release import definition, needs, package, sources
from ci.release.package import Contents
from tests import tool

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.getuid() != 0, reason="rpm's scripts run in a root of their own, which needs root"),
]

TIME = 1_780_000_000
PROGRAM = Path("/usr/bin/true")
DKMS = """\
#!/bin/sh
echo "$@" >>/dkms.log
case "$1" in
add) echo "$3/$5" >>/dkms.known ;;
remove) grep -v "^$3/$5$" /dkms.known >/dkms.new; mv /dkms.new /dkms.known ;;
status) grep "^$3/$5$" /dkms.known || exit 0 ;;
esac
"""
PROVIDED = ["fuse3", "dkms", "gcc", "make", "kernel-devel", "/bin/sh"]


def made(folder: Path, version: str) -> dict[str, Path]:
    """The packages of one version by name; each program is one that is on every machine."""
    packaging = definition.read(config.read(tool.ROOT / "vexci.yaml"))
    names = [name.removeprefix("kernel/") for name in sources.files(tool.ROOT, "kernel") if not name.startswith("kernel/.")]
    programs = dict.fromkeys(("vexfs-fuse", "vexfs-mkfs", "vexfs-fsck", "vexfs-dump"), PROGRAM)
    contents = Contents(tool.ROOT, version, TIME, programs, {"vexfs-kernel": (tool.ROOT / "kernel", names)}, {"vexfs-kernel": "vexfs"}, [])
    found = {}
    (folder / version).mkdir()
    for spec in packaging.packages:
        plain = replace(spec, completions=False)
        found[spec.name] = package.build(
            packaging, plain, "rpm", contents, work=folder / f"work-{version}-{spec.name}", target=folder / version
        )
    return found


def provider(folder: Path, names: list[str]) -> Path:
    """A package without files that provides these names, as the distribution's own packages would."""
    description = {"name": "distribution", "arch": "all", "version": "1.0.0", "maintainer": "t <t@t.net>", "provides": names}
    (folder / "provider.json").write_text(json.dumps(description))
    argv = [Path(sys.executable).with_name("nfpm"), "package", "--config", folder / "provider.json", "--packager", "rpm"]
    subprocess.run([*argv, "--target", folder / "provider.rpm"], check=True, capture_output=True)
    return folder / "provider.rpm"


class Root:
    """A root with a shell and a stand-in for DKMS, and rpm to work on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "usr/sbin", "usr/src", "usr/share/doc", "usr/share/man/man5", "usr/share/man/man8", "var/lib/rpm", "var/tmp"):
            (folder / name).mkdir(parents=True)
        shutil.copy(static_busybox(), folder / "bin/busybox")
        for name in ("sh", "grep", "mv"):
            (folder / "bin" / name).symlink_to("busybox")
        for kernel, headers in (("6.1.0", True), ("6.9.0", False)):  # one without headers
            (folder / "lib/modules" / kernel / "build").mkdir(parents=True)
            if headers:
                (folder / "lib/modules" / kernel / "build/Makefile").touch()
        (folder / "usr/sbin/dkms").write_text(DKMS)
        (folder / "usr/sbin/dkms").chmod(0o755)
        self.rpm("--initdb")

    def rpm(self, *argv: object, ok: bool = True) -> str:
        words = ["rpm", "--root", self.folder, "--dbpath", "/var/lib/rpm", *argv]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
        assert (done.returncode == 0) == ok, done.stderr
        return done.stdout + done.stderr

    def calls(self) -> list[str]:
        """What DKMS was asked to do since the last look, questions apart."""
        log = self.folder / "dkms.log"
        lines = [line for line in log.read_text().splitlines() if not line.startswith("status")] if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def files(self) -> set[str]:
        kept = ("/var/lib/rpm/", "/dkms.")
        found = {f"/{path.relative_to(self.folder)}" for path in self.folder.rglob("*")}
        return {path for path in found if not path.startswith(kept)}


def test_what_they_need_what_their_scripts_do_and_that_nothing_is_left(tmp_path: Path) -> None:
    old, new = made(tmp_path, "0.0.9"), made(tmp_path, "0.1.0")
    root = Root(tmp_path / "root")
    wanted = {*needs.rpm([PROGRAM]), *PROVIDED}
    said = root.rpm("--install", *old.values(), ok=False)
    missing = {line.split(" is needed by ")[0].strip() for line in said.splitlines() if " is needed by " in line}
    assert missing == wanted, "rpm asks for these, and for nothing else"

    root.rpm("--install", provider(tmp_path, sorted(wanted)))
    before = root.files()
    root.rpm("--install", *old.values())
    assert root.calls() == ["add -m vexfs -v 0.0.9 --rpm_safe_upgrade", "install -m vexfs -v 0.0.9 -k 6.1.0"]
    assert root.rpm("--verify", *old) == "", "every file is there as it was packed"
    assert (root.folder / "usr/src/vexfs-0.0.9/dkms.conf").is_file() and os.access(root.folder / "usr/sbin/mkfs.vexfs", os.X_OK)

    root.rpm("--upgrade", *new.values())
    calls = root.calls()
    assert calls[:2] == ["add -m vexfs -v 0.1.0 --rpm_safe_upgrade", "install -m vexfs -v 0.1.0 -k 6.1.0"]
    assert calls[2:] == ["remove -m vexfs -v 0.0.9 --all --rpm_safe_upgrade"], "the old module goes when the new one is there"
    assert not (root.folder / "usr/src/vexfs-0.0.9").exists() and root.rpm("--verify", *new) == ""

    root.rpm("--erase", *new)
    assert root.calls() == ["remove -m vexfs -v 0.1.0 --all --rpm_safe_upgrade"]
    assert root.files() == before, "what is left, or gone"
    assert (root.folder / "dkms.known").read_text() == ""
