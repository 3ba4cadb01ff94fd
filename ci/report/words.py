# SPDX-License-Identifier: Apache-2.0
"""Numbers and names as a reader gets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

VERDICTS = {
    "pass": "passed",
    "known": "known failure",
    "skip": "did not run",
    "fail": "failed",
    "panic": "kernel panic",
    "hang": "hung",
    "usage": "wrong request",
    "infra": "infrastructure failed",
    "interrupted": "interrupted",
    "running": "not ended",
}
TIMES = "\N{MULTIPLICATION SIGN}"
GLYPHS = {"pass": "✓", "known": "≈", "skip": "\N{EN DASH}", "running": "…", "interrupted": "‖"}


def verdict(value: str) -> str:
    """A verdict in words."""
    return VERDICTS.get(value, value)


def glyph(value: str) -> str:
    """A sign beside a verdict, so that colour is not the only difference."""
    return GLYPHS.get(value, "✕")


def number(value: float) -> str:
    """Three significant digits at least, thousands apart: 4.12, 41.2, 412, 4,120."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """A duration: 0.4 s, 12 s, 3 min 20 s, 1 h 5 min."""
    if value is None:
        return "unknown"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short(text: str, most: int = 220) -> str:
    """The beginning of a text, cut between two words, for a list that leads to the whole of it."""
    words = " ".join(text.split())
    if len(words) <= most:
        return words
    cut = words[: most - 1]
    return (cut.rpartition(" ")[0] or cut) + " …"


def size(value: int) -> str:
    """Bytes: 512 B, 18.3 KiB, 4.2 MiB."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def time(value: str | None) -> str:
    """A record's time for people: 7 June 2026, 06:21:10 UTC."""
    if not value:
        return "unknown"
    try:
        moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return value
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"


def count(items: int, name: str, plural: str = "") -> str:
    """1 check, 2 checks, 2 series."""
    return f"{items} {name if items == 1 else plural or name + 's'}"


def tally(verdicts: Sequence[str], name: str) -> str:
    """`24 cases passed`, or `5 checks: 3 passed, 1 failed, 1 did not run`."""
    counts = Counter(verdict(value) for value in verdicts)
    if set(verdicts) == {"pass"}:
        return f"{count(len(verdicts), name)} passed"
    return f"{count(len(verdicts), name)}: " + ", ".join(f"{number} {text}" for text, number in counts.items())


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as rows of dotted key and text."""
    if isinstance(value, dict):
        return [row for key, item in value.items() for row in flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list):
        return [(prefix, ", ".join(str(item) for item in value))]
    return [(prefix, "unknown" if value is None else str(value))]
