# SPDX-License-Identifier: Apache-2.0
"""Which of many records somebody asks for: by command, verdict, kernel, suite and age."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from typing import Any

from ci.errors import UsageError
from ci.model import Verdict

_FORMS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """What must hold of a record; an empty field asks for nothing. `since` is a time as records have it."""

    command: str = ""
    verdicts: tuple[str, ...] = ()
    kernel: str = ""
    suite: str = ""
    since: str = ""

    def fits(self, record: Record) -> bool:
        """True where all of it holds."""
        return (
            self.command in str(record["command"])
            and (not self.verdicts or record["verdict"] in self.verdicts)
            and (not self.kernel or _any(self.kernel, kernels(record)))
            and (not self.suite or _any(self.suite, suites(record)))
            and str(record["started"]) >= self.since
        )


def selection(*, command: str, verdict: str, kernel: str, suite: str, since: str, now: datetime | None = None) -> Selection:
    """What a command line asks for; UsageError where a verdict or a time is none."""
    verdicts = tuple(word for word in verdict.split(",") if word)
    known = [each.value for each in Verdict]
    for word in verdicts:
        if word not in known:
            raise UsageError(f"--verdict {word}: there is no such verdict", hint=f"one or several (a,b) of {', '.join(known)}")
    return Selection(command, verdicts, kernel, suite, _moment(since, now or datetime.now(timezone.utc)) if since else "")


def _moment(text: str, now: datetime) -> str:
    """`3d`, `12h`, a day or a time (UTC), as records write it."""
    ago = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if ago:
        return f"{now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}):%Y-%m-%dT%H:%M:%SZ}"
    for form in _FORMS:
        try:
            return f"{datetime.strptime(text, form):%Y-%m-%dT%H:%M:%SZ}"
        except ValueError:
            continue
    raise UsageError(
        f"--since {text}: that is no time", hint="an age (90m, 12h, 3d, 2w), a day (2026-05-31) or a time (2026-05-31T06:20), UTC"
    )


def kernels(record: Record) -> set[str]:
    """The kernels that a record is about, by the manifest's names and by releases."""
    rows = [row for row in record["artifacts"] if row.get("kernel")]
    found = {str(row[name]) for row in rows for name in ("kernel", "target")}
    for stage in record["stages"]:
        results = stage["results"]
        found |= {str(suite["kernel"]) for suite in results.get("suites", [])}
        found |= {str(item["dimensions"]["kernel"]) for item in results.get("series", []) if "kernel" in item["dimensions"]}
        found |= {str(results["kernel"])} if isinstance(results.get("kernel"), str) else set()
    return found


def suites(record: Record) -> set[str]:
    """The names of the suites and benchmarks that a record has results of."""
    found = set()
    for stage in record["stages"]:
        found |= {str(suite["suite"]) for suite in stage["results"].get("suites", [])}
        found |= {str(item["dimensions"].get("benchmark", "")) for item in stage["results"].get("series", [])}
    return found - {""}


def _any(wanted: str, names: Iterable[str]) -> bool:
    """Whether one of the wanted names or patterns (`a,b`, `6.12*`) is among these."""
    return any(fnmatchcase(name, word) for word in wanted.split(",") if word for name in names)
