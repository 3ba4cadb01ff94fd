# SPDX-License-Identifier: Apache-2.0
"""Remembers on disk what this process started, so that a later start can clean up after a `kill -9`.

Each tool process owns a folder `<state>/owners/<owner_id>/`; every entry in it is one thing that
must not outlive the tool: a process, a mount, a folder, a worktree, a guest. Entries vanish when the thing is
released. `sweep` releases the entries of owners that are gone. The state lives in a short path, because
UNIX socket paths in it may have at most 107 bytes.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

Release = Callable[[dict[str, str]], None]
_INITIAL_NAMESPACE = 0xEFFFFFFC  # the kernel's PROC_PID_INIT_INO: from there every process is seen


def state_dir() -> Path:
    """The folder of this user's live state (`VEXCI_STATE`, else /tmp/vexci-<uid>), 0700 and ours."""
    path = Path(os.environ.get("VEXCI_STATE") or f"/tmp/vexci-{os.getuid()}")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise PermissionError(f"{path} is not a folder of this user; set VEXCI_STATE to one that is")
    return path


def owner_id(pid: int | None = None) -> str:
    """`<pid>-<start time>-<PID namespace>`, which no other process has had or will have until the next boot."""
    process = psutil.Process(pid)
    return f"{process.pid}-{int(process.create_time() * 100)}-{_namespace()}"


def alive(owner: str) -> bool:
    """True while the process that `owner_id` named still runs, or where it cannot be seen from here: a container may share the state."""
    if _parts(owner)[2] != _namespace() != _INITIAL_NAMESPACE:
        return True
    return _find(owner) is not None


def _find(owner: str) -> psutil.Process | None:
    """The process that `owner_id` named, which has another number here where it named it in another PID namespace."""
    pid, start, namespace = _parts(owner)
    seen = [pid] if namespace == _namespace() else [each for each in psutil.pids() if _inside(each) == (namespace, pid)]
    for each in seen:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(each)
            if int(process.create_time() * 100) == start and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


def _parts(owner: str) -> tuple[int, int, int]:
    """Number, start and namespace; records that are older than the third have none, and are of this one."""
    pid, start, *namespace = map(int, owner.split("-"))
    return pid, start, namespace[0] if namespace else _namespace()


def _inside(pid: int) -> tuple[int, int]:
    """The PID namespace of a process, and its number there; zeros where it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino, int(re.findall(r"(?m)^NSpid:.*\s(\d+)$", Path(f"/proc/{pid}/status").read_text())[0])
    except (OSError, IndexError):
        return 0, 0


@functools.cache
def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _own_folder() -> Path:
    folder = state_dir() / "owners" / owner_id()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def entry(kind: str, name: str, facts: dict[str, str]) -> Iterator[None]:
    """Keep a note of one thing to release while the body runs."""
    path = _own_folder() / f"{kind}-{name}.json"
    path.write_text(json.dumps({"kind": kind, **facts}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other entries are still there
            path.parent.rmdir()


@contextmanager
def process(pid: int) -> Iterator[None]:
    """Note a process tree, led by `pid`, that must not outlive the tool."""
    try:
        owner = owner_id(pid)
    except psutil.NoSuchProcess:
        yield
        return
    with entry("process", str(pid), {"owner": owner}):
        yield


@contextmanager
def mount(path: Path) -> Iterator[None]:
    """Note a mount point that must not outlive the tool."""
    with entry("mount", path.name, {"path": str(path)}):
        yield


def _release_process(facts: dict[str, str]) -> None:
    leader = _find(facts["owner"])
    if leader is None:
        return
    members = [leader, *leader.children(recursive=True)]
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(members, timeout=5)


def _release_mount(facts: dict[str, str]) -> None:
    if os.path.ismount(facts["path"]):
        subprocess.run(["umount", "-l", facts["path"]], check=True, timeout=20, stdin=subprocess.DEVNULL)


def _release_folder(facts: dict[str, str]) -> None:
    shutil.rmtree(facts["path"], ignore_errors=True)


def release_worktree(facts: dict[str, str]) -> None:
    """Remove a linked worktree of git's, and git's note of it. One that is half-made, and one without its repository, is a folder."""
    if not os.path.isdir(facts["repository"]):
        return _release_folder(facts)
    git = ["git", "-C", facts["repository"], "worktree"]
    # One whose checkout was ended is still locked, and would never be pruned; one that is not locked refuses, which is as good.
    subprocess.run([*git, "unlock", facts["path"]], check=False, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    _release_folder(facts)
    subprocess.run([*git, "prune"], check=True, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)


_RELEASES: dict[str, Release] = {
    "process": _release_process,
    "mount": _release_mount,
    "folder": _release_folder,
    "worktree": release_worktree,
}
# Processes first: they hold mounts and folders.
_ORDER = ("process", "guest", "mount", "folder", "worktree")


def register(kind: str, release: Release) -> None:
    """Say how entries of another kind (a guest) are released; the stage that owns the kind calls this."""
    _RELEASES[kind] = release


def sweep(*, own: bool = False) -> list[str]:
    """Release what dead tool processes left behind; returns one sentence for each thing.

    With `own`, release instead what this process still holds: the last act before it ends.
    """
    done: list[str] = []
    owners = state_dir() / "owners"
    for folder in sorted(owners.iterdir()) if owners.is_dir() else []:
        if folder.name != owner_id() if own else alive(folder.name):
            continue
        entries = [(path, json.loads(path.read_text())) for path in folder.glob("*.json")]
        entries.sort(key=lambda pair: _ORDER.index(pair[1]["kind"]))
        for path, facts in entries:
            release = _RELEASES.get(facts["kind"])
            if release is None:
                continue  # a task that knows this kind will release it
            release(facts)
            path.unlink(missing_ok=True)
            done.append(f"released a {facts['kind']} that an earlier run left behind ({path.stem})")
        with suppress(OSError):
            folder.rmdir()
    return done
