# SPDX-License-Identifier: Apache-2.0
"""The suite pjdfstest: each of its scripts (`tests/rename/00.t`, the case `rename/00`) prints TAP, in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

from . import outside, results
from .context import Context, Plan
from .engine import Table


def table(plan: Plan) -> Table:
    """The cases in the order of their names."""
    tests = Path(plan.options["place"], "tests")
    names = sorted(str(path.relative_to(tests).with_suffix("")) for path in tests.rglob("*.t"))
    return outside.table(plan, names, _run)


def _run(t: Context, name: str) -> None:
    place = outside.folder(t, name)
    ended = t.command(["sh", os.path.join(t.plan.options["place"], "tests", f"{name}.t")], most=outside.OUTPUT)
    row = outside.whole(results.tap(ended.output), ended.code)
    if row.verdict == results.FAIL:
        t.keep(f"{name.replace('/', '-')}.tap", ended.output)
    outside.clear(t, place)
    outside.judge(t, row)
