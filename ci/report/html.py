# SPDX-License-Identifier: Apache-2.0
"""report.html: one file, no request to anywhere; every text from the record is escaped.

Its one script sorts tables. The page's content security policy names the hash of that script, so that no other one would run.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ci.report import lines, svg, words
from ci.report.systems import slug
from ci.report.view import View

TEMPLATES = Path(__file__).parent / "templates"


def render(content: View) -> str:
    """The page."""
    return fill("report.html.j2", view=content, record=content.record)


def fill(template: str, **values: object) -> str:
    """A page from one of the templates, with the style, the script and the charts that all of them share."""
    style, script = (Markup((TEMPLATES / name).read_text()) for name in ("report.css", "sort.js"))
    return _environment().get_template(template).render(style=style, script=script, script_hash=script_hash(script), **values)


@functools.lru_cache(maxsize=1)
def _environment() -> Environment:
    """Made once: compiling a template takes longer than filling it, and a site fills one for each run."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(words=words, interval=svg.interval, slug=slug)
    drawings: dict[str, Callable[..., str]] = {
        "bars": svg.bars,
        "ratios": svg.ratios,
        "recall": lines.recall,
        "latency": lines.latency,
        "history": lines.history,
    }
    environment.globals.update({name: _drawn(draw) for name, draw in drawings.items()})
    return environment


def _drawn(draw: Callable[..., str]) -> Callable[..., Markup]:
    """A chart for the template: it has escaped its own texts."""
    return lambda *arguments: Markup(draw(*arguments))


def script_hash(script: str) -> str:
    """The source expression of a script in a content security policy (CSP level 3, hash-source)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
