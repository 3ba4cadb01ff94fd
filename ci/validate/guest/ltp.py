# SPDX-License-Identifier: Apache-2.0
"""The suite ltp: the commands of an installed LTP's list (`runtest/fs`, or what the option `list` names), with TMPDIR in the product.

A line of a list is an id and a command for the shell, as LTP's own runner has it.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import outside, results
from .context import Context, Plan
from .engine import Table


def commands(text: str) -> dict[str, str]:
    """The commands of a list by their ids."""
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _listed(plan: Plan) -> dict[str, str]:
    path = Path(plan.options["place"], "runtest", plan.options.get("list", "fs"))
    return commands(path.read_text(encoding="utf-8")) if path.is_file() else {}


def table(plan: Plan) -> Table:
    """The cases in the list's order."""
    return outside.table(plan, list(_listed(plan)), _run)


def _run(t: Context, name: str) -> None:
    root = t.plan.options["place"]
    place = outside.folder(t, name)
    programs = f"{root}/testcases/bin:{os.environ['PATH']}"
    os.environ.update(LTPROOT=root, TMPDIR=place, TMP=place, PATH=programs, LTP_COLORIZE_OUTPUT="0", KCONFIG_SKIP_CHECK="1")
    ended = t.command(["sh", "-c", _listed(t.plan)[name]], most=outside.OUTPUT)
    row = results.ltp(ended.output, ended.code)
    if row.verdict == results.FAIL:
        t.keep(f"{name}.txt", ended.output)
    outside.clear(t, place)
    outside.judge(t, row)
