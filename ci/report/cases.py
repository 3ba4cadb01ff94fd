# SPDX-License-Identifier: Apache-2.0
"""The cases of suites in the two forms that other programs read: JUnit XML (GitHub, GitLab, Jenkins) and KTAP (the kernel's).

A suite can be wrong although each of its cases passed: a splat behind the last of them, fewer cases than its minimum. It then has a
case of its own, named `(suite)`, so that no reader of the cases alone takes it for passed.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as tree
from collections.abc import Sequence

from ci.model import Case, SuiteResult, Verdict

WHOLE = "(suite)"
_MACHINE = (Verdict.INFRA, Verdict.INTERRUPTED, Verdict.RUNNING, Verdict.USAGE)
# XML 1.0, production 2 (Char): what a kernel's console may hold besides cannot be written at all.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def title(suite: SuiteResult) -> str:
    """One suite on one artifact in one kernel, as a name."""
    return f"{suite.suite} on {suite.artifact} [{suite.kernel}]"


def shown(suite: SuiteResult) -> tuple[Case, ...]:
    """Its cases, and where they do not explain its verdict, the suite itself as one."""
    if suite.verdict.ok or any(case.verdict is suite.verdict for case in suite.cases):
        return suite.cases
    return (*suite.cases, Case(WHOLE, suite.verdict, suite.detail, suite.seconds))


def junit(suites: Sequence[SuiteResult]) -> str:
    """JUnit XML, in the dialect that GitHub, GitLab and Jenkins share: `failure` is the product's, `error` the machine's."""
    root = tree.Element("testsuites", name="vexci")
    for suite in suites:
        cases = shown(suite)
        facts = {"name": _xml(title(suite)), **_counts(cases), "time": f"{suite.seconds:.3f}"}
        group = tree.SubElement(root, "testsuite", facts)
        for case in cases:
            row = tree.SubElement(group, "testcase", name=_xml(case.id), classname=f"{suite.suite}.{suite.artifact}")
            row.set("time", f"{case.seconds:.3f}")
            kind = _junit_kind(case.verdict)
            if kind:
                said = tree.SubElement(row, kind, message=_xml(case.detail))
                if kind != "skipped":
                    said.set("type", case.verdict.value)
    tree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tree.tostring(root, encoding="unicode") + "\n"


def _junit_kind(verdict: Verdict) -> str:
    if verdict is Verdict.PASS:
        return ""
    if verdict in (Verdict.SKIP, Verdict.KNOWN):
        return "skipped"
    return "error" if verdict in _MACHINE else "failure"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    kinds = [_junit_kind(case.verdict) for case in cases]
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(cases)), **{name: str(kinds.count(kind)) for name, kind in counts.items()}}


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def ktap(suites: Sequence[SuiteResult]) -> str:
    """KTAP version 1, a nested test a suite (Documentation/dev-tools/ktap.rst of the kernel)."""
    lines = ["KTAP version 1", f"1..{len(suites)}"]
    for number, suite in enumerate(suites, 1):
        cases = shown(suite)
        name = _line(title(suite))
        inner = ["KTAP version 1", f"# Subtest: {name}", f"1..{len(cases)}"]
        for place, case in enumerate(cases, 1):
            inner += _result(place, case)
        lines += [f"  {row}" for row in inner]
        lines.append(f"{'ok' if suite.verdict.ok else 'not ok'} {number} {name}")
    return "\n".join(lines) + "\n"


def _result(number: int, case: Case) -> list[str]:
    name = _line(case.id)
    if case.verdict in (Verdict.SKIP, Verdict.KNOWN):
        directive = "SKIP" if case.verdict is Verdict.SKIP else "XFAIL"
        return [f"ok {number} {name} # {directive} {_line(case.detail)}".rstrip()]
    if case.verdict is Verdict.PASS:
        return [f"ok {number} {name}"]
    return [f"# {case.verdict}: {_line(case.detail)}", f"not ok {number} {name}"]


def _line(text: str) -> str:
    """On one line, and without the sign that begins a directive."""
    return " ".join(text.split()).replace("#", "no. ")
