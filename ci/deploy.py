# SPDX-License-Identifier: Apache-2.0
"""Puts an artifact into a guest and proves that what the guest then runs is what was built (M8)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from ci.errors import InfrastructureError, ProductFailure, UsageError
from ci.guest import Guest, GuestResult
from ci.identity import ModuleIds, built_ids, guest_path, module_name, note_build_id
from ci.manifest import ArtifactSpec
from ci.model import Artifact, Deployment, Kind
from ci.store import sha256_file

COMMAND_SECONDS = 30.0
_KERNEL_LOG_LINES = 5
_UNIMPORTANT = re.compile(r"\] vexci: |loading out-of-tree module taints|module verification failed: signature")

# What insmod's errno leaves open and only the kernel's log tells: (words in the log, what they mean).
_REASONS = (
    (r"disagrees about version of symbol (\S+)", "it was built for another kernel: the checksum of the symbol {0} differs"),
    (r"version magic '([^']*)' should be '([^']*)'", "it was built for another kernel: version magic '{0}', the guest has '{1}'"),
    (r"Unknown symbol (\S+)", "it needs the symbol {0}, which this kernel does not have or does not give to its license"),
    (r"no symbol version for (\S+)", "it was built without the checksum of the symbol {0}"),
    (r"Unknown rela relocation: (\d+)", "it has a relocation of type {0} that the kernel does not load"),
    (r"Invalid relocation target", "it has a relocation that the kernel does not load"),
    (r"exports duplicate symbol (\S+)", "the symbol {0} is exported by another module already"),
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Seen:
    """What the guest says in one look: its kernel, the file's hash (empty where there is none), the loaded module, its file systems,
    and for a daemon the processes that run this file or one that lay there before."""

    release: str
    sha256: str
    running: ModuleIds | None
    filesystems: tuple[str, ...]
    processes: tuple[int, ...]


# One look is one round trip, and under emulation a round trip is a quarter of a second, and each program that starts a part of that:
# so one `find` reads all links. Arguments: file, module (each may be empty). A process may end in between, which is no failure.
_LOOK = r"""
echo "release $(uname -r)"
[ -e "$1" ] && echo "sha256 $(sha256sum < "$1")"
if [ -n "$2" ] && [ -e "/sys/module/$2/refcnt" ]; then
    echo "srcversion $(cat "/sys/module/$2/srcversion" 2>/dev/null)"
    echo "note $(od -An -v -tx1 "/sys/module/$2/notes/.note.gnu.build-id" 2>/dev/null | tr -d ' \n')"
fi
[ -n "$2" ] || find /proc/[0-9]*/exe -maxdepth 0 -printf 'process %p %l\n' 2>/dev/null
while read -r words; do echo "filesystem ${words##*[[:space:]]}"; done < /proc/filesystems
"""


def deploy(machine: Guest, spec: ArtifactSpec, artifact: Artifact, *, say: Say | None = None) -> Deployment:
    """Put the artifact into the guest, load a module, and compare what runs with what was built.

    A file travels only where the guest has not the same bytes already. Raises ProductFailure where the guest refuses it or
    runs something else, UsageError where the artifact is none of this guest's, InfrastructureError where it does not arrive.
    """
    tell = say or (lambda _: None)
    path = guest_path(artifact)
    module = module_name(artifact) if artifact.kind is Kind.KERNEL_MODULE else ""
    seen = _look(machine, path, module)
    if module and artifact.target != seen.release:
        message = f"{artifact.path.name} was built for {artifact.target}, the guest runs {seen.release}"
        raise UsageError(message, hint=f"build for the guest's kernel, or boot a guest with {artifact.target}")
    if seen.sha256 == artifact.sha256:
        tell(f"{artifact.label}: the guest has these bytes already")
    else:
        tell(f"{artifact.label}: copying {artifact.size} bytes")
        _unchanged(artifact)
        machine.put(artifact.path, path)
    if module:
        return _deploy_module(machine, spec, artifact, path, seen, tell)
    return _deploy_daemon(machine, spec, artifact, path, seen)


def _look(machine: Guest, path: str, module: str) -> _Seen:
    rows = [line.partition(" ")[::2] for line in _output(machine, ["sh", "-c", _LOOK, "sh", path, module]).splitlines()]
    facts = dict(rows)
    running = None
    if "srcversion" in facts:
        running = ModuleIds(facts["srcversion"].strip(), note_build_id(bytes.fromhex(facts["note"])))
    types = tuple(value for key, value in rows if key == "filesystem")
    return _Seen(facts["release"], facts.get("sha256", "").partition(" ")[0], running, types, _processes(rows, path))


def _processes(rows: list[tuple[str, str]], path: str) -> tuple[int, ...]:
    """Process ids of the rows `process /proc/<id>/exe <what it runs>` that name the file, or one that was replaced since."""
    found = [value.partition(" ")[::2] for key, value in rows if key == "process"]
    return tuple(int(exe.split("/")[2]) for exe, runs in found if runs in (path, f"{path} (deleted)"))


def _unchanged(artifact: Artifact) -> None:
    try:
        here = sha256_file(artifact.path)
    except FileNotFoundError as error:
        raise ProductFailure(f"{artifact.path} is gone since it was built", hint="./inv build") from error
    if here != artifact.sha256:
        message = f"{artifact.path} is not what was built: it has sha256 {here}, built was {artifact.sha256}"
        raise ProductFailure(message, hint="./inv build")


def _arrived(machine: Guest, artifact: Artifact, path: str, module: str, seen: _Seen) -> _Seen:
    """Another look, in which the file must be what was sent; a file that was right at the first look is not read again."""
    there = seen.sha256 == artifact.sha256
    again = _look(machine, "" if there else path, module)
    if there:
        return replace(again, sha256=seen.sha256)
    _require_sent(artifact, path, again.sha256)
    return again


def _require_sent(artifact: Artifact, path: str, sha256: str) -> None:
    if sha256 != artifact.sha256:
        raise InfrastructureError(f"{path} is in the guest with sha256 {sha256 or '(no file)'}, sent was {artifact.sha256}")


def _deploy_module(machine: Guest, spec: ArtifactSpec, artifact: Artifact, path: str, before: _Seen, tell: Say) -> Deployment:
    module = module_name(artifact)
    built, running = built_ids(artifact.path), before.running
    if running is not None and running != built:
        tell(f"{artifact.label}: unloading the build that is loaded ({running})")
        _unload(machine, module, running, built)
        running = None
    if running is None:
        tell(f"{artifact.label}: loading")
        _load(machine, path)
    seen = _arrived(machine, artifact, path, module, before)
    if seen.running is None:
        raise ProductFailure(f"insmod {path} exited 0, but the guest lists no module {module}", hint=_kernel_log(machine))
    if seen.running != built:
        raise ProductFailure(f"the guest runs another build of {module} than the one deployed: running {seen.running}; built {built}")
    if spec.filesystem and spec.filesystem not in seen.filesystems:
        raise ProductFailure(f"{module} is loaded, but /proc/filesystems does not list '{spec.filesystem}'", hint=_kernel_log(machine))
    return Deployment(artifact.name, artifact.sha256, path, str(built), str(seen.running), "srcversion and build id of the loaded module")


def _unload(machine: Guest, module: str, running: ModuleIds, built: ModuleIds) -> None:
    result = machine.run(["rmmod", module], deadline=COMMAND_SECONDS)
    if result.returncode != 0:
        message = f"the guest runs another build of {module} and cannot let it go: running {running}; built {built}"
        holders = _output(machine, ["sh", "-c", f"cat /sys/module/{shlex.quote(module)}/refcnt"]).strip()
        raise ProductFailure(message, hint=f"{_words(result)} (reference count {holders}); unmount it, or use a fresh guest")


def _load(machine: Guest, path: str) -> None:
    result = machine.run(["insmod", path], deadline=COMMAND_SECONDS)
    if result.returncode == 0:
        return
    log = _kernel_log(machine)
    reason = explain(log)
    raise ProductFailure(f"the guest's kernel refuses {path}: {reason or _words(result)}", hint=log)


def explain(log: str) -> str:
    """Why the kernel refused a module, by the last line of its log that says so; empty where none does."""
    for line in reversed(log.splitlines()):
        for pattern, words in _REASONS:
            if match := re.search(pattern, line):
                return words.format(*match.groups())
    return ""


def _deploy_daemon(machine: Guest, spec: ArtifactSpec, artifact: Artifact, path: str, seen: _Seen) -> Deployment:
    stale = {pid: sha for pid, sha in _running_hashes(machine, seen.processes).items() if sha != artifact.sha256}
    if stale:
        pid, sha = next(iter(stale.items()))
        message = f"the guest still runs another build of {artifact.path.name}: process {pid} has sha256 {sha}; built {artifact.sha256}"
        raise ProductFailure(message, hint="unmount it, or use a fresh guest")
    says = _ask(machine, spec, path)
    there = seen.sha256
    if there != artifact.sha256:
        there = _output(machine, ["sha256sum", path]).partition(" ")[0]
        _require_sent(artifact, path, there)
    kind = f"sha256 of the file that answers '{says}'"
    return Deployment(artifact.name, artifact.sha256, path, artifact.sha256, there, kind)


def _ask(machine: Guest, spec: ArtifactSpec, path: str) -> str:
    """The daemon's own words about its version; it must at least start in this guest (V5)."""
    probe = spec.version or spec.help
    if probe is None:
        return "(the manifest names no version probe)"
    result = machine.run([path, *probe.args], deadline=COMMAND_SECONDS)
    words = f"{path} {' '.join(probe.args)}"
    if result.returncode != 0:
        raise ProductFailure(f"'{words}' does not run in the guest: {_words(result)}", hint="is a library missing there? ldd names it")
    missing = [text for text in probe.contains if text not in result.stdout]
    if missing:
        raise ProductFailure(f"'{words}' in the guest does not say '{missing[0]}': {result.stdout.strip()[:200]}")
    return result.stdout.strip().splitlines()[0] if result.stdout.strip() else "(nothing)"


def _running_hashes(machine: Guest, processes: tuple[int, ...]) -> dict[int, str]:
    """The sha256 of what these processes really run, by process id; those that have ended meanwhile are not there."""
    if not processes:
        return {}
    script = 'for pid; do sha256sum "/proc/$pid/exe" 2>/dev/null; done; exit 0'
    found = {}
    for line in _output(machine, ["sh", "-c", script, "sh", *map(str, processes)]).splitlines():
        sha, _, name = line.partition("  ")
        found[int(name.split("/")[2])] = sha
    return found


def _kernel_log(machine: Guest) -> str:
    lines = [line for line in _output(machine, ["dmesg"]).splitlines() if not _UNIMPORTANT.search(line)]
    return "\n".join(lines[-_KERNEL_LOG_LINES:])


def _output(machine: Guest, argv: list[str]) -> str:
    result = machine.run(argv, deadline=COMMAND_SECONDS)
    if result.returncode != 0:
        raise InfrastructureError(f"'{shlex.join(argv)}' in the guest: {_words(result)}")
    return result.stdout


def _words(result: GuestResult) -> str:
    text = (result.stderr or result.stdout).strip().splitlines()
    return f"exit {result.returncode}" + (f": {text[-1]}" if text else "")
