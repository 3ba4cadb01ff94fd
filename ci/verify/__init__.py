# SPDX-License-Identifier: Apache-2.0
"""Looks at built artifacts and says what was observed. Nothing here trusts what the build asked for.

subject.py    what is verified, and how a check is written down with its evidence
common.py     for every artifact: there, fresh, the right kind of file
elf.py        facts read from ELF files with pyelftools
module*.py    kernel modules, one family of checks a file
daemon.py     daemons; libraries.py what they need of the target
drift.py      versions and names that stand in several places
budget.py     the compiler's warnings
findings.py   what static checkers said
layout.py     structures that a C header and another language must have alike
origin.py     the commit that it was built from
explain.py    what each check's id means, from explanations.yaml
"""

from __future__ import annotations

from ci.model import Check, Kind
from ci.verify import budget, common, daemon, layout, module
from ci.verify.subject import Subject


def verify(subject: Subject) -> list[Check]:
    """All checks of one artifact. A missing or unreadable file fails its checks; it does not raise."""
    checks = common.checks(subject)
    if any(not check.verdict.ok for check in checks):
        return checks  # what is not the right kind of file has no further properties to look at
    own = module.checks(subject) if subject.spec.kind is Kind.KERNEL_MODULE else daemon.checks(subject)
    return checks + own + layout.checks(subject) + budget.checks(subject)
