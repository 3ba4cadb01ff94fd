# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a benchmark runs, and how long its measurements took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ci import console
from ci.report.words import seconds


@contextmanager
def measuring(name: str) -> Iterator[Callable[[str], None]]:
    """The progress of one benchmark. At its end the time is said, without that of builds, guests and installations before it."""
    with console.Progress() as progress, progress.item(f"benchmark {name}") as item:
        begin = time.monotonic()
        yield item.say
        took = time.monotonic() - begin
    console.line(f"{name}: measured for {seconds(took)}")
