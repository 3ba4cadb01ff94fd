# SPDX-License-Identifier: Apache-2.0
"""report.html: one file, no script, no request to anywhere; every text from the record is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ci.report import svg, words
from ci.report.view import View

TEMPLATES = Path(__file__).parent / "templates"


def render(content: View) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(words=words, interval=svg.interval)
    environment.globals["bars"] = lambda chart, name: Markup(svg.bars(chart, name))
    environment.globals["ratios"] = lambda findings, name, title: Markup(svg.ratios(findings, name, title))
    style = Markup((TEMPLATES / "report.css").read_text())
    return environment.get_template("report.html.j2").render(view=content, record=content.record, style=style)
