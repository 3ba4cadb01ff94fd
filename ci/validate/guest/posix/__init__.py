# SPDX-License-Identifier: Apache-2.0
"""The suite posix: what POSIX.1-2017 and the Linux manual pages say of each system call that a file system sees.

A case is a row of a table (`book.py`): what there is before, what is called, which error or which state must follow. Each has a folder of
its own as working folder. Cases of one subject are a group, which one process runs. The same rows on ext4 are the check of the suite.
"""

from __future__ import annotations

import importlib

from .. import product
from ..context import Plan
from ..engine import DAEMON, MODULE, REFERENCE, Table

EVERY = (MODULE, DAEMON, REFERENCE)
# Each a module with GROUPS.
SUBJECTS = (
    "paths",
    "names",
    "opening",
    "content",
    "sparse",
    "maps",
    "making",
    "links",
    "renaming",
    "permissions",
    "times",
    "attributes",
    "locks",
    "listing",
    "unnamed",
    "volume",
)


def table(plan: Plan) -> Table:
    """The cases in their order; what is mounted stays so from `mount` to `unmount`."""
    made = Table()
    made.case("load", kinds=(MODULE,), mounted=False, vital=True)(product.load_afresh)
    made.case("mount", mounted=False, vital=True, kinds=EVERY)(product.mount)
    for name in SUBJECTS:
        for group in importlib.import_module(f".{name}", __package__).GROUPS:
            made.group(group.entry())
    made.case("unmount", mounted=False, vital=True, kinds=EVERY)(product.unmount_checked)
    made.case("unload", kinds=(MODULE,), mounted=False, vital=True)(product.unload)
    return made
