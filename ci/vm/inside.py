# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest, as root, for as long as the guest lives: commands and files over a virtio-serial port.

Nothing is enciphered, which an emulated CPU would pay for dearly, and no process is needed for a login: the port leads to
a socket in the guest's own folder on the host and nowhere else. Standard library alone; `python3 inside.py` goes into
the background and ends at once when it is ready. The other end is ci/vm/port.py.

A frame is `channel (u32), kind (1 byte), length (u32)`, big-endian, and the payload. The host opens a channel with X
(run a command), W (write a file), R (read one), B (give a sign of life) or I (become another guest after a restore); D and E carry
and end a file, K kills a command. The guest answers with P (process id), O and S (its streams), and at the end with Z (done) or F (failed).
"""

from __future__ import annotations

import base64
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import zlib

PORT = "vexci.0"
HEADER = struct.Struct(">IcI")
HELLO = b"vexci-hello "
TOKEN = 16
BLOCK = 1 << 16
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
}
# linux/random.h: _IOW('R', 0x03, int[2]) and _IO('R', 0x07)
RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207
NEVER = "-1000"  # oom_score_adj of a process that is never killed for want of memory
AWAY_SECONDS = 0.05  # between two looks whether somebody has connected to the port: it has no event for that


class Gone(Exception):
    """Nobody is connected to the port any more."""


class Job:
    """A command that runs: its process, and which of its streams are open (descriptor -> kind of frame)."""

    def __init__(self, channel: int, pid: int, watch: int, streams: dict[int, bytes]) -> None:
        self.channel = channel
        self.pid = pid
        self.watch = watch
        self.streams = streams
        self.status: int | None = None


class Agent:
    """Serves one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.poll = select.poll()
        self.poll.register(port, select.POLLIN)
        self.buffer = bytearray()
        self.greeted = False
        self.jobs: dict[int, Job] = {}
        self.by_descriptor: dict[int, Job] = {}
        self.files: dict[int, Incoming] = {}

    def serve(self) -> None:
        while True:
            try:
                for descriptor, _ in self.poll.poll():
                    if descriptor == self.port:
                        self.take()
                    else:
                        self.attend(descriptor)
            except Gone:
                self.abandon()
                time.sleep(AWAY_SECONDS)

    def take(self) -> None:
        data = os.read(self.port, BLOCK)
        if not data:
            raise Gone
        self.buffer += data
        # A host that connects anew says a token; what came before that belongs to nobody.
        found = self.buffer.rfind(HELLO)
        if found >= 0 and len(self.buffer) >= found + len(HELLO) + TOKEN:
            end = found + len(HELLO) + TOKEN
            self.write(bytes(self.buffer[found:end]))
            del self.buffer[:end]
            self.greeted = True
        while self.greeted and len(self.buffer) >= HEADER.size:
            channel, kind, length = HEADER.unpack_from(self.buffer)
            if len(self.buffer) < HEADER.size + length:
                return
            payload = bytes(self.buffer[HEADER.size : HEADER.size + length])
            del self.buffer[: HEADER.size + length]
            self.handle(channel, kind, payload)

    def abandon(self) -> None:
        """The host has hung up: what it asked for is ended, as sshd would hang up on a terminal."""
        self.buffer.clear()
        self.greeted = False
        for channel in list(self.files):
            self.files.pop(channel).give_up()
        for job in list(self.jobs.values()):
            self.kill(job)
            for descriptor in [*job.streams, job.watch]:
                self.forget(descriptor)
            os.waitpid(job.pid, 0)
        self.jobs.clear()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.port, view) :]
            except OSError as error:
                if error.errno in (errno.EPIPE, errno.ENODEV, errno.EIO):
                    raise Gone from error
                raise

    def send(self, channel: int, kind: bytes, payload: bytes = b"") -> None:
        self.write(HEADER.pack(channel, kind, len(payload)) + payload)

    def handle(self, channel: int, kind: bytes, payload: bytes) -> None:
        try:
            if kind == b"X":
                self.execute(channel, json.loads(payload))
            elif kind == b"K" and channel in self.jobs:
                self.kill(self.jobs[channel])
            elif kind == b"W":
                self.files[channel] = Incoming(json.loads(payload))
            elif kind == b"D" and channel in self.files:
                self.files[channel].add(payload)
            elif kind == b"E" and channel in self.files:
                self.send(channel, b"Z", json.dumps({"size": self.files.pop(channel).finish()}).encode())
            elif kind == b"R":
                self.read(channel, json.loads(payload)["path"])
            elif kind == b"B":
                self.send(channel, b"Z", b"{}")
            elif kind == b"I":
                become(json.loads(payload))
                self.send(channel, b"Z", b"{}")
        except OSError as error:
            if channel in self.files:
                self.files.pop(channel).give_up()
            self.send(channel, b"F", json.dumps({"errno": error.errno, "words": error.strerror, "file": error.filename}).encode())

    def execute(self, channel: int, request: dict[str, list[str]]) -> None:
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        actions = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)]
        argv = request["argv"]
        spare("0")  # a command is not spared when memory runs out, and it inherits this
        try:
            defaults = [signal.SIGPIPE, signal.SIGHUP, signal.SIGINT]
            pid = os.posix_spawnp(argv[0], argv, ENVIRONMENT, file_actions=actions, setsid=True, setsigdef=defaults, setsigmask=[])
        except OSError as error:
            # As a shell has it: 127 where there is no such program, 126 where it cannot be run.
            code = 127 if error.errno == errno.ENOENT else 126
            self.send(channel, b"S", f"{argv[0]}: {error.strerror}\n".encode())
            self.send(channel, b"Z", json.dumps({"code": code}).encode())
            os.close(out)
            os.close(err)
            return
        finally:
            spare(NEVER)
            for descriptor in (out_end, err_end, nothing):
                os.close(descriptor)
        job = Job(channel, pid, os.pidfd_open(pid), {out: b"O", err: b"S"})
        self.jobs[channel] = job
        for descriptor in (out, err, job.watch):
            self.by_descriptor[descriptor] = job
            self.poll.register(descriptor, select.POLLIN)
        self.send(channel, b"P", str(pid).encode())

    def attend(self, descriptor: int) -> None:
        """Something happened to a command: it said something, closed a stream, or ended."""
        job = self.by_descriptor.get(descriptor)
        if job is None:
            return
        if descriptor == job.watch:
            _, job.status = os.waitpid(job.pid, 0)
            self.forget(descriptor)
        else:
            data = os.read(descriptor, BLOCK)
            if data:
                self.send(job.channel, job.streams[descriptor], data)
                return
            del job.streams[descriptor]
            self.forget(descriptor)
        if job.status is not None and not job.streams:
            del self.jobs[job.channel]
            code = os.waitstatus_to_exitcode(job.status)
            self.send(job.channel, b"Z", json.dumps({"code": code if code >= 0 else 128 - code}).encode())

    def forget(self, descriptor: int) -> None:
        if self.by_descriptor.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)
            os.close(descriptor)

    def kill(self, job: Job) -> None:
        try:
            os.killpg(job.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended by itself in this moment

    def read(self, channel: int, path: str) -> None:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o7777
            while data := file.read(BLOCK):
                self.send(channel, b"O", data)
        self.send(channel, b"Z", json.dumps({"mode": mode}).encode())


class Incoming:
    """A file that arrives, packed with zlib; it replaces what lay there when it is whole."""

    def __init__(self, request: dict[str, str]) -> None:
        self.path = request["path"]
        self.part = f"{self.path}.vexci-part"
        os.makedirs(os.path.dirname(self.path) or "/", exist_ok=True)
        self.file = open(self.part, "wb")  # noqa: SIM115 (it stays open over many frames)
        os.fchmod(self.file.fileno(), int(request["mode"], 8))
        self.unpack = zlib.decompressobj()

    def add(self, data: bytes) -> None:
        self.file.write(self.unpack.decompress(data))

    def finish(self) -> int:
        self.file.write(self.unpack.flush())
        size = self.file.tell()
        self.file.close()
        os.rename(self.part, self.path)
        return size

    def give_up(self) -> None:
        self.file.close()
        if os.path.exists(self.part):
            os.unlink(self.part)


def become(request: dict[str, object]) -> None:
    """Take what must not be shared with other guests of the same snapshot: time, randomness, names, keys."""
    time.clock_settime_ns(time.CLOCK_REALTIME, int(str(request["time_ns"])))
    seed = base64.b64decode(str(request["entropy"]))
    with open("/dev/urandom", "wb") as device:
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
        fcntl.ioctl(device, RNDRESEEDCRNG)
    files = request["files"]
    assert isinstance(files, list)
    for path, mode, text in files:
        part = f"{path}.vexci-part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, text.encode())
        os.fchmod(descriptor, int(mode, 8))
        os.close(descriptor)
        os.rename(part, path)
    socket.sethostname(str(request["hostname"]))
    with open("/dev/kmsg", "w") as log:
        log.write(f"vexci: restored as {request['hostname']}\n")


def spare(adjustment: str) -> None:
    """How willingly the kernel ends this process when memory runs out."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(adjustment)


def find_port() -> str:
    base = "/sys/class/virtio-ports"
    for name in os.listdir(base) if os.path.isdir(base) else []:
        with open(f"{base}/{name}/name") as file:
            if file.read().strip() == PORT:
                return f"/dev/{name}"
    sys.exit(f"this kernel shows no virtio-serial port {PORT}")


def main() -> None:
    port = os.open(find_port(), os.O_RDWR | os.O_CLOEXEC)
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.chdir("/root")
    os.umask(0o022)
    # What ends sshd, or its whole control group, does not end this; and memory is taken from others first.
    if os.path.exists("/sys/fs/cgroup/cgroup.procs"):
        os.makedirs("/sys/fs/cgroup/vexci", exist_ok=True)
        with open("/sys/fs/cgroup/vexci/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
    spare(NEVER)
    os.environ.update(ENVIRONMENT)
    # All of this in memory for good: it must answer also while the disk does not.
    ctypes.CDLL(None).mlockall(3)
    Agent(port).serve()


if __name__ == "__main__":
    main()
