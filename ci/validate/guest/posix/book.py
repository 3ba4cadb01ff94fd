# SPDX-License-Identifier: Apache-2.0
"""Tables of cases: a row is a name, what there is before, and a call with the error that it must give, or a function that looks closer."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..context import Context, Failed, NotOffered
from ..engine import GroupEntry
from ..runner import Outcome, verdict_of
from .needs import PROBES
from .place import Place

Body = Callable[[Place], None]
_TELL_SECONDS = 1.0
_REFUSALS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)


@dataclass(frozen=True)
class Row:
    """One case. `needs` is what a file system may lack: a key of PROBES."""

    name: str
    body: Body
    needs: str


class Group:
    """The cases of one subject, in the order in which they are written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rows: dict[str, Row] = {}

    def case(self, name: str, given: str = "", *, needs: str = "") -> Callable[[Body], Body]:
        """Add the decorated function as a case; `given` is made before (see Place.make)."""

        def add(function: Body) -> Body:
            def body(t: Place) -> None:
                t.make(given)
                function(t)

            self._add(name, body, needs)
            return function

        return add

    def refuse(
        self, name: str, given: str, error: int | tuple[int, ...], call: Callable[[], Any], *, user: int = 0, needs: str = ""
    ) -> None:
        """Add a case whose call must fail with the error (or one of them), by that user, and must change nothing."""
        codes = error if isinstance(error, tuple) else (error,)

        def body(t: Place) -> None:
            t.make(given)
            before = t.state()
            t.refuses(name, (lambda: t.as_user(user, call)) if user else call, *codes)
            t.equal("what is there after the refused call", t.state(), before)

        self._add(name, body, needs)

    def allow(self, name: str, given: str, call: Callable[[], Any], expected: Any, *, user: int = 0, needs: str = "") -> None:
        """Add a case whose call must answer this value."""

        def body(t: Place) -> None:
            t.make(given)
            t.equal(name, t.as_user(user, call) if user else call(), expected)

        self._add(name, body, needs)

    def _add(self, name: str, body: Body, needs: str) -> None:
        full = f"{self.name}.{name}"
        if full in self._rows:
            raise ValueError(f"two cases are called {full}")
        self._rows[full] = Row(full, body, needs)

    def entry(self) -> GroupEntry:
        """The group for the engine."""
        return GroupEntry(self.name, tuple(self._rows), self._run)

    def _run(self, context: Context, names: tuple[str, ...]) -> Iterator[Outcome]:
        above = context.path(self.name)
        os.makedirs(above, exist_ok=True)
        os.chmod(above, 0o755)
        for number, name in enumerate(names):
            yield _outcome(context, Place(context, os.path.join(above, f"{number}-{os.getpid()}")), self._rows[name])
        # One after the other: all of it together may take longer than one operation has. To tell of each would take longer than to do it.
        told = -_TELL_SECONDS
        for place in sorted(os.listdir(above)):
            if time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                context.op(f"remove {place} of {self.name}, and what follows it")
            shutil.rmtree(os.path.join(above, place))
        os.rmdir(above)


def _outcome(context: Context, place: Place, row: Row) -> Outcome:
    context.detail, context.operation = "", row.name

    def body() -> None:
        place.enter()
        try:
            if row.needs in context.plan.lacks:
                _must_lack(context, place, row.needs)
            row.body(place)
        finally:
            place.leave()

    return verdict_of(context, body)


def _must_lack(context: Context, place: Place, what: str) -> None:
    """What the manifest calls not offered must be refused as such: a list that is out of date would hide cases."""
    try:
        PROBES[what](place)
    except OSError as error:
        if error.errno in _REFUSALS:
            raise NotOffered(f"not offered ({errno.errorcode[error.errno]}): {context.plan.lacks[what]}") from error
        raise
    raise Failed(f"the manifest says that it lacks '{what}', but it has it")
