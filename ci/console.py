# SPDX-License-Identifier: Apache-2.0
"""What a person sees: rich output on a terminal, plain lines elsewhere, annotations and groups on GitHub.

With `--json` everything here goes to standard error, so that standard output holds the record alone.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from ci.model import Verdict

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as RichProgress

STYLES = {
    Verdict.PASS: "green",
    Verdict.KNOWN: "yellow",
    Verdict.SKIP: "yellow",
    Verdict.FAIL: "bold red",
    Verdict.PANIC: "bold red",
    Verdict.HANG: "bold red",
    Verdict.USAGE: "bold red",
    Verdict.INFRA: "bold magenta",
    Verdict.INTERRUPTED: "bold yellow",
    Verdict.RUNNING: "cyan",
}

_to_stderr = False


def send_to_stderr() -> None:
    """From now on write to standard error (for `--json`)."""
    global _to_stderr
    _to_stderr = True
    _console.cache_clear()


@lru_cache(maxsize=1)
def _console() -> Console:
    from rich.console import Console

    class Honest(Console):
        """Rich's console, but a reader that went away is an error for the caller, not a silent exit."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more")

    stream = sys.stderr if _to_stderr else sys.stdout
    width = None if stream.isatty() else 160
    return Honest(stderr=_to_stderr, width=width, highlight=False, soft_wrap=not stream.isatty())


def reader_gone(error: BaseException) -> bool:
    """True where an error means that nobody reads what we say: `| head` has ended, or the terminal was closed."""
    return isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.EIO) and error.filename is None


def interactive() -> bool:
    """True where a person looks at a terminal that can be redrawn."""
    return _console().is_terminal and not on_github()


def on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def escaped(text: str) -> str:
    """Text as a workflow command of GitHub takes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def line(text: str, style: str = "") -> None:
    """One line of plain text (no markup is interpreted)."""
    _console().print(text, style=style or None, markup=False)


def note(text: str) -> None:
    """A line of less weight."""
    line(text, "dim")


def verdict_line(verdict: Verdict, text: str, seconds: float | None = None) -> None:
    """`pass  text  (1.2 s)`, coloured by verdict."""
    from rich.text import Text

    row = Text(f"{verdict.value:<12}", style=STYLES[verdict])
    row.append(text, style="default")
    if seconds is not None:
        row.append(f"  ({seconds:.1f} s)", style="dim")
    _console().print(row)


def error(message: str, *, where: str = "", hint: str = "", verdict: Verdict = Verdict.FAIL) -> None:
    """An error as a user gets it: one sentence with its place, and the way out."""
    from rich.text import Text

    if on_github():
        place = ""
        if where:
            file, _, number = where.partition(":")
            place = f" file={file},line={number.split(':')[0] or 1}"
        line(f"::error{place}::{escaped(message)}")
    text = Text(f"{verdict.value}: ", style=STYLES[verdict])
    text.append(f"{where}: {message}" if where else message, style="default")
    _console().print(text)
    for extra in hint.splitlines():
        _console().print(Text(f"  -> {extra}", style="cyan"))


@dataclass
class Table:
    """A table: `columns` are headings; cells are plain text; a Verdict cell is coloured."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str | Verdict]] = field(default_factory=list)


def table(content: Table) -> None:
    """Print a table; where no terminal is, each row as one aligned line, to be read by grep as well as by people."""
    if not _console().is_terminal:
        _plain_table(content)
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    rich = RichTable(title=content.title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in content.columns:
        rich.add_column(column, overflow="fold")
    for row in content.rows:
        rich.add_row(*(Text(str(c), style=STYLES[c] if isinstance(c, Verdict) else "") for c in row))
    _console().print(rich)


def _plain_table(content: Table) -> None:
    rows = [[str(cell) for cell in row] for row in (content.columns, *content.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(content.columns))]
    for row in rows:
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def group(title: str) -> Iterator[None]:
    """A heading; on GitHub a group that folds."""
    if on_github():
        line(f"::group::{title}")
    else:
        line(f"{title}", "bold")
    try:
        yield
    finally:
        if on_github():
            line("::endgroup::")


class Progress:
    """One live line an item: its state and elapsed time. Without a terminal: a line at start and at end.

    Several may be open at once, also in threads (guests in several slots): they share the one display that a terminal has.
    """

    above: ClassVar[Callable[[], RenderableType] | None] = None  # drawn above the lines, where there is one (ci/board.py)
    _lock = threading.Lock()
    _shared: ClassVar[tuple[RichProgress, int] | None] = None  # with how many have it open

    def __init__(self) -> None:
        self._rich: RichProgress | None = None

    def __enter__(self) -> Progress:
        from rich.progress import Progress as RichProgress
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        class Display(RichProgress):
            def get_renderables(self) -> Iterable[RenderableType]:
                if Progress.above is not None:
                    yield Progress.above()
                yield from super().get_renderables()

        with Progress._lock:
            if Progress._shared is None:
                columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
                rich = Display(*columns, console=_console(), transient=True, disable=not interactive())
                rich.start()
                Progress._shared = (rich, 0)
            self._rich, count = Progress._shared
            Progress._shared = (self._rich, count + 1)
        return self

    def __exit__(self, *_: object) -> None:
        with Progress._lock:
            assert Progress._shared is not None
            rich, count = Progress._shared
            Progress._shared = (rich, count - 1) if count > 1 else None
            if count == 1:
                rich.stop()

    @contextmanager
    def item(self, label: str) -> Iterator[ProgressItem]:
        """An item that runs while the body does."""
        assert self._rich is not None, "items are shown within the body"
        task = self._rich.add_task(label, total=None)
        item = ProgressItem(self._rich, task, label)
        if not interactive():
            line(f"{'start':<12}{label}")
        try:
            yield item
        finally:
            self._rich.remove_task(task)


class ProgressItem:
    """Changes what a live line says."""

    def __init__(self, rich: object, task: object, label: str) -> None:
        self._rich = rich
        self._task = task
        self._label = label
        self._begin = time.monotonic()

    def say(self, state: str) -> None:
        """Show what it is doing now (on a terminal only)."""
        self._rich.update(self._task, description=f"{self._label}  {state}")  # type: ignore[attr-defined]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin
