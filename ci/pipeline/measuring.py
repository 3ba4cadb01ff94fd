# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a benchmark runs, and how long its measurements took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ci import console
from ci.report.words import seconds

QUIET_SECONDS = 60.0  # that a log may stand still where no terminal shows what goes on


@contextmanager
def measuring(name: str, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str], None]]:
    """The progress of one benchmark: on a terminal one live line, in a log a line a minute.

    At its end the time is said, without that of builds, guests and installations before it.
    """
    with console.Progress() as progress, progress.item(f"benchmark {name}") as item:
        begin = said = clock()

        def say(state: str) -> None:
            nonlocal said
            item.say(state)
            if not console.interactive() and clock() - said >= QUIET_SECONDS:
                said = clock()
                console.line(f"  {state}")

        yield say
        took = clock() - begin
    console.line(f"{name}: measured for {seconds(took)}")
