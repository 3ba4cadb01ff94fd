# SPDX-License-Identifier: Apache-2.0
"""Packages in a clean guest: installed by the distribution's own tools, the module built by DKMS for the guest's kernel and loaded, an
upgrade that keeps a volume readable, a removal that leaves nothing. Each step is a check, and the first that fails ends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ci import store
from ci.errors import InfrastructureError, ProductFailure
from ci.guest import Guest, GuestResult
from ci.manifest import ArtifactSpec
from ci.model import Check, Verdict
from ci.release.managers import Manager, Package

HOME = "/var/tmp/vexci-packages"  # in the guest: what was brought
VOLUME, MOUNTPOINT = f"{HOME}/kept.volume", "/mnt/vexci-kept"
SECONDS = 300.0
INSTALL_SECONDS = 2400.0  # DKMS compiles the module, on an emulated processor
SILENCE = 1500.0
_LEFT_SHOWN = 5
_DKMS_PLACES = ("/updates/dkms/", "/extra/")  # where Debian's DKMS and that of Fedora put modules
Say = Callable[[str], None]

# DKMS and depmod write beside the kernel's modules, which come from a read-only disk: an overlay takes what they write. An image has no
# folders that apt keeps for downloads.
_WRITABLE = """
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial &&
release=$(uname -r) && under=/var/tmp/vexci-modules &&
mkdir -p $under/upper $under/work && modprobe overlay &&
mount -t overlay overlay -o lowerdir=/usr/lib/modules/$release,upperdir=$under/upper,workdir=$under/work /usr/lib/modules/$release
"""
# Every file but those of the running system, of package management itself, and of this tool. DKMS makes its signing key once and keeps it.
_FILES = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /opt/vexci -o -path /mnt \
    -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /root \
    -o -path /var/lib/rpm -o -path /usr/lib/sysimage/rpm -o -path /var/lib/dnf -o -path /usr/lib/sysimage/libdnf5 \
    -o -path '/var/lib/dkms/mok.*' -o -name '*.pyc' -o -name __pycache__ \) -prune -o -print
find "/usr/lib/modules/$(uname -r)" -print
"""
# Argument: the mount point. Both print the hash of the same bytes, the second by way of the link.
_WRITE = """
set -e
mkdir "$1/folder" && head -c 300000 /dev/urandom > "$1/folder/bytes" && ln -s bytes "$1/folder/link"
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.kept", b"yes")' "$1/folder/bytes"
sha256sum < "$1/folder/bytes"
umount "$1"
"""
_READ = """
set -e
python3 -c 'import os, sys; assert os.getxattr(sys.argv[1], "user.kept") == b"yes"' "$1/folder/bytes"
sha256sum < "$1/folder/link"
echo more > "$1/more"
umount "$1"
"""
VOLUME_SIZE = "64M"


class Proof:
    """One guest from clean to clean. `checks` holds what was seen so far, also where a step raises ProductFailure.

    `spec` is the module, with commands that are those of the installed programs.
    """

    def __init__(
        self, guest: Guest, manager: Manager, packages: Sequence[Package], previous: Sequence[Package], spec: ArtifactSpec, say: Say
    ) -> None:
        self.checks: list[Check] = []
        self._guest, self._manager, self._packages, self._previous, self._spec, self._say = guest, manager, packages, previous, spec, say
        self._module = Path(spec.output).stem.replace("-", "_")
        self._before: set[str] = set()
        self._kept = ""

    def prepare(self, headers: Sequence[Path]) -> None:
        """Bring the headers of the guest's kernel, which a user would have from the archive, and the packages."""
        self._guest_ok(["sh", "-c", _WRITABLE], "the modules' folder could not be made writable")
        for path in (*headers, *(package.path for package in (*self._packages, *self._previous))):
            self._guest.put(path, self._place(path))
        self._say("installing the headers of the guest's kernel")
        done = self._run(self._manager.headers([self._place(path) for path in headers]), INSTALL_SECONDS)
        if done.returncode:
            raise InfrastructureError(f"the headers of the guest's kernel could not be installed: {_words(done)}")
        # The indexes as the guest's own depmod writes them: those on the modules' disk are of another one, which may know fewer.
        self._guest_ok(["depmod"], "the indexes of the modules could not be made")
        self._before = self._files()

    def _place(self, path: Path) -> str:
        """Where a file lies in the guest; a previous release may have files of the same name."""
        return f"{HOME}/{store.sha256_text(str(path))[:8]}/{path.name}"

    def upgrade(self) -> None:
        """Install the release before and make a volume with it; the next `install` is the upgrade."""
        if not self._previous:
            detail = "no release before this one was given: --previous DIR"
            self.checks.append(Check("R10", "an upgrade keeps a volume readable", "packages", Verdict.SKIP, detail, required=False))
            return
        self._install(self._previous, "R9", "the release before is installed")
        self._loaded("R9")
        self._kept = self._volume("R9", "it makes a volume", [*self._spec.prepare, ("mkdir", "-p", MOUNTPOINT), self._spec.mount], _WRITE)
        self._guest_ok(["modprobe", "-r", self._module], "the module of the release before cannot be unloaded")

    def install(self) -> None:
        """Install, look at what is there, load the module; read the volume of the release before."""
        self._install(self._packages, "R6", f"installed by {self._manager.tool}")
        status = self._run(["dkms", "status", "-m", self._module], SECONDS)
        wanted = f"{self._guest.kernel}, x86_64: installed"
        self._say_check(
            "R7", "DKMS built the module for the guest's kernel", wanted in status.stdout, status.stdout.strip() or _words(status)
        )
        self._loaded("R8")
        if self._kept:
            name = "an upgrade keeps a volume readable"
            seen = self._volume("R10", "the volume is whole, and is read", [self._spec.check, self._spec.mount], _READ)
            self._say_check("R10", name, seen == self._kept, f"the bytes had {self._kept[:12]}, and have {seen[:12]}")
            self._volume("R10", "and whole after a change", [self._spec.check], "")

    def module_path(self) -> str:
        """Where the module lies that DKMS has built; it may be compressed."""
        return self._run(["modinfo", "-n", self._module], SECONDS).stdout.strip()

    def _volume(self, id: str, name: str, commands: Sequence[Sequence[str]], script: str) -> str:
        """Run commands on the volume, then a script on what is mounted; returns the hash that it printed."""
        fields = {"{volume}": VOLUME, "{size}": VOLUME_SIZE, "{mountpoint}": MOUNTPOINT}
        argvs = [[_filled(word, fields) for word in command] for command in commands if command]
        printed = ""
        for argv in [*argvs, *([["sh", "-c", script, "sh", MOUNTPOINT]] if script else [])]:
            done = self._run(argv, SECONDS)
            if done.returncode:
                self._say_check(id, name, False, f"{argv[0]}: {_words(done)}")
            printed = done.stdout.split(" ")[0].strip()
        self._say_check(id, name, True, printed if script else "its check finds nothing")
        return printed

    def _install(self, packages: Sequence[Package], id: str, name: str) -> None:
        self._say(f"installing {' '.join(f'{package.name}={package.version}' for package in packages)}")
        done = self._run(self._manager.install([self._place(package.path) for package in packages]), INSTALL_SECONDS)
        shown = self._run(self._manager.state(packages), SECONDS)
        wanted = {f"{package.name} {package.version} installed" for package in packages}
        good = done.returncode == 0 and wanted <= set(shown.stdout.splitlines())
        self._say_check(id, name, good, ", ".join(sorted(wanted)) if good else _words(done))
        argv = self._manager.verify(packages)
        whole = self._run(argv, SECONDS)
        wrong = whole.stdout.splitlines() or ([_words(whole)] if whole.returncode else [])
        self._say_check(
            id,
            "every file is there as it was packed",
            not wrong,
            "; ".join(wrong[:_LEFT_SHOWN]) or f"{' '.join(argv[:2])} has no complaint",
        )

    def _loaded(self, id: str) -> None:
        """Load the module by name, as a mount does, and compare what runs with the file that DKMS built."""
        done = self._run(["modprobe", self._module], SECONDS)
        words = f"modinfo -F srcversion {self._module}; cat /sys/module/{self._module}/srcversion; modinfo -n {self._module}"
        seen = self._run(["sh", "-c", words], SECONDS).stdout.split()
        good = done.returncode == 0 and len(seen) == 3 and seen[0] == seen[1] and any(place in seen[2] for place in _DKMS_PLACES)
        self._say_check(
            id, "the module loads, and is the one that DKMS built", good, f"{seen[2]}, srcversion {seen[0]}" if good else _words(done)
        )

    def remove(self) -> None:
        """Purge, and compare all files with those before."""
        self._guest_ok(
            ["sh", "-c", f"! grep -q '^{self._module} ' /proc/modules || modprobe -r {self._module}"], "the module cannot be unloaded"
        )
        done = self._run(self._manager.remove(self._packages), INSTALL_SECONDS)
        removed = ", ".join(package.name for package in self._packages)
        self._say_check("R11", f"removed by {self._manager.tool}", done.returncode == 0, removed if done.returncode == 0 else _words(done))
        left, gone = sorted(self._files() - self._before), sorted(self._before - self._files())
        detail = "; ".join([*(f"left: {path}" for path in left[:_LEFT_SHOWN]), *(f"gone: {path}" for path in gone[:_LEFT_SHOWN])])
        self._say_check(
            "R11", "nothing is left, and nothing else is gone", not (left or gone), detail or f"{len(self._before)} files as before"
        )

    def _files(self) -> set[str]:
        done = self._run(["sh", "-c", _FILES], SECONDS)
        found = set(done.stdout.splitlines())
        if not found:
            raise InfrastructureError(f"the guest could not list its files: {_words(done)}")
        return found

    def _run(self, argv: Sequence[str], seconds: float) -> GuestResult:
        return self._guest.run(argv, deadline=seconds, silence=min(seconds, SILENCE))

    def _guest_ok(self, argv: Sequence[str], message: str) -> None:
        done = self._run(argv, SECONDS)
        if done.returncode:
            raise ProductFailure(f"{message}: {_words(done)}")

    def _say_check(self, id: str, name: str, good: bool, detail: str) -> None:
        self.checks.append(Check(id, name, "packages", Verdict.PASS if good else Verdict.FAIL, detail))
        if not good:
            raise ProductFailure(f"{name}: {detail}")
        self._say(f"{name}: {detail}")


def _filled(word: str, fields: Mapping[str, str]) -> str:
    for field, value in fields.items():
        word = word.replace(field, value)
    return word


def _words(done: GuestResult) -> str:
    """The last of what a command said."""
    lines = [line.strip() for line in (done.stderr.splitlines() + done.stdout.splitlines()) if line.strip()]
    wrong = [line for line in lines if re.search(r"(?i)error|cannot|failed|bad return|unmet", line)]
    return f"exit {done.returncode}: " + " / ".join((wrong or lines)[:3])[:400]
