# SPDX-License-Identifier: Apache-2.0
"""Charts with two axes as inline SVG: rate against recall, latencies by percentile, a measure over runs.

As in svg.py colours are classes of the page, and each chart holds its numbers in its <desc>.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ci.report import words
from ci.report.details import Latency, LatencyChart, RecallChart
from ci.report.history import HistoryChart
from ci.report.svg import drawing, line, short, text, ticks

WIDTH, HEIGHT = 440.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 16.0, 10.0, 46.0
_KEY_ROW = 19.0
PERCENTS = (50.0, 90.0, 99.0, 99.9)
Scale = Callable[[float], float]


@dataclass(frozen=True)
class _Frame:
    """The plot's axes: where a value lies, and the lines and labels already drawn."""

    x: Scale
    y: Scale
    body: list[str]


def _linear(low: float, high: float, begin: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: begin + (end - begin) * (value - low) / span


def _logarithmic(low: float, high: float, begin: float, end: float) -> Scale:
    inner = _linear(math.log(low), math.log(high), begin, end)
    return lambda value: inner(math.log(value))


def log_ticks(low: float, high: float) -> list[float]:
    """Round values in [low, high] for a logarithmic axis: 1, 2, 5 times powers of ten, or fewer where these are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**e for e in decades for m in steps if low <= m * 10.0**e <= high]
        if len(found) <= 6:
            break
    return found[:: math.ceil(len(found) / 6) or 1] if found else []


def _frame(x: Scale, y: Scale, across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], names: tuple[str, str]) -> _Frame:
    """Grid, ticks and the names of the axes."""
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    body = [line(_LEFT, bottom, right, bottom, "axis")]
    for value, label in up:
        body += [line(_LEFT, y(value), right, y(value), "grid"), text(_LEFT - 7, y(value) + 4, label, "tick", "end")]
    for value, label in across:
        body += [line(x(value), _TOP, x(value), bottom, "grid"), text(x(value), bottom + 16, label, "tick", "middle")]
    body.append(text((_LEFT + right) / 2, HEIGHT - 8, names[0], "tick", "middle"))
    body.append(text(_LEFT, _TOP - 2, names[1], "tick"))
    return _Frame(x, y, body)


def _key(systems: Sequence[tuple[str, str, str]]) -> list[str]:
    """The legend below the plot: (colour, name, remark) a row."""
    rows = []
    for index, (colour, name, remark) in enumerate(systems):
        y = HEIGHT + 8 + index * _KEY_ROW
        rows.append(f'<rect x="{_LEFT}" y="{y:.0f}" width="11" height="11" rx="2" class="bar {colour}"/>')
        rows.append(
            f'<text x="{_LEFT + 18:.0f}" y="{y + 10:.0f}" class="key">{escape(name)}<tspan class="tick"> {escape(remark)}</tspan></text>'
        )
    return rows


def _path(points: Sequence[tuple[float, float]], css: str) -> str:
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{where}" class="curve {css}"/>'


def _dot(x: float, y: float, css: str, title: str, radius: float = 3.6) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="spot {css}"><title>{escape(title)}</title></circle>'


def _axis_bounds(values: Sequence[float]) -> tuple[float, float]:
    """The ends of a logarithmic axis around positive values."""
    return min(values) / 1.25, max(values) * 1.25


def recall(chart: RecallChart, name: str) -> str:
    """Queries a second (logarithmic) against recall: up and to the right is better. An exact engine is one point."""
    points = [point for curve in chart.curves for point in curve.points]
    low, high = _axis_bounds([value for point in points for value in (point.lowest, point.highest)])
    least = math.floor(min(point.recall for point in points) * 10) / 10
    least = min(least, 0.9)
    x = _linear(least, 1.0, _LEFT, WIDTH - _RIGHT - 6)
    y = _logarithmic(low, high, HEIGHT - _BOTTOM, _TOP + 10)
    step = 0.02 if least >= 0.9 else 0.1 if least >= 0.5 else 0.2
    across = [(value, f"{value:g}") for value in (round(1 - index * step, 4) for index in range(7)) if value >= least]
    frame = _frame(x, y, across, [(value, words.number(value)) for value in log_ticks(low, high)], ("recall", "queries/s"))
    body, said = frame.body, []
    for curve in chart.curves:
        places = [(frame.x(point.recall), frame.y(point.rate)) for point in curve.points]
        if len(places) > 1:
            body.append(_path(places, curve.colour))
        for point, (at, up) in zip(curve.points, places, strict=True):
            body.append(line(at, frame.y(point.lowest), at, frame.y(point.highest), "spread"))
            effort = f" at ef {point.effort}" if point.effort else ", exact"
            sentence = f"{curve.system}{effort}: recall {point.recall:.3f}, {words.number(point.rate)} queries/s"
            body.append(_dot(at, up, curve.colour, sentence))
            said.append(sentence)
    body += _key([(curve.colour, curve.system, "exact" if curve.points[0].effort == 0 else "") for curve in chart.curves])
    height = HEIGHT + 8 + _KEY_ROW * len(chart.curves)
    return drawing(name, WIDTH, height, f"{chart.workload}: recall against rate, k={chart.k}", "; ".join(said), body)


def _nines(percent: float) -> float:
    """Where a percentile lies on an axis that gives each further nine the same room."""
    return -math.log10(1 - percent / 100)


def latency(chart: LatencyChart, name: str) -> str:
    """Milliseconds (logarithmic) by percentile, one line a system: the lower the better, the flatter the steadier."""
    values = [value for row in chart.rows for _, value in row.quantiles]
    low, high = _axis_bounds([value for value in values if value > 0] or [1.0])
    most = max(percent for row in chart.rows for percent, _ in row.quantiles)
    x = _linear(0.0, _nines(most), _LEFT, WIDTH - _RIGHT)
    y = _logarithmic(low, high, HEIGHT - _BOTTOM, _TOP + 10)
    across = [(_nines(percent), f"{percent:g} %") for percent in PERCENTS if percent <= most]
    frame = _frame(x, y, across, [(value, words.number(value)) for value in log_ticks(low, high)], ("share of operations", "ms"))
    body = frame.body
    for row in chart.rows:
        places = [(frame.x(_nines(percent)), frame.y(value)) for percent, value in row.quantiles if value > 0]
        body.append(_path(places, row.colour))
        for percent in PERCENTS:
            value = row.at(percent)
            if value:
                body.append(
                    _dot(
                        frame.x(_nines(percent)), frame.y(value), row.colour, f"{row.system}: {percent:g} % within {words.number(value)} ms"
                    )
                )
    body += _key([(row.colour, row.system, _typical(row)) for row in chart.rows])
    said = "; ".join(f"{row.system}, {_typical(row)}, of {row.count}" for row in chart.rows)
    return drawing(name, WIDTH, HEIGHT + 8 + _KEY_ROW * len(chart.rows), f"{chart.workload}: {chart.what}, distribution", said, body)


def _typical(row: Latency) -> str:
    parts = [f"p{percent:g} {words.number(value)} ms" for percent in (50.0, 99.0) if (value := row.at(percent)) is not None]
    return ", ".join(parts)


def history(chart: HistoryChart, name: str) -> str:
    """Medians with their intervals over runs, oldest left. Only runs that were measured alike are on it."""
    values = [value for track in chart.tracks for mark in track.marks for value in (mark.low, mark.high)]
    top = max(values) * 1.06
    low = 0.0 if min(values) < top / 3 else min(values) * 0.94
    last = max(1, len(chart.runs) - 1)
    x = _linear(0, last, _LEFT + 14, WIDTH - _RIGHT - 14)
    y = _linear(low, top, HEIGHT - _BOTTOM, _TOP + 10)
    shown = {0, last, *(range(len(chart.runs)) if len(chart.runs) <= 5 else [last // 2])}
    across = [(float(at), run.label) for at, run in enumerate(chart.runs) if at in shown]
    up = [(value, words.number(value) if value else "0") for value in ticks(top) if value >= low]
    frame = _frame(x, y, across, up, ("runs, the newest right", chart.unit))
    body, said = frame.body, []
    for track in chart.tracks:
        places = [(frame.x(mark.at), frame.y(mark.median)) for mark in track.marks]
        body.append(_path(places, track.colour))
        for mark, (at, height) in zip(track.marks, places, strict=True):
            sentence = f"{track.system} in {chart.runs[mark.at].id}: {words.number(mark.median)} {chart.unit}"
            body += [line(at, frame.y(mark.low), at, frame.y(mark.high), "spread"), _dot(at, height, track.colour, sentence)]
            said.append(sentence)
    body += _key([(track.colour, track.system, words.count(len(track.marks), "run")) for track in chart.tracks])
    title = f"{short(chart.title, 60)} over {words.count(len(chart.runs), 'run')}"
    return drawing(name, WIDTH, HEIGHT + 8 + _KEY_ROW * len(chart.tracks), title, "; ".join(said), body)
