# SPDX-License-Identifier: Apache-2.0
"""Programs that take the processors only where nobody else wants them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

_NICEST = 19
# Whether what this thread starts gives way to everything else.
_gentle: ContextVar[bool] = ContextVar("gentle", default=False)


@contextmanager
def gently() -> Iterator[None]:
    """What this thread starts in the body takes the processors only where nobody else wants them: a guest beside it is not slowed down."""
    token = _gentle.set(True)
    try:
        yield
    finally:
        _gentle.reset(token)


def give_way(pid: int) -> None:
    """Let a process that was just started give way, where this thread asked for that: by its own niceness, and where sessions share
    the processors as sessions (sched(7), autogroup) by that of its session."""
    if not _gentle.get():
        return
    # It may have ended already; and the kernel lets only root set a session's niceness twice within a tenth of a second.
    with suppress(ProcessLookupError, BlockingIOError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICEST)
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():
            group.write_text(f"{_NICEST}\n")
