# SPDX-License-Identifier: Apache-2.0
"""Whether a guest still answers while a command of it runs: a deadline alone would wait for a guest that froze at its start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ci.vm.link import Link, Ping

# Between two beats, and how long one may take: an emulated guest on a busy host can be slow, but answers.
BEAT_SECONDS = 5.0
SILENCE_SECONDS = {"kvm": 20.0, "tcg": 60.0}


class Heart:
    """Asks a guest for a sign of life now and then; the answer costs nothing that is measured."""

    def __init__(self, link: Link, accelerator: str) -> None:
        self._link = link
        self._limit = SILENCE_SECONDS[accelerator]
        self._ping: Ping | None = None
        self._at = 0.0

    def silent(self) -> float:
        """For how many seconds the guest has not answered, where that is too long, else 0. To be called often while a command runs;
        a pause between two calls does not count. Raises Lost where the connection has ended."""
        now = time.monotonic()
        if self._ping is not None and not self._ping.answered():
            return now - self._at if now - self._at > self._limit else 0.0
        if self._ping is None or now - self._at > BEAT_SECONDS:
            self._ping, self._at = self._link.ping(), now
        return 0.0

    def rest(self) -> None:
        """Nothing is waited for any more; the next command begins with a new beat."""
        self._ping = None
