# SPDX-License-Identifier: Apache-2.0
"""The options of suites: which there are, and what each may be. A wrong one is a mistake of whoever wrote it and is said before anything
is built; in a guest it would look as if the machine had failed, or would count for nothing without a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ci.reader import nearest

FRESH = "fresh"  # a seed that nobody has tried
DEADLINE = "deadline"  # of the suite itself: on a command line it is an option, too
_MOST = 1 << 62


@dataclass(frozen=True)
class Setting:
    """What an option may be: in words, and whether a text is that."""

    words: str
    fits: Callable[[str], bool]


def _whole(text: str, least: int) -> bool:
    return text.isascii() and text.isdigit() and least <= int(text) <= _MOST


def _seconds(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


_SEED = Setting("a whole number", lambda text: _whole(text, 0))
_SEED_OR_FRESH = Setting(f"a whole number or '{FRESH}'", lambda text: text == FRESH or _whole(text, 0))
_COUNT = Setting("a whole number from 0", lambda text: _whole(text, 0))
_SOME = Setting("a whole number from 1", lambda text: _whole(text, 1))
_TIME = Setting("a number of seconds above 0", _seconds)
_TEXT = Setting("a text", bool)
_FOREIGN = {"checkout": _TEXT, "build": _TEXT, "exclude": _TEXT}

# For the tool's own tests: a disk that forgets what it was told to keep, on which the suite must fail.
_LIES = {"lying_disk": _TEXT}

SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "smoke": {},
    "posix": {},
    "vectors": {"seed": _SEED, "count": _SOME},
    "crash": {"seed": _SEED, "recorded": _COUNT, "kill": _COUNT, "cuts": _SOME, "operations": _SOME, "rounds": _SOME, **_LIES},
    "power": {"seed": _SEED, "power": _SOME, "cuts": _SOME, **_LIES},
    "faults": {"seed": _SEED, "flipped": _COUNT, "allocations": _SOME},
    "differential": {"seed": _SEED_OR_FRESH, "sequences": _SOME, "batch": _SOME, "replay": _TEXT},
    "stress": {"seed": _SEED, "seconds": _TIME},
    "pjdfstest": _FOREIGN,
    "ltp": {**_FOREIGN, "list": _TEXT},
    "xfstests": {**_FOREIGN, "group": _TEXT},
    "ktap": {**_FOREIGN, "command": _TEXT},
}


def problems(suite: str, options: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is wrong with a suite's options: the option, and a sentence for people. A suite that is not known has no wrong ones."""
    known = SETTINGS.get(suite)
    if known is None:
        return []
    found = []
    for name, value in options:
        if name not in known:
            hint = nearest(name, sorted(known)) if known else "; it has none"
            found.append((name, f"the suite {suite} has no option '{name}'{hint}"))
        elif not known[name].fits(value):
            found.append((name, f"expected {known[name].words}, got '{value}'"))
    return found


def seconds(text: str) -> float | None:
    """The option `deadline` as a number; None where it is no number of seconds above 0."""
    return float(text) if _seconds(text) else None
