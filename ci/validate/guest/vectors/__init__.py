# SPDX-License-Identifier: Apache-2.0
"""The suite vectors: what is added, replaced and removed is what searches find, to the bit of each distance, on every metric and several
dimensions, after a remount, after a crash, beside other processes, and through the other mount.

Options: `seed`, of all that is drawn; `count`, vectors of a collection.
"""

from __future__ import annotations

from functools import partial

from .. import product
from ..context import Plan
from ..engine import DAEMON, MODULE, Table
from . import answers, lives, refusals
from .reference import METRICS

DIMENSIONS = (1, 3, 16, 128, 2048)


def table(plan: Plan) -> Table:
    """The cases in their order; what is mounted stays so from `mount` to `unmount`."""
    seed, count = int(plan.options.get("seed", "1")), int(plan.options.get("count", "60"))
    made = Table()
    made.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.load_afresh)
    made.case("mount", mounted=False, vital=True)(product.mount)
    for name, metric in METRICS.items():
        for dimension in DIMENSIONS:
            made.case(f"search-{name}-{dimension}")(partial(answers.search, seed, metric, dimension, count))
        made.case(f"changes-{name}")(partial(answers.changes, seed, metric, count))
        made.case(f"edges-{name}")(partial(answers.edges, seed, metric))
    made.group(refusals.GROUP.entry())
    made.case("members")(partial(answers.members, seed))
    made.case("concurrent")(partial(lives.concurrent, seed))
    made.case("after-remount")(partial(lives.remount, seed, count))
    made.case("after-kill", kinds=(DAEMON,))(partial(lives.kill, seed, count))
    made.case("after-crash", kinds=(MODULE,))(partial(lives.crash, seed, count))
    if plan.others:
        made.case("other-mount", mounted=False)(partial(lives.other_mount, seed, count))
    made.case("unmount", mounted=False, vital=True)(product.unmount_checked)
    made.case("unload", kinds=(MODULE,), mounted=False, vital=True)(product.unload)
    return made
