# SPDX-License-Identifier: Apache-2.0
"""Threads that work beside each other until all have ended, or until somebody ends the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

_LOOK_SECONDS = 0.1


def run_all(threads: Sequence[threading.Thread], problems: list[BaseException], stop: Callable[[], None] = lambda: None) -> None:
    """Start them and wait for all.

    What ends the wait, as Ctrl-C does, goes into `problems`, where the threads see that they shall end; `stop` is called, and it is
    raised again once they have ended.
    """
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():  # in short waits, so that a signal is seen
                thread.join(_LOOK_SECONDS)
    except BaseException as error:
        problems.append(error)
        stop()
        for thread in threads:
            thread.join()
        raise
