# SPDX-License-Identifier: Apache-2.0
"""Two runs beside each other, as Markdown: each series of the first with what became of it in the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ci.marks import code, plain, table
from ci.report import words


class Judged(Protocol):
    """What ci/bench/baseline.py says of one series."""

    @property
    def system(self) -> str: ...
    @property
    def workload(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def ratio(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def change(self) -> object: ...


def compared(old: Mapping[str, Any], new: Mapping[str, Any], found: Sequence[Judged], added: Sequence[str], threshold: float) -> str:
    """The page; `added` names what only the newer run has."""
    lines = [f"# {plain(new.get('project', ''))}: {code(old['id'])} and {code(new['id'])}", ""]
    for name, record in (("older", old), ("newer", new)):
        dirty = " with changes" if record.get("dirty") else ""
        lines.append(f"- {name}: {code(record['id'])}, commit {code(str(record['commit'])[:12])}{dirty}, {plain(record['command'])}")
    lines += [
        "",
        f"{plain(counted(found))} A change is named where the whole 95 % interval of the ratio lies more than {threshold:.0%} away.",
        "",
    ]
    rows = [
        [plain(f"{item.workload} {item.metric}"), plain(item.system), plain(item.change), plain(ratio(item)), plain(item.reason)]
        for item in found
    ]
    lines += table(("measure", "system", "change", "newer over older (95 % interval)", "because"), rows)
    lines += [f"Only in the newer run: {plain(', '.join(added))}.", ""] if added else []
    return "\n".join(lines)


def counted(found: Sequence[Judged]) -> str:
    """`3 series: 1 regression, 2 no change shown.`"""
    counts = Counter(str(item.change) for item in found)
    return f"{words.count(len(found), 'series', 'series')}: {', '.join(f'{number} {name}' for name, number in counts.items())}."


def ratio(item: Judged) -> str:
    """The ratio with its interval, or a dash."""
    if item.ratio is None or item.low is None or item.high is None:
        return "none"
    return f"{item.ratio:.3f} ({item.low:.3f} to {item.high:.3f})"
