# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG without script. Colours are CSS classes of the page, so that light, dark and print just work.

Every chart has a <title> and a <desc> that holds its numbers; sizes are in CSS pixels at the width of the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import accumulate

from ci.report import words
from ci.report.benchmarks import Chart, Finding, Row, Summary

WIDTH = 320.0
RATIO_WIDTH = 440.0
_LEFT, _RIGHT = 1.0, 14.0
_PLOT = WIDTH - _LEFT - _RIGHT
_RATIO_PLOT = RATIO_WIDTH - _LEFT - _RIGHT - 10
_RATIO_LABEL = 34  # characters beside a finding
_ROW = 50.0
_HEAD = 26.0  # of a heading among rows
_BAR = 16.0
_TOP = 4.0
_AXIS = 26.0
_LETTERS = 38  # that a line above a bar has room for


def ticks(top: float, most: int = 4) -> list[float]:
    """Round values from 0 up to at most `top` in steps of 1, 2 or 5 times a power of ten."""
    if top <= 0:
        return [0.0]
    power = 10 ** math.floor(math.log10(top / most))
    step = next(power * factor for factor in (1, 2, 5, 10) if top / (power * factor) <= most)
    return [index * step for index in range(math.floor(top / step * (1 + 1e-9)) + 1)]


def text(x: float, y: float, content: str, css: str, anchor: str = "start") -> str:
    """A line of text with its baseline at y."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def drawing(name: str, width: float, height: float, title: str, desc: str, body: Sequence[str]) -> str:
    """The whole <svg>; `name` must be unique on the page."""
    head = f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="{name}-title {name}-desc">'
    return "\n".join(
        [head, f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(desc)}</desc>', *body, "</svg>"]
    )


def _row_desc(row: Row, unit: str) -> str:
    if row.summary is None:
        return f"{row.system}: {words.verdict(row.verdict)}, no number: {row.failure}"
    s = row.summary
    spread = f"from {words.number(s.minimum)} to {words.number(s.maximum)}"
    interval = f", 95 % interval {words.number(s.low)} to {words.number(s.high)}" if s.low is not None and s.high is not None else ""
    return f"{row.system}: median {words.number(s.median)} {unit}, {spread}{interval}"


def short(content: str, most: int) -> str:
    """At most so many characters."""
    return content if len(content) <= most else content[: most - 1].rstrip() + "…"


def bars(chart: Chart, name: str) -> str:
    """Medians as bars with their 95 % interval, the whole range and each sample; a failed system as an empty track with its reason."""
    top = max((row.summary.maximum for row in chart.rows if row.summary), default=0.0) * 1.04
    bottom = _TOP + _ROW * len(chart.rows)
    scale = _PLOT / top if top else 0.0
    body = []
    for value in ticks(top) if top else []:
        x = _LEFT + value * scale
        anchor = "start" if value == 0 else "middle"
        body += [
            line(x, _TOP, x, bottom, "grid" if value else "axis"),
            text(x, bottom + 15, words.number(value) if value else "0", "tick", anchor),
        ]
    for index, row in enumerate(chart.rows):
        body += _bar(row, _TOP + index * _ROW, scale, chart.unit)
    desc = f"{chart.unit}, {chart.better} is better. " + "; ".join(_row_desc(row, chart.unit) for row in chart.rows)
    return drawing(name, WIDTH, bottom + _AXIS, f"{chart.workload}: {chart.metric}", desc, body)


def _bar(row: Row, y: float, scale: float, unit: str) -> list[str]:
    label = [text(_LEFT + 5, y + 15, row.system, "label")]
    base, middle = y + 22, y + 22 + _BAR / 2
    s = row.summary
    if s is None:
        css = "absent" if row.verdict == "skip" else "failed"
        track = f'<rect x="{_LEFT}" y="{base}" width="{_PLOT}" height="{_BAR}" rx="2" class="none {css}"/>'
        word = text(_LEFT + _PLOT, y + 15, words.verdict(row.verdict), css, "end")
        return [*label, word, track, text(_LEFT + 8, middle + 4, short(row.failure, 47), "reason")]
    x = {key: _LEFT + getattr(s, key) * scale for key in ("minimum", "maximum", "median")}
    width = max(1.0, x["median"] - _LEFT)
    return [
        *label,
        text(_LEFT + _PLOT, y + 15, _value(row.system, words.number(s.median), unit), "value", "end"),
        f'<rect x="{_LEFT}" y="{base}" width="{width:.1f}" height="{_BAR}" rx="2" class="bar {row.colour}"/>',
        line(x["minimum"], middle, x["maximum"], middle, "range"),
        *_whisker(s, middle, scale),
        *(f'<circle cx="{_LEFT + value * scale:.1f}" cy="{middle:.1f}" r="2.2" class="dot"/>' for value in row.samples),
    ]


def _value(label: str, number: str, unit: str) -> str:
    """The number with its unit, which stands above the chart, too, and is left out where the label needs the room."""
    return f"{number} {unit}" if len(label) + len(number) + len(unit) < _LETTERS else number


def _whisker(s: Summary, middle: float, scale: float) -> list[str]:
    """The interval of the median with an end on each side; nothing where too few samples support one."""
    if s.low is None or s.high is None:
        return []
    low, high = _LEFT + s.low * scale, _LEFT + s.high * scale
    return [line(low, middle, high, middle, "half"), *(line(x, middle - 6, x, middle + 6, "end") for x in (low, high))]


def ratio_ticks(low: float, high: float) -> list[float]:
    """Round ratios within [low, high] for a logarithmic axis; 1 is always among them."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**e for e in range(-4, 7) for m in steps if low <= m * 10.0**e <= high]
        if len(found) <= 6:
            break
    return sorted({*found, 1.0})


def ratios(findings: Sequence[Finding], name: str, title: str) -> str:
    """Ratios of medians with their intervals on a logarithmic axis around 1; what may not be compared says why."""
    measured = [f for f in findings if f.measured]
    low = min([0.5, *(f.low * 0.9 for f in measured if f.low)])
    high = max([2.0, *(f.high * 1.1 for f in measured if f.high)])
    left, plot = _LEFT + 10, _RATIO_PLOT
    rows = _rows(findings)
    *places, bottom = accumulate((_ROW if finding else _HEAD for _, finding in rows), initial=_TOP)

    def x(value: float) -> float:
        return left + plot * math.log(value / low) / math.log(high / low)

    body = []
    for value in ratio_ticks(low, high) if measured else []:
        css = "one" if value == 1 else "grid"
        body += [line(x(value), _TOP, x(value), bottom, css), text(x(value), bottom + 15, f"{value:g}{words.TIMES}", "tick", "middle")]
    for y, (label, finding) in zip(places, rows, strict=True):
        if finding is None:
            body.append(text(left - 5, y + 15, short(label, 46), "reason"))
            continue
        body.append(text(left - 5, y + 15, short(label, _RATIO_LABEL), "label"))
        decided = finding.ratio is not None and finding.finding in ("faster", "slower")
        said = finding.finding if not decided or finding.ratio is None else f"{words.number(finding.ratio)}{words.TIMES}, {_word(finding)}"
        body.append(text(left + plot, y + 15, said, f"finding {finding.finding.split()[0]}", "end"))
        if finding.ratio is None or finding.low is None or finding.high is None:
            why = finding.reason.partition("measured alike: ")[2] or finding.reason
            body.append(text(left - 5, y + 34, short(why, 64), "reason"))
            continue
        middle = y + 31
        body.append(line(x(finding.low), middle, x(finding.high), middle, "interval"))
        body += [line(x(end), middle - 5, x(end), middle + 5, "interval") for end in (finding.low, finding.high)]
        body.append(f'<circle cx="{x(finding.ratio):.1f}" cy="{middle:.1f}" r="5" class="point {finding.finding.split()[0]}"/>')
    return drawing(name, RATIO_WIDTH, bottom + (_AXIS if measured else 4), title, "; ".join(map(finding_text, findings)), body)


def _rows(findings: Sequence[Finding]) -> list[tuple[str, Finding | None]]:
    """(label, finding) a row; a heading has none. What was not compared, or not measured, for one reason is one row at the end.

    A workload is a heading where there are several, or where its name before each metric would be cut.
    """
    names = {f"{finding.workload}: {finding.metric}" for finding in findings if finding.measured}
    several = len({finding.workload for finding in findings}) > 1 or any(len(name) > _RATIO_LABEL for name in names)
    rows: list[tuple[str, Finding | None]] = []
    before = ""
    silent: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if not finding.measured:
            silent.setdefault((finding.finding, finding.reason), []).append(finding)
            continue
        if several and before != finding.workload:
            rows.append((finding.workload, None))
        before = finding.workload
        rows.append((finding.metric if several else f"{finding.workload}: {finding.metric}", finding))
    if several and rows and silent:
        rows.append(("without a number", None))
    for items in silent.values():
        rows.append((f"{items[0].workload}: {items[0].metric}" if len(items) == 1 else f"{len(items)} measures", items[0]))
    return rows


def _word(finding: Finding) -> str:
    """What is no time and no rate is better or worse, not faster or slower."""
    if finding.metric in ("disk", "memory") or finding.metric.endswith("recall"):
        return {"faster": "better", "slower": "worse"}.get(finding.finding, finding.finding)
    return finding.finding


def finding_text(finding: Finding) -> str:
    """A comparison as a sentence."""
    head = f"{finding.workload} {finding.metric}: {finding.system} against {finding.baseline}: {finding.finding}"
    if not finding.measured:
        return f"{head} ({finding.reason})"
    return f"{head}, {interval(finding)}"


def interval(finding: Finding) -> str:
    """The ratio with its interval: 2.41 times (2.20 to 2.61), written with the sign."""
    assert finding.ratio is not None and finding.low is not None and finding.high is not None
    return f"{words.number(finding.ratio)}{words.TIMES} ({words.number(finding.low)} to {words.number(finding.high)})"
