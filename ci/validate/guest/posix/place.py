# SPDX-License-Identifier: Apache-2.0
"""A case's own place: a fresh working folder, files described in a word each, other users, descriptors that are closed behind it."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..context import Context, Failed

ALICE, BOB, STAFF = 1001, 1002, 2001  # two users and a group that own nothing else in the guest
CONTENT = b"content of the file\n"
_READ_LIMIT = 1 << 16
_COARSE = 5  # CLOCK_REALTIME_COARSE of clock_gettime(2), the clock that stamps files


class Place:
    """What a case gets. Root with umask 022 is in the folder; anybody may write there."""

    def __init__(self, context: Context, folder: str) -> None:
        self.context = context
        self.folder = folder
        self._descriptors: list[int] = []

    def enter(self) -> None:
        """Make the folder, and the working folder of it."""
        os.umask(0o022)
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        os.chdir(self.folder)

    def leave(self) -> None:
        """Close what the case has opened, and leave the folder."""
        for descriptor in self._descriptors:
            with suppress(OSError):  # the case has closed it itself
                os.close(descriptor)
        os.umask(0o022)
        os.chdir("/")

    def step(self, text: str) -> None:
        """Say what is done next where a case makes so many calls that the deadline of one operation is none for all of them."""
        self.context.op(text)

    def check(self, good: bool, message: str) -> None:
        """Fail with the message unless `good`."""
        self.context.check(good, message)

    def equal(self, what: str, seen: Any, expected: Any) -> None:
        """Fail unless equal."""
        self.context.equal(what, seen, expected)

    def refuses(self, what: str, action: Callable[[], Any], *codes: int) -> None:
        """The action must fail with one of these errors."""
        self.context.refuses(what, action, *codes)

    def make(self, given: str) -> None:
        """Make what the words say, in their order: `d/` a directory, `f` a file with CONTENT, `empty!` an empty one, `l->f` a symlink,
        `g<f` a link to f, `p|` a fifo, `s=` a socket; `:MODE` and `:MODE:OWNER` may follow."""
        for word in given.split():
            name, *rest = word.split(":")
            path = self._make(name)
            if len(rest) > 1:
                os.chown(path, int(rest[1]), int(rest[1]), follow_symlinks=False)
            if rest:
                os.chmod(path, int(rest[0], 8))

    @staticmethod
    def _make(word: str) -> str:
        if "->" in word:
            path, _, target = word.partition("->")
            os.symlink(target, path)
            return path
        if "<" in word:
            path, _, old = word.partition("<")
            os.link(old, path, follow_symlinks=False)
            return path
        path, kind = (word[:-1], word[-1]) if word[-1] in "/|=!" else (word, "")
        if kind == "/":
            os.makedirs(path, exist_ok=path == ".")
        elif kind == "|":
            os.mkfifo(path)
        elif kind == "=":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path)
        else:
            write(path, b"" if kind == "!" else CONTENT)
        return path

    def open(self, path: str, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o644) -> int:
        """open(2); closed when the case has ended."""
        descriptor = os.open(path, flags, mode)
        self._descriptors.append(descriptor)
        return descriptor

    def keep(self, descriptor: int) -> int:
        """Close this descriptor, too, when the case has ended."""
        self._descriptors.append(descriptor)
        return descriptor

    def as_user(self, uid: int, call: Callable[[], Any], *, gid: int = 0, groups: Sequence[int] = ()) -> Any:
        """The call as that user (group `gid`, or of the user's number); working folder and umask are afterwards as they were.

        In this process, because to fork it takes an emulated guest longer than everything else that most cases do. The saved ids stay
        root's, which no file system sees.
        """
        with _identity(uid, gid or uid, groups):
            return call()

    def in_child(self, uid: int, call: Callable[[], Any]) -> Any:
        """The same in a process of its own, for what the call does to its process; its answer must be what JSON can say."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _call_as(uid, call, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            told = answers.read()
        _, status = os.waitpid(pid, 0)
        if not told:
            raise Failed(f"the process of user {uid} ended with status {status} and said nothing")
        answer = json.loads(told)
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        if "failed" in answer:
            raise Failed(answer["failed"])
        if "broken" in answer:
            raise RuntimeError(answer["broken"])
        return answer["value"]

    def tick(self) -> None:
        """Wait until the kernel's clock for files goes on, so that a later change has a later time."""
        begin = time.clock_gettime_ns(_COARSE)
        while time.clock_gettime_ns(_COARSE) == begin:
            time.sleep(0.0005)

    def state(self) -> dict[str, Any]:
        """All that is in the folder: types, modes, owners, links, sizes, times of changes, contents."""
        found = {".": _facts(".")}
        for top, folders, files in os.walk(".", onerror=_raise):
            for name in (*folders, *files):
                path = os.path.join(top, name)
                found[path[2:]] = _facts(path)
        return found


def _raise(error: OSError) -> None:
    raise error


def _facts(path: str) -> tuple[Any, ...]:
    found = os.lstat(path)
    more: Any = ""
    if stat.S_ISLNK(found.st_mode):
        more = os.readlink(path)
    elif stat.S_ISREG(found.st_mode) and found.st_size <= _READ_LIMIT:
        more = read(path).hex()
    owner = (found.st_uid, found.st_gid)
    return oct(found.st_mode), owner, found.st_nlink, found.st_size, found.st_mtime_ns, found.st_ctime_ns, more


@contextmanager
def _identity(uid: int, gid: int, groups: Sequence[int]) -> Iterator[None]:
    """Real and effective ids, and with them the ids and capabilities that a file system asks for, of somebody else."""
    own, here = os.getgroups(), os.open(".", os.O_PATH)
    mask = os.umask(0o022)
    os.umask(mask)
    os.setgroups(list(groups))
    os.setresgid(gid, gid, 0)
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(own)
        os.umask(mask)
        os.fchdir(here)
        os.close(here)


def _call_as(uid: int, call: Callable[[], Any], writer: int) -> None:
    """In the forked process: never returns."""
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        answer: dict[str, Any] = {"value": call()}
    except OSError as error:
        answer = {"errno": error.errno or errno.EIO}
    except Failed as failure:
        answer = {"failed": str(failure)}
    except BaseException:
        answer = {"broken": traceback.format_exc()}
    os.write(writer, json.dumps(answer).encode())
    os._exit(0)


def write(path: str, content: bytes) -> None:
    """A file of just this content."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        if content:
            os.write(descriptor, content)
    finally:
        os.close(descriptor)


def read(path: str) -> bytes:
    """All of a file."""
    with open(path, "rb") as file:
        return file.read()


def mode(path: str) -> str:
    """Permissions and special bits in octal, of a symlink itself."""
    return oct(os.lstat(path).st_mode & 0o7777)


def closing(descriptor: int) -> None:
    """For a call whose descriptor nobody needs."""
    os.close(descriptor)


def after(first: Callable[[], Any], then: Callable[[], Any]) -> Any:
    """What the second call answers when the first has been made."""
    first()
    return then()
