# SPDX-License-Identifier: Apache-2.0
"""Several processes that create, rename, link and remove names in the same few folders, and what must be left at the end."""

from __future__ import annotations

import errno
import os
import random
import stat
import time

from .context import Context, Failed

WORKERS = 4
FOLDERS = 3
NAMES = 12
# What may come back where others change the same names at the same time.
_LOST_RACES = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def churn(t: Context, seconds: float) -> None:
    """Run the workers for `seconds`; each also keeps files of its own, which nobody else touches and which must stay as they are."""
    root = t.path("churn")
    for number in range(FOLDERS):
        os.makedirs(os.path.join(root, str(number)))
    children = []
    for worker in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            os._exit(_worker(root, worker, time.monotonic() + seconds))
        children.append(pid)
    t.op(f"{WORKERS} processes change names in {root}")
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    problems = _problems(root)
    t.check(not problems, "; ".join(problems))
    t.equal("exit codes of the workers", codes, [0] * WORKERS)
    names = _look(t, root)
    t.must(["rm", "-rf", root])
    t.detail = f"{names} names at the end, all found by listing and by name"


def _worker(root: str, worker: int, end: float) -> int:
    """Exit code 0 where everything was as it had to be; else 1, and a file says what was wrong."""
    chosen = random.Random(worker)
    own = os.path.join(root, f"own-{worker}")
    os.mkdir(own)
    turn = 0
    try:
        while time.monotonic() < end:
            turn += 1
            _own(own, worker, turn, chosen)
            try:
                _shared(root, chosen)
            except OSError as error:
                if error.errno not in _LOST_RACES:
                    raise
    except (OSError, Failed) as problem:
        with open(os.path.join(root, f"problem-{worker}"), "w", encoding="utf-8") as file:
            file.write(f"worker {worker}, turn {turn}: {problem}")
        return 1
    return 0


def _shared(root: str, chosen: random.Random) -> None:
    def name() -> str:
        return os.path.join(root, str(chosen.randrange(FOLDERS)), f"n{chosen.randrange(NAMES)}")

    kind = chosen.randrange(6)
    if kind <= 1:
        os.close(os.open(name(), os.O_CREAT | os.O_WRONLY, 0o600))
    elif kind == 2:
        os.rename(name(), name())
    elif kind == 3:
        _link(name(), name())
    elif kind == 4:
        os.unlink(name())
    else:
        path = name()
        os.mkdir(path)
        os.rmdir(path)


def _link(old: str, new: str) -> None:
    """link(2), whose EPERM is a lost race where `old` was a directory of another worker's at that moment; any other EPERM is raised."""
    try:
        os.link(old, new)
    except PermissionError:
        # A directory is there for a few microseconds only: what counts is that a file could be linked again.
        probe = f"{new}-{os.getpid()}"
        with open(probe, "x", encoding="utf-8"):
            pass
        try:
            os.link(probe, f"{probe}-linked")
            os.unlink(f"{probe}-linked")
        finally:
            os.unlink(probe)


def _own(folder: str, worker: int, turn: int, chosen: random.Random) -> None:
    """A file that only this worker knows: made, renamed, read back, removed."""
    path, moved = os.path.join(folder, f"{turn}"), os.path.join(folder, f"{turn}-moved")
    data = f"{worker} {turn} ".encode() * chosen.randrange(1, 400)
    with open(path, "xb") as file:
        file.write(data)
    os.rename(path, moved)
    if os.path.exists(path):
        raise Failed(f"{path} is still there after it was renamed")
    with open(moved, "rb") as file:
        if file.read() != data:
            raise Failed(f"{moved} does not hold what was written to it before it was renamed")
    if turn % 4:
        os.unlink(moved)
        if os.path.exists(moved):
            raise Failed(f"{moved} is still there after it was removed")


def _problems(root: str) -> list[str]:
    found = []
    for worker in range(WORKERS):
        path = os.path.join(root, f"problem-{worker}")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found.append(file.read())
    return found


def _look(t: Context, root: str) -> int:
    """Every name that a listing gives can be looked up, is there once, and the links of each inode are as many as its names.

    A directory may be left: one worker renames what another has just made and is about to remove. It has a name and two links.
    """
    t.op(f"look at all names in {root}")
    links: dict[int, tuple[int, int]] = {}
    count = 0
    for number in range(FOLDERS):
        folder = os.path.join(root, str(number))
        names = os.listdir(folder)
        t.equal(f"names in {folder} that are there twice", len(names) - len(set(names)), 0)
        for name in names:
            found = os.lstat(os.path.join(folder, name))
            own = 1 if stat.S_ISDIR(found.st_mode) else 0  # the link that is the directory's '.'
            links[found.st_ino] = (links.get(found.st_ino, (0, 0))[0] + 1, found.st_nlink - own)
            count += 1
    wrong = {inode: pair for inode, pair in links.items() if pair[0] != pair[1]}
    t.equal("inodes whose names are not as many as their links (names, links)", wrong, {})
    return count
