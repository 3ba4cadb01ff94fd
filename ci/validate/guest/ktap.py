# SPDX-License-Identifier: Apache-2.0
"""The suite ktap: any command that prints TAP or KTAP (kselftest, KUnit, perl's Test::More), in the product; each result is a case.

`options.command` is the command; {place} in it is the folder of the built checkout, {mountpoint} where the product is mounted, which is
also its working folder. The case `command` is the output as a whole: it fails where results are missing or the exit status is not 0.
"""

from __future__ import annotations

import shlex

from . import outside, product, results
from .context import Context, Failed, NotOffered, Plan
from .engine import MODULE, Table

COMMAND = "command"


def table(plan: Plan) -> Table:
    """The command between mount and unmount; its results are known once it has ended."""
    made = Table()
    made.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.load_afresh)
    made.case("mount", mounted=False, vital=True, kinds=outside.EVERY)(product.mount)
    made.case(COMMAND, kinds=outside.EVERY)(_run)
    made.case("unmount", mounted=False, vital=True, kinds=outside.EVERY)(product.unmount_checked)
    made.case("unload", kinds=(MODULE,), mounted=False, vital=True)(product.unload)
    return made


def argv(plan: Plan) -> list[str]:
    """The command's words."""
    fields = {"{place}": plan.options.get("place", ""), "{mountpoint}": plan.mountpoint}
    words = shlex.split(plan.options[COMMAND])
    for field, value in fields.items():
        words = [word.replace(field, value) for word in words]
    return words


def _run(t: Context) -> None:
    place = outside.folder(t, COMMAND)
    ended = t.command(argv(t.plan), most=outside.OUTPUT)
    t.keep("command.tap", ended.output)
    found = results.tap(ended.output)
    for row in found.rows:
        name = f"{COMMAND}.{row.id}"
        if why := outside.reason(t.plan, name):
            t.found(name, results.SKIP, f"excluded: {why}; it was {row.verdict}", required=False)
        else:
            t.found(name, row.verdict, row.detail, required=row.verdict != results.SKIP)
    outside.clear(t, place)
    _judge(t, found, ended.code)


def _judge(t: Context, found: results.Results, code: int) -> None:
    """The output as a whole; what a result says for itself is not said again."""
    if found.problems:
        raise Failed("; ".join(found.problems))
    if found.skipped:
        raise NotOffered(found.skipped)
    t.check(code == 0 or bool(found.bad), f"each of its {len(found.rows)} results is fine, and yet it ended with status {code}")
    t.check(any(row.verdict == results.PASS for row in found.rows) or bool(found.bad), "not one of its results is a pass")
    t.detail = f"{len(found.rows)} results"
