# SPDX-License-Identifier: Apache-2.0
"""Several things at once within the machine's processors, ended together when the tool is.

Threads suffice: each waits for a process. The processors are shared by make's own protocol (a "jobserver": a pipe that holds one
byte for each processor, from which whoever wants to start one more compiler takes a byte), which make and cargo both speak.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType

from ci import process
from ci.errors import Interrupted

_LOOK_SECONDS = 0.2


class JobServer:
    """The processors that all builds of one run share. Of every token that `taken` takes, one process may be running."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)  # as make itself sets it: of two that see a token, one gets it
        os.write(self._write, b"+" * tokens)

    def __enter__(self) -> JobServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._read)
        os.close(self._write)

    @property
    def fds(self) -> tuple[int, int]:
        """What a build must inherit."""
        return (self._read, self._write)

    @property
    def environment(self) -> dict[str, str]:
        """What tells make and cargo of it."""
        return {"MAKEFLAGS": f" -j{self.tokens} --jobserver-auth={self._read},{self._write}"}

    def take(self) -> None:
        """Wait for a token. A build may run one process without asking; this is the token for it."""
        while not process.cancelled.is_set():
            if select.select([self._read], [], [], _LOOK_SECONDS)[0]:
                try:
                    os.read(self._read, 1)
                    return
                except BlockingIOError:
                    continue  # another one was quicker
        raise Interrupted("the end of the tool")

    def give(self) -> None:
        """Put the token back."""
        os.write(self._write, b"+")


def run(work: Sequence[Callable[[], None]], *, workers: int) -> None:
    """Call each in one of `workers` threads. What one raises that is no answer of its own (a bug, a signal) ends all, and is raised."""
    if len(work) < 2 or workers < 2:
        for each in work:
            each()
        return
    process.cancelled.clear()
    with ThreadPoolExecutor(max_workers=min(workers, len(work))) as pool:
        waiting: set[Future[None]] = {pool.submit(each) for each in work}
        try:
            while waiting:
                done, waiting = wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            process.cancelled.set()
            for future in waiting:
                future.cancel()
            raise
