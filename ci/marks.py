# SPDX-License-Identifier: Apache-2.0
"""Markdown's marks: text, code and tables that show what they were given, whatever is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")


def plain(text: object) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """Text as code in one line; a fence longer than any run of backticks in it."""
    flat = " ".join(str(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", flat)), default=0))
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}".replace("|", "\\|")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table and an empty line; cells must be Markdown already."""
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*head, *("| " + " | ".join(row) + " |" for row in rows), ""]
