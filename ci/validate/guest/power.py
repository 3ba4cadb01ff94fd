# SPDX-License-Identifier: Apache-2.0
"""One life of a guest between two power cuts: look at what the last one left, then work until the next (ci/validate/power.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import product, stage
from .changes import Options
from .context import Context, Failed, Plan
from .engine import DAEMON, MODULE, Table


def table(plan: Plan) -> Table:
    """`recover` where something was before (option `after`: a file on what), and `work`, which only the end of the guest ends."""
    cases = Table()
    cases.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.ensure_loaded)
    if plan.options.get("after"):
        cases.case("recover", kinds=(MODULE, DAEMON), mounted=False, vital=True)(_recover)
    if plan.options.get("work"):
        cases.case("work", kinds=(MODULE, DAEMON), mounted=False, vital=True)(_work)
    return cases


def _recover(t: Context) -> None:
    before = json.loads(Path(t.plan.options["after"]).read_text(encoding="utf-8"))
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in before["options"].items()}
    t.plan = stage.on(t.plan, t.plan.options["device"])
    result = stage.recover(t, Options(**values), before["messages"], None, before["where"])
    t.tell({"recovered": {"promises": result.promises, "files": result.files, "exact": result.exact}})
    t.detail = f"{result.promises} promises kept, {result.files} files compared"


def _work(t: Context) -> None:
    t.plan = stage.on(t.plan, t.plan.options["device"])
    if not t.plan.options.get("after"):
        stage.prepare(t)
    product.mount(t)
    stage.clear(t)
    chosen = stage.options(t, int(t.plan.options["work"]), 1_000_000, survives=False)
    t.tell({"options": chosen.__dict__})
    work = stage.Workload(t, chosen)
    work.listen(None, t.tell)
    raise Failed(f"the workload ended by itself: {work.errors()}")
