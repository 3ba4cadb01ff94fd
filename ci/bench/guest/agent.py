# SPDX-License-Identifier: Apache-2.0
"""One measurement in the guest: set up, mount, prove the mount, run the workload under a watchdog, prove again, clean up.

The job is a JSON file; everything found goes to its `folder`/out, and at the end one line on standard output carries the
verdict and those files back to the host. Heartbeat lines before it show the host that the agent itself is alive.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ci import procfs
from ci.bench.guest import mounts, watch

RESULT_MARK = "VEXCI-RESULT "
SENT_BYTES = 1 << 20
SPY_SECONDS = 20.0
# How programs end that were asked to: by themselves, by the signal, or with the number that shells and Go give it.
STOPPED = (0, -signal.SIGTERM, 128 + signal.SIGTERM, 128 + signal.SIGINT)
MOST_MOUNTS = 8  # that may lie on top of each other at one point


class Failed(Exception):
    """The measurement ends here: `verdict` is fail, hang or infra."""

    def __init__(self, verdict: str, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict


@dataclass(frozen=True)
class Job:
    """One measurement; ci/bench/jobs.py writes it. All argv lists are complete, no placeholder is left.

    `below` are mount points that `setup` makes; they are unmounted at the end. Without a `filesystem` nothing is mounted: `mount` is
    then a server (or nothing), and `ready` a command that ends with 0 once it answers. {port} stands for a free port of loopback,
    {daemon} in `command` for the pid of what stays (0 if nothing does). `spy` is py-spy, which shows where Python processes hang.
    `after` are commands that run at the very end, whatever happened.
    """

    system: str
    filesystem: str
    folder: str
    mountpoint: str
    setup: list[list[str]]
    mount: list[str]
    foreground: bool
    below: list[str]
    command: list[str]
    raw: str
    artifact: str
    artifact_sha256: str
    step_deadline: float
    deadline: float
    silence: float
    ready: list[str] = field(default_factory=list)
    after: list[list[str]] = field(default_factory=list)
    spy: str = ""


def _say(text: str) -> None:
    print(text, flush=True)


class Measurement:
    """Runs one job. `phase` names what is going on, for the result and the heartbeat."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.out = Path(job.folder) / "out"
        self.point = Path(job.mountpoint)
        self.phase = "start"
        self.result: dict[str, Any] = {}
        self.daemon: subprocess.Popen[bytes] | None = None
        self.running: list[int] = []
        self.mounted: mounts.Mount | None = None

    def run(self) -> dict[str, Any]:
        """All steps; the verdict as a dictionary. Cleans up on every way out."""
        begin = time.monotonic()
        failure: Failed | None = None
        try:
            self._measure()
        except Failed as error:
            failure = error
        self.result["phase"] = self.phase
        leftover = self._clean(hung=failure is not None and failure.verdict == "hang")
        if failure is None and leftover:
            failure = Failed("hang", "; ".join(leftover))
        self.result.update(
            verdict=failure.verdict if failure else "pass",
            detail=str(failure) if failure else "measured",
            leftover=leftover,
            seconds=round(time.monotonic() - begin, 3),
        )
        return self.result

    def _measure(self) -> None:
        self.out.mkdir(parents=True)
        self._check_artifact()
        self.phase = "setup"
        self.point.mkdir(parents=True)
        for number, argv in enumerate(self.job.setup):
            self._step(f"setup-{number}", argv, "infra")
        if not self.job.filesystem:
            self._measure_unmounted()
            return
        self.phase = "mount"
        self._mount()
        self.phase = "proof before"
        self.mounted = self._prove()
        self.result["mount"] = asdict(self.mounted)
        self.phase = "workload"
        self._workload()
        self.phase = "proof after"
        self._same_mount()
        self.phase = "unmount"
        self._unmount()

    def _measure_unmounted(self) -> None:
        """A library, which proves itself in the workload by its version, or a server, which must answer before and after."""
        if self.job.mount:
            self.phase = "server start"
            self._serve()
        self.phase = "workload"
        self._workload()
        if self.daemon is not None:
            self.phase = "proof after"
            if self.daemon.poll() is not None:
                raise self._daemon_failed(self.daemon, "during the measurement")
            self._step("proof-after", self.job.ready, "fail")
            self.phase = "server stop"
            os.killpg(self.daemon.pid, signal.SIGTERM)
            limits = watch.Limits(self.job.step_deadline, self.job.silence)
            self._watch("the server's end", limits, [self.daemon.pid], [self.out / "daemon.log"], watch.ended(self.daemon))
            if self.daemon.returncode not in STOPPED:
                raise self._daemon_failed(self.daemon, "after SIGTERM")

    def _serve(self) -> None:
        """Start the server and ask until it answers; each question is a process of its own, so that one that hangs is seen."""
        log = self.out / "daemon.log"
        self.daemon = daemon = self._start(self.job.mount, log)
        exited = watch.ended(daemon)
        asking: list[subprocess.Popen[bytes]] = []

        def ready(timeout: float) -> bool:
            if not asking or asking[-1].poll() is not None:
                if asking and asking.pop().returncode == 0:
                    return True
                asking.append(self._start(self.job.ready, self.out / "ready.log"))
            if exited(min(timeout, 0.05)):
                raise self._daemon_failed(daemon, "before it answered")
            return False

        self._watch("the server", watch.Limits(self.job.step_deadline, self.job.silence), [daemon.pid], [log], ready)

    def _check_artifact(self) -> None:
        """What is measured must be what was built (failure mode M8)."""
        if not self.job.artifact:
            return
        path = Path(self.job.artifact)
        if not path.is_file():
            raise Failed("fail", f"{path} is not in the guest")
        if (seen := hashlib.sha256(path.read_bytes()).hexdigest()) != self.job.artifact_sha256:
            raise Failed("fail", f"{path} is not what was built: sha256 {seen[:12]}…, expected {self.job.artifact_sha256[:12]}…")

    def _watch(self, what: str, limits: watch.Limits, leaders: list[int], logs: list[Path], done: Callable[[float], bool]) -> None:
        self.running = leaders
        try:
            watch.Watch(what, limits, leaders, logs, _say).wait(done)
        except watch.Stuck as stuck:
            daemon = [self.daemon.pid] if self.daemon else []
            with mounts.fuse_state(self.out / "fusectl.log"):
                procfs.collect([*leaders, *daemon], self.out / "diagnosis", [*logs, *([self.out / "daemon.log"] if daemon else [])])
            self._spy([*leaders, *daemon])
            raise Failed(stuck.verdict, str(stuck)) from stuck

    def _spy(self, leaders: list[int]) -> None:
        """The Python stacks of what hangs, where py-spy is there; it stops a process for a moment only."""
        for stat in procfs.members(leaders) if self.job.spy else ():
            if stat.comm.startswith("python"):
                with open(self.out / "diagnosis" / f"python-{stat.pid}.txt", "wb") as file:
                    argv = [self.job.spy, "dump", "--pid", str(stat.pid)]
                    try:
                        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=SPY_SECONDS, check=False)
                    except subprocess.TimeoutExpired:
                        file.write(f"py-spy did not end within {SPY_SECONDS:g} s\n".encode())

    def _step(self, name: str, argv: list[str], verdict: str) -> str:
        """A short command that must succeed; its output."""
        log = self.out / f"{name}.log"
        process = self._start(argv, log)
        limits = watch.Limits(self.job.step_deadline, self.job.silence)
        self._watch(argv[0], limits, [process.pid], [log], watch.ended(process))
        if process.returncode != 0:
            raise Failed(verdict, f"'{' '.join(argv)}' ended with {_how(process.returncode)}: {_last_line(log)}")
        return log.read_text(errors="backslashreplace")

    def _start(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        try:
            return watch.start(argv, log)
        except FileNotFoundError as error:
            raise Failed("infra", f"the program '{argv[0]}' is not in the guest") from error
        except OSError as error:
            raise Failed("fail", f"'{argv[0]}' cannot be started: {error.strerror}") from error

    def _mount(self) -> None:
        if not self.job.foreground:
            self._step("mount", self.job.mount, "fail")
            return
        log = self.out / "daemon.log"
        self.daemon = daemon = self._start(self.job.mount, log)
        exited = watch.ended(daemon)

        def ready(timeout: float) -> bool:
            end = time.monotonic() + timeout
            while mounts.at(self.point) is None:
                if exited(0.02):
                    raise self._daemon_failed(daemon, "before it mounted")
                if time.monotonic() > end:
                    return False
            return True

        self._watch("the daemon's mount", watch.Limits(self.job.step_deadline, self.job.silence), [daemon.pid], [log], ready)

    def _prove(self) -> mounts.Mount:
        name = self.phase.replace(" ", "-")
        # A child asks, because a file system that hangs would take the agent along; stat(1) starts ten times faster than Python.
        text = self._step(name, ["stat", "--format=%d", str(self.point), str(self.point.parent)], "fail")
        answered, below = (mounts.device(int(number)) for number in text.split())
        try:
            return mounts.prove(self.point, self.job.filesystem, answered, below)
        except mounts.NotMounted as error:
            raise Failed("fail", str(error)) from error

    def _same_mount(self) -> None:
        if self.daemon is not None and self.daemon.poll() is not None:
            raise self._daemon_failed(self.daemon, "during the measurement")
        now = self._prove()
        if now != self.mounted:
            raise Failed("fail", f"{self.point} is another mount than before the measurement: {now}, was {self.mounted}")

    def _workload(self) -> None:
        log, raw = self.out / "workload.log", self.out / self.job.raw
        number = str(self.daemon.pid if self.daemon else 0)
        process = self._start([word.replace("{daemon}", number) for word in self.job.command], log)
        leaders = [process.pid] + ([self.daemon.pid] if self.daemon else [])
        logs = [log, raw] + ([self.out / "daemon.log"] if self.daemon else [])
        begin, busy = time.monotonic(), time.process_time()
        self._watch("the workload", watch.Limits(self.job.deadline, self.job.silence), leaders, logs, watch.ended(process))
        # What watching took of a processor, in seconds, and how long it lasted.
        self.result["watching"] = {"processor": time.process_time() - busy, "elapsed": time.monotonic() - begin}
        if process.returncode != 0:
            raise Failed("fail", f"the workload ended with {_how(process.returncode)}: {_last_line(log)}")
        if not raw.is_file() or raw.stat().st_size == 0:
            raise Failed("fail", "the workload ended with exit 0 and left no result")

    def _unmount(self) -> None:
        self._step("unmount", ["umount", str(self.point)], "fail")
        if self.daemon is not None and self.daemon.poll() is None:
            limits = watch.Limits(self.job.step_deadline, self.job.silence)
            self._watch("the daemon's end after unmount", limits, [self.daemon.pid], [self.out / "daemon.log"], watch.ended(self.daemon))
        if self.daemon is not None and self.daemon.returncode != 0:
            raise self._daemon_failed(self.daemon, "after unmount")

    def _daemon_failed(self, daemon: subprocess.Popen[bytes], when: str) -> Failed:
        return Failed("fail", f"the daemon ended with {_how(daemon.returncode)} {when}: {_last_line(self.out / 'daemon.log')}")

    def _clean(self, *, hung: bool) -> list[str]:
        """Leave nothing behind: processes, mounts, what the setup made. Returns what could not be removed."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        leaders = {*self.running, *([self.daemon.pid] if self.daemon else [])}
        leftover = watch.kill(sorted(leaders))
        for argv in self.job.after:
            leftover += self._tidy(argv)
        flags = ["-f", "-l"] if hung else ["-l"]
        for point in (self.point, *map(Path, self.job.below)):
            for _ in range(MOST_MOUNTS):
                if mounts.at(point) is None:
                    break
                leftover += self._tidy(["umount", *flags, str(point)])
            if (mount := mounts.at(point)) is not None:
                leftover.append(f"{mount.filesystem} is still mounted at {point}")
        return leftover

    def _tidy(self, argv: list[str]) -> list[str]:
        try:
            self._step("clean", argv, "fail")
        except Failed as error:
            return [*watch.kill(self.running), str(error)]
        return []


def _how(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _last_line(log: Path) -> str:
    lines = procfs.tail(log).splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _bundle(folder: Path) -> str:
    """All files of a folder as base64 of a gzipped tar, so that one channel carries everything.

    Of a file that is larger than `SENT_BYTES` only the end is sent, and its first line says so.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            data = _end_of(path)
            info = tarfile.TarInfo(str(path.relative_to(folder)))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return base64.b64encode(buffer.getvalue()).decode()


def _end_of(path: Path) -> bytes:
    size = path.stat().st_size
    with open(path, "rb") as file:
        if size <= SENT_BYTES:
            return file.read()
        file.seek(size - SENT_BYTES)
        return b"[the first %d bytes are left out]\n" % (size - SENT_BYTES) + file.read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(number: int, _frame: object) -> None:
    raise Failed("infra", f"the agent was told to stop ({signal.Signals(number).name})")


def main(arguments: list[str]) -> int:
    """`agent JOB.json`; exit 0 whenever a verdict could be given, whatever it is."""
    (job_file,) = arguments
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    job = Job(**json.loads(Path(job_file).read_text().replace("{port}", str(_free_port()))))
    measurement = Measurement(job)
    result = measurement.run()
    (measurement.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    _say(RESULT_MARK + json.dumps({"result": result, "files": _bundle(measurement.out)}))
    return 0
