# SPDX-License-Identifier: Apache-2.0
"""Other people's tests in the guest, as cases of this tool's own: what surrounds them, what is left out and why, what a row means.

`options` of the plan: `place` is the folder with the built tests, `exclude` the list of what is left out (`ID  # reason` a line).
"""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Callable, Sequence

from . import product, results
from .context import Context, NotOffered, Plan
from .engine import DAEMON, MODULE, REFERENCE, Table
from .results import Row

EVERY = (MODULE, DAEMON, REFERENCE)
OUTPUT = 4 << 20  # bytes of a program's output that are read
Test = Callable[[Context, str], None]


def excluded(plan: Plan) -> dict[str, str]:
    """What is left out: patterns of ids, each with its reason. The host has checked the list."""
    rows = [line.partition("#") for line in plan.options.get("exclude", "").splitlines() if line.strip() and not line.startswith("#")]
    return {pattern.strip(): reason.strip() for pattern, _, reason in rows}


def reason(plan: Plan, case: str) -> str:
    """Why a case is left out; empty where it is not."""
    return next((why for pattern, why in excluded(plan).items() if fnmatch.fnmatchcase(case, pattern)), "")


def table(plan: Plan, tests: Sequence[str], run: Test, *, mounted: bool = True) -> Table:
    """One case for each test, in the mounted product (or, where the tests mount it themselves, around them nothing is)."""
    made = Table()
    made.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.load_afresh)
    if mounted:
        made.case("mount", mounted=False, vital=True, kinds=EVERY)(product.mount)
    made.case("list", mounted=False, kinds=EVERY)(lambda t: _list(t, tests))
    for name in tests:
        made.case(name, mounted=mounted, kinds=EVERY)(_one(name, run))
    if mounted:
        made.case("unmount", mounted=False, vital=True, kinds=EVERY)(product.unmount_checked)
    made.case("unload", kinds=(MODULE,), mounted=False, vital=True)(product.unload)
    return made


def _list(t: Context, tests: Sequence[str]) -> None:
    """There are tests at all, and the list of what is left out names some of them in each line."""
    t.check(bool(tests), f"there is not one test below {t.plan.options['place']}")
    idle = [pattern for pattern in excluded(t.plan) if not fnmatch.filter(tests, pattern)]
    t.check(not idle, f"the list of excluded tests names what there is not: {', '.join(idle)}; correct it, or take it off")
    left_out = sum(bool(reason(t.plan, name)) for name in tests)
    t.detail = f"{len(tests)} tests, {left_out} excluded"


def _one(name: str, run: Test) -> Callable[[Context], None]:
    def body(t: Context) -> None:
        if why := reason(t.plan, name):
            raise NotOffered(f"excluded: {why}")
        run(t, name)

    return body


def folder(t: Context, name: str) -> str:
    """A folder of a test's own in the product, which becomes the working folder of the case's process."""
    path = t.path(name.replace("/", "-"))
    os.mkdir(path)
    os.chmod(path, 0o777)
    os.chdir(path)
    return path


def clear(t: Context, path: str) -> None:
    """Remove what a test left there: the next ones need the room."""
    os.chdir("/")
    t.op(f"remove {path}")
    shutil.rmtree(path)


def judge(t: Context, row: Row) -> None:
    """The row as this case's outcome."""
    if row.verdict == results.SKIP:
        raise NotOffered(row.detail)
    t.check(row.verdict == results.PASS, row.detail)
    t.detail = row.detail


def whole(found: results.Results, code: int) -> Row:
    """All of a TAP output as one row: it is right as a whole, its program exited 0, and no result in it is a failure."""
    wrong = [f"{row.id}: {row.detail}" for row in found.bad]
    count = len(found.rows)
    if wrong or found.problems:
        first = "; ".join([*wrong[:3], *found.problems])
        return Row("", results.FAIL, f"{len(wrong)} of {count} results are 'not ok': {first}" if wrong else first)
    if found.skipped:
        return Row("", results.SKIP, found.skipped)
    if code != 0:
        return Row("", results.FAIL, f"each of its {count} results is fine, and yet it ended with status {code}")
    ran = sum(row.verdict == results.PASS for row in found.rows)
    return Row("", results.PASS if ran else results.SKIP, f"{ran} of {count} results ok" if ran else found.rows[0].detail)
