# SPDX-License-Identifier: Apache-2.0
"""The one place that starts processes: argv lists, deadlines, logs in files, whole process trees.

Output always goes to files and never to a pipe that somebody must drain (failure mode P2). A process
that outlives its deadline, is silent for too long, or floods its log is diagnosed and then killed with
everything it started.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from ci import leftovers
from ci.errors import Hang, InfrastructureError, Interrupted, UsageError
from ci.flood import Flood
from ci.gentle import gently as gently
from ci.gentle import give_way
from ci.signals import Signals as Signals
from ci.signals import cancelled as cancelled
from ci.signals import signals as signals

POLL_SECONDS = 0.05
# A look at a whole tree reads /proc of every process on the machine: of the watcher's time it may take one part in so many.
TREE_SHARE = 20
KILL_GRACE_SECONDS = 3.0
DEFAULT_LOG_LIMIT = 256 << 20

Diagnose = Callable[[psutil.Process], tuple[Path, ...]]


@dataclass(frozen=True)
class Completed:
    """A process that ended by itself. `stdout` and `stderr` are log files; equal where they were merged."""

    argv: tuple[str, ...]
    returncode: int
    seconds: float
    stdout: Path
    stderr: Path

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    def text(self) -> str:
        """Standard output as text; undecodable bytes are kept visible."""
        return self.stdout.read_text(errors="backslashreplace")

    def error_text(self) -> str:
        """Standard error as text."""
        return self.stderr.read_text(errors="backslashreplace")

    @property
    def how(self) -> str:
        """How it ended, in words: `exit 2`, or `killed by SIGSEGV`."""
        return describe_returncode(self.returncode)


def describe_returncode(code: int) -> str:
    """`exit N`, or the name of the signal that ended the process (negative, as subprocess has it)."""
    if code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit {code}"


def find_program(name: str, *, hint: str = "") -> str:
    """The full path of a program on PATH (the system folders included), or a UsageError that says so."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise UsageError(f"the program '{name}' is not installed", hint=hint or "./inv doctor says how to get it")
    return found


def cores() -> int:
    """The processors that this process may use, at least one."""
    return len(os.sched_getaffinity(0))


def tree(process: psutil.Process) -> list[psutil.Process]:
    """The process and all its living descendants, also those that left its process group."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(process: psutil.Process) -> float:
    """User plus system time of the whole tree, finished children included."""
    total = 0.0
    for member in tree(process):
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def kill_tree(process: psutil.Process) -> None:
    """SIGTERM, then after a grace SIGKILL, to the process and all its descendants; returns when they are gone.

    A process that sits in uninterruptible sleep cannot be killed; it is left to the caller's diagnosis.
    """
    members = tree(process)
    for member in members:
        _signal(member, signal.SIGTERM)
    _, alive = psutil.wait_procs(members, timeout=KILL_GRACE_SECONDS)
    for member in {*alive, *(m for a in alive for m in tree(a))}:
        _signal(member, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=KILL_GRACE_SECONDS)


def _kill_group(group: int) -> None:
    """End what the leader left behind in its process group (its session is its own, so the group is ours)."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody is left, as it should be


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass  # it ended between the look and the signal, which is what was wanted


@dataclass
class Limits:
    """What a process may take. Seconds and bytes; None means no limit of that sort.

    `silence` is the longest time without any growth of the log and without any CPU use in the whole tree. `folder` may hold
    `folder_bytes`, looked at where the disk under it lost that much; `processes` is how many may live at a time.
    """

    deadline: float | None
    silence: float | None = None
    log_bytes: int = DEFAULT_LOG_LIMIT
    folder: Path | None = None
    folder_bytes: int = 8 << 30
    processes: int | None = None


@contextmanager
def started(
    argv: Sequence[str | Path],
    *,
    stdout: Path,
    stderr: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A running process in its own session, its output in files; on leaving, its whole tree is ended.

    Without `stderr` both streams go to `stdout`. Raises UsageError where the program does not exist.
    """
    stdout.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with signals.held(), open(stdout, "ab") as out, open(stderr or stdout, "ab") as err:
            process = _born([str(word) for word in argv], out, err, cwd, env, pass_fds)
            stack.enter_context(_ended_with_us(process))
        give_way(process.pid)
        yield process


def _born(
    words: list[str], out: IO[bytes], err: IO[bytes], cwd: Path | None, env: Mapping[str, str] | None, pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    """The process, or an error that says in words why there is none."""
    environment = dict(env) if env is not None else None
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=cwd,
            env=environment,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise UsageError(f"the folder {cwd} does not exist") from error
        raise UsageError(f"the program '{words[0]}' is not installed", hint="./inv doctor says how to get it") from error
    except PermissionError as error:
        raise UsageError(f"'{words[0]}' may not be executed: {error.strerror}") from error
    except OSError as error:
        raise InfrastructureError(f"cannot start '{words[0]}': {error.strerror}") from error


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens in the body, the process and all that it started are ended on leaving."""
    with leftovers.process(process.pid):
        try:
            yield
        finally:
            if process.poll() is None:
                kill_tree(psutil.Process(process.pid))
                process.poll()
            _kill_group(process.pid)


def run(
    argv: Sequence[str | Path],
    *,
    limits: Limits,
    log: Path | None = None,
    stderr: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    progress: Callable[[float], None] | None = None,
    diagnose: Diagnose | None = None,
    what: str = "",
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run to the end and return how it ended; a non-zero exit is the caller's to judge.

    `log` receives both streams, or standard output alone where `stderr` is given; without it a temporary
    file that is kept until the tool exits. `progress` is called about ten times a second with the elapsed
    seconds. Raises Hang (deadline or silence; `diagnose` runs first and its files are attached) and
    InfrastructureError (the log flooded the disk).
    """
    log = log if log is not None else scratch_file("run.log")
    name = what or Path(str(argv[0])).name
    begin = time.monotonic()
    with started(argv, stdout=log, stderr=stderr, cwd=cwd, env=env, pass_fds=pass_fds) as process:
        watch = _Watch(process, limits, [log] + ([stderr] if stderr else []), begin)
        while process.poll() is None:
            if cancelled.is_set() and threading.current_thread() is not threading.main_thread():
                raise Interrupted("the end of the tool")
            problem = watch.problem()
            if problem is not None:
                files = diagnose(psutil.Process(process.pid)) if diagnose else ()
                kill_tree(psutil.Process(process.pid))
                if problem.startswith("flood"):
                    raise InfrastructureError(f"{name}: {problem}", evidence=(log,))
                raise Hang(f"{name}: {problem}", hint=f"read {log}", evidence=(*files, log))
            if progress is not None:
                progress(time.monotonic() - begin)
            wait_exit(process, POLL_SECONDS)
    return Completed(tuple(str(w) for w in argv), process.returncode, time.monotonic() - begin, log, stderr or log)


def wait_exit(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait up to `seconds` for the end of the process; True if it has ended.

    Sleeps in the kernel and sees the end at once, where Popen.wait with a limit looks now and then, up to 50 ms too late.
    """
    if process.poll() is None:
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return process.poll() is not None  # another thread has just seen it end
        try:
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            poller.poll(seconds * 1000)
        finally:
            os.close(handle)
    return process.poll() is not None


class _Watch:
    """Looks at one process: deadline, log growth, CPU time of the tree, log size."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits, logs: list[Path], begin: float) -> None:
        self._process = psutil.Process(process.pid)
        self._limits = limits
        self._logs = logs
        self._begin = begin
        self._seen: tuple[int, float] = (-1, -1.0)
        self._moved = begin
        self._flood = Flood(limits.folder, limits.folder_bytes) if limits.folder else None
        self._next_look = begin

    def problem(self) -> str | None:
        """A sentence about what is wrong, or None."""
        now = time.monotonic()
        size = sum(log.stat().st_size for log in self._logs if log.exists())
        if size > self._limits.log_bytes:
            return f"flooded its log with {size >> 20} MiB and was stopped"
        if self._limits.deadline is not None and now - self._begin > self._limits.deadline:
            return f"did not end within {self._limits.deadline:g} s and was killed" + self._about_log(size)
        if self._flood is not None and (flooded := self._flood.seen()):
            return flooded
        if now < self._next_look:
            return None
        spent = time.thread_time()
        try:
            return self._about_tree(size, now)
        finally:
            self._next_look = now + TREE_SHARE * (time.thread_time() - spent)

    def _about_tree(self, size: int, now: float) -> str | None:
        """What is wrong with the processes: too many, or neither CPU time nor log growth for too long."""
        if self._limits.processes is not None and (count := len(tree(self._process))) > self._limits.processes:
            return f"had {count} processes at a time and was killed; does it call itself?"
        if self._limits.silence is None:
            return None
        state = (size, round(cpu_seconds(self._process), 2))
        if state != self._seen:
            self._seen, self._moved = state, now
        elif now - self._moved > self._limits.silence:
            return f"made no progress for {self._limits.silence:g} s (no log growth, no CPU time) and was killed" + self._about_log(size)
        return None

    def _about_log(self, size: int) -> str:
        return "; its log is empty" if size == 0 else ""


def attached(argv: Sequence[str], *, limits: Limits, cwd: Path, env: Mapping[str, str] | None = None) -> int:
    """Run a program that speaks to the user's own terminal; returns its exit code.

    Only for what a person watches or types into (pytest, ssh): its output is not kept, and of the limits
    only the deadline holds. Its tree is ended when the caller is interrupted.
    """
    try:
        process = subprocess.Popen(list(argv), cwd=cwd, env=dict(env) if env is not None else None)
    except FileNotFoundError as error:
        raise UsageError(f"the program '{argv[0]}' is not installed", hint="./inv doctor says how to get it") from error
    with leftovers.process(process.pid):
        try:
            return process.wait(limits.deadline)
        except subprocess.TimeoutExpired as error:
            raise Hang(f"{Path(argv[0]).name}: did not end within {limits.deadline:g} s and was killed") from error
        finally:
            if process.poll() is None:
                kill_tree(psutil.Process(process.pid))
                process.wait()


_scratch: tempfile.TemporaryDirectory[str] | None = None
_scratch_lock = threading.Lock()


def scratch_file(name: str) -> Path:
    """A fresh file path in a folder that is removed when the tool exits."""
    global _scratch
    with _scratch_lock:
        if _scratch is None:
            _scratch = tempfile.TemporaryDirectory(prefix="vexci-")
            note = leftovers.entry("folder", Path(_scratch.name).name, {"path": _scratch.name})  # for a tool that is killed
            note.__enter__()
            atexit.register(note.__exit__, None, None, None)
    handle, path = tempfile.mkstemp(suffix=f"-{name}", dir=_scratch.name)
    os.close(handle)
    return Path(path)


def output(argv: Sequence[str | Path], *, deadline: float = 30, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Standard output of a short command that must succeed; InfrastructureError with its own words if not."""
    err = scratch_file("stderr")
    done = run(argv, limits=Limits(deadline), cwd=cwd, env=env, stderr=err)
    if not done.ok:
        tail = (done.error_text() or done.text()).strip().splitlines()[-3:]
        raise InfrastructureError(f"{' '.join(done.argv[:3])}: {done.how}: {' / '.join(tail)}")
    return done.text()
