# SPDX-License-Identifier: Apache-2.0
"""Machines of a farm: those of vexci.yaml with `slots`. One with a remote libvirt URI is reached by the SSH that libvirt itself would use.

The cell travels, not the disk: the commit is pushed to the host, `./inv validate --cell` runs there beside its guest, and the folder of
its run comes back. A `private` machine is this one, with clones of its own in the cache.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.manifest import MachineSpec
from ci.process import Limits
from ci.vm.driver import PRIVATE

PLACE = ".cache/vexci/farm"  # below the home of the user on the host
CELL_SECONDS = 6 * 3600.0
_SHORT = 120.0
_PUSH = 1800.0
_LOST = 255  # ssh itself failed
_KNOWN = {"command", "keyfile", "no_tty", "sshauth", "known_hosts"}
# Arguments: the place, the slot, the commit, the cell. A clone is kept for the next cell: what it has built is found again. Whoever else
# runs a farm here waits its turn: two cells in one clone would build over each other, and take each other's record. The record is named by
# the tool itself; an earlier run's must not be taken for it.
_RUN = """
set -eu
cd "$1"
exec 9>"$2.lock"
flock -n 9 || { echo "waiting for the cell of another farm in $1/$2" >&2; flock 9; }
[ -d "$2" ] || git clone -q --no-checkout project.git "$2"
cd "$2"
git fetch -q origin
git checkout -q --force --detach "$3"
rm -f .runs/latest
status=0
./inv validate --cell "$4" >&2 </dev/null 9>&- || status=$?
[ -e .runs/latest/record.json ] || exit 125
cd .runs/latest
pwd -P
exit "$status"
"""


class Lost(InfrastructureError):
    """The host cannot be reached, or it left no record: the cell may run elsewhere."""


@dataclass(frozen=True)
class Host:
    """A machine that runs cells. `shell` comes before a command line for a shell there; `url` leads git to the bare repository."""

    name: str
    slots: int
    shell: tuple[str, ...]
    url: str
    ssh: str
    place: str

    def push(self, root: Path, commit: str, project: str) -> None:
        """Bring the commit, so that slots can check it out. Raises Lost."""
        place, lock = shlex.quote(self.place), shlex.quote(f"{self.place}/project.lock")
        self._sh(f"mkdir -p {place} && flock {lock} git init -q --bare {place}/project.git", "preparing")
        env = {**os.environ, "GIT_SSH_COMMAND": self.ssh} if self.ssh else dict(os.environ)
        # One after the other, and by a name that no other farm gives another commit: what is pushed stays until every slot has it.
        receiver = f"--receive-pack=flock {lock} git-receive-pack"
        argv = ["git", "push", "-q", receiver, self.url, f"{commit}:refs/heads/commits/{commit}"]
        done = process.run(argv, limits=Limits(_PUSH), cwd=root, env=env, stderr=process.scratch_file("push.err"))
        if not done.ok:
            raise Lost(f"{self.name}: the commit could not be pushed: {_last(done.error_text()) or done.how}")

    def run(self, cell: str, slot: int, commit: str, folder: Path, log: Path) -> Path:
        """Run a cell in a slot; returns the run's folder below `folder`. Raises Lost where there is no record of it."""
        # Two machines of vexci.yaml may be one host, with one place: the slots are each machine's own.
        argv = self._argv(_RUN, self.place, f"{self.name}-{slot}", commit, cell)
        errors = log.with_suffix(".log")
        done = process.run(argv, limits=Limits(CELL_SECONDS), stderr=errors, what=f"{cell} on {self.name}")
        place = _last(done.text())
        if not place or done.returncode in (_LOST, 125):
            raise Lost(f"{self.name}: {cell} left no record ({done.how}): {_last(done.error_text())}", evidence=(errors,))
        return self._fetch(place, folder)

    def _fetch(self, place: str, folder: Path) -> Path:
        """The run's folder, whole."""
        archive = process.scratch_file("run.tar")
        words = f"tar -C {shlex.quote(os.path.dirname(place))} -c {shlex.quote(os.path.basename(place))}"
        argv = [*self.shell, words]
        done = process.run(argv, limits=Limits(_PUSH, log_bytes=16 << 30), log=archive, stderr=process.scratch_file("tar.err"))
        if not done.ok:
            raise Lost(f"{self.name}: the run {place} could not be fetched: {_last(done.error_text()) or done.how}")
        # GNU tar takes neither absolute names nor '..' from an archive.
        process.output(["tar", "-C", folder, "--no-same-owner", "-xf", archive], deadline=_PUSH)
        return folder / os.path.basename(place)

    def _sh(self, words: str, what: str) -> None:
        done = process.run([*self.shell, words], limits=Limits(_SHORT), stderr=process.scratch_file("farm.err"), what=what)
        if not done.ok:
            raise Lost(f"{self.name} cannot be reached: {_last(done.error_text()) or done.how}", hint="try the same with ssh by hand")

    def _argv(self, script: str, *arguments: str) -> list[str]:
        # SSH alone reads no profile, and that is where rustup puts cargo on the PATH.
        return [*self.shell, shlex.join(["sh", *(["-l"] if self.ssh else []), "-c", script, "sh", *arguments])]


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def hosts(specs: Sequence[MachineSpec], project: str) -> list[Host]:
    """Those with slots. UsageError where a URI leads nowhere that SSH could go to."""
    return [_host(spec, project) for spec in specs if spec.slots]


def _host(spec: MachineSpec, project: str) -> Host:
    if spec.uri == PRIVATE:
        place = str(store.cache_dir() / "farm" / project)
        return Host(spec.name, spec.slots, ("sh", "-c"), f"{place}/project.git", "", place)
    ssh, where, port = _ssh(spec)
    place = f"{PLACE}/{project}"
    options = ["-p", port] if port else []
    url = f"ssh://{where}{':' + port if port else ''}/~/{place}/project.git"
    return Host(spec.name, spec.slots, (*ssh, *options, where), url, shlex.join(ssh), place)


def _ssh(spec: MachineSpec) -> tuple[list[str], str, str]:
    """The ssh client with its options, `user@host`, and the port (empty for ssh's own) of a libvirt URI."""
    at = f"machines.{spec.name}.uri"
    parts = urlsplit(spec.uri)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if not parts.scheme.endswith(("+ssh", "+libssh", "+libssh2")) or not parts.hostname:
        raise UsageError(f"{at}: a machine with slots is 'private', or reached by SSH", hint="qemu+ssh://USER@HOST/system")
    unknown = sorted(set(query) - _KNOWN)
    if unknown:
        hint = (
            "host keys are checked, always: put the host's into known_hosts"
            if "no_verify" in unknown
            else f"known: {', '.join(sorted(_KNOWN))}"
        )
        raise UsageError(f"{at}: '{unknown[0]}' is not for a farm", hint=hint)
    words = [query.get("command", "ssh"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    words += ["-i", query["keyfile"], "-o", "IdentitiesOnly=yes"] if "keyfile" in query else []
    words += ["-o", f"UserKnownHostsFile={query['known_hosts']}"] if "known_hosts" in query else []
    return words, f"{parts.username}@{parts.hostname}" if parts.username else parts.hostname, str(parts.port or "")
