# SPDX-License-Identifier: Apache-2.0
"""The executive summary as a page that prints on one sheet of A4, and as Markdown."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ci.marks import code, plain, table
from ci.report.executive import MOST_PAIRS, Executive, Refused
from ci.report.standing import BETTER, WORSE, Pair

TEMPLATES = Path(__file__).parent / "templates"
COLUMNS = ("Against", "Better", "Worse", "No difference shown", "Most in our favour", "Most against us")


def html(content: Executive) -> str:
    """executive.html."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((TEMPLATES / "executive.css").read_text())
    rows = [row(pair) for pair in content.pairs[:MOST_PAIRS]]
    return environment.get_template("executive.html.j2").render(content=content, rows=rows, columns=COLUMNS, style=style)


def row(pair: Pair) -> tuple[str, ...]:
    """One line of the table of positions."""
    if pair.silence:
        return (f"{pair.system} against {pair.other}", "none", "none", "none", f"not compared: {pair.silence}", "")
    most = [f"{edge.measure}: {edge.said}" if (edge := next(iter(pair.of(outcome)), None)) else "nothing" for outcome in (BETTER, WORSE)]
    even = len([edge for edge in pair.edges if edge.outcome == "no difference shown"])
    return (f"{pair.system} against {pair.other}", str(len(pair.of(BETTER))), str(len(pair.of(WORSE))), str(even), *most)


def markdown(content: Executive) -> list[str]:
    """The same for summary.md, below a heading of its own."""
    lines = ["## Findings", "", *(f"- {plain(text)}" for text in content.findings), "", "### Position", ""]
    lines += table(COLUMNS, [[plain(cell) for cell in row(pair)] for pair in content.pairs])
    if content.ranks:
        lines += ["### Ranks that the numbers support", ""]
        lines += [f"- {plain(f'{rank.workload} {rank.metric}')}: {plain(rank.said)}" for rank in content.ranks]
        lines += [""]
    lines += ["### Recommendations", ""]
    lines += [f"- {plain(item.text)} ({code(item.rule)})" for item in content.recommendations] or ["- None follows from these numbers."]
    lines += ["", *(f"  {code(rule)}: {plain(text)}" for rule, text in content.rules), "", "### Method", ""]
    return [*lines, *(plain(text) for text in (*content.method, *content.limits)), ""]


def markdown_refused(error: Refused) -> list[str]:
    """Why there is none, for summary.md."""
    head = ["## Findings", "", "None are drawn from this run, because of what is in it:", ""]
    return [*head, *(f"- {plain(str(reason))}" for reason in error.reasons), ""]
