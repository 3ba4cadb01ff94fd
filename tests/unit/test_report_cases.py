# SPDX-License-Identifier: Apache-2.0
"""Suites as JUnit XML and KTAP: read back, they say what the record says, and a suite that is wrong never reads as passed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as tree

import pytest

from ci.model import Case, SuiteResult, Verdict
from ci.report import cases

pytestmark = pytest.mark.unit

KERNEL = "6.1.0-57-cloud-amd64"


def suite(verdict: Verdict, *found: Case, detail: str = "") -> SuiteResult:
    return SuiteResult("smoke", "vexfs-kernel", KERNEL, verdict, detail, 1, found, 2.5)


GOOD = suite(Verdict.PASS, Case("mount", Verdict.PASS, "observed", 0.25), Case("acl", Verdict.SKIP, "no ACLs", 0.0))
BAD = suite(
    Verdict.PANIC,
    Case("mount", Verdict.PASS, "", 0.1),
    Case("ls #2", Verdict.PANIC, 'BUG: <NULL> "dereference"\nat ls\x00\x1b[0m', 0.4),
    Case("write", Verdict.INFRA, "the guest was lost", 0.0),
)
SPLAT_AT_THE_END = suite(Verdict.PANIC, Case("mount", Verdict.PASS, "", 0.1), detail="WARNING at unload")


def test_junit_counts_and_kinds_are_those_of_the_cases() -> None:
    root = tree.fromstring(cases.junit([GOOD, BAD]))
    good, bad = root.findall("testsuite")
    assert good.get("name") == f"smoke on vexfs-kernel [{KERNEL}]"
    counted = [{name: group.get(name) for name in ("tests", "failures", "errors", "skipped")} for group in (good, bad)]
    assert counted[0] == {"tests": "2", "failures": "0", "errors": "0", "skipped": "1"}
    assert counted[1] == {"tests": "3", "failures": "1", "errors": "1", "skipped": "0"}
    rows = {row.get("name"): row for row in bad.findall("testcase")}
    panic = rows["ls #2"].find("failure")
    assert panic is not None and panic.get("type") == "panic"
    assert "<NULL>" in str(panic.get("message")) and "\x1b" not in str(panic.get("message"))
    lost = rows["write"].find("error")
    assert lost is not None and lost.get("type") == "infra"
    assert [child.tag for child in rows["mount"]] == []


def test_a_suite_that_is_wrong_behind_its_last_case_fails_in_both_forms() -> None:
    group = tree.fromstring(cases.junit([SPLAT_AT_THE_END])).find("testsuite")
    assert group is not None and (group.get("tests"), group.get("failures")) == ("2", "1")
    failed = [row.get("name") for row in group.findall("testcase") if row.find("failure") is not None]
    assert failed == [cases.WHOLE]
    assert results(cases.ktap([SPLAT_AT_THE_END]))[1:] == [("not ok", cases.WHOLE), ("not ok", cases.title(SPLAT_AT_THE_END))]


def results(text: str) -> list[tuple[str, str]]:
    """The result lines of KTAP, inner ones before their own; plans and numbers are checked on the way."""
    assert text.startswith("KTAP version 1\n")
    found, due = [], {0: [0, -1], 2: [0, -1]}
    for row in text.splitlines():
        depth = 2 if row.startswith("  ") else 0
        if plan := re.fullmatch(r"1\.\.(\d+)", row.strip()):
            due[depth] = [0, int(plan[1])]
        elif result := re.fullmatch(r"(ok|not ok) (\d+) ([^#]*?)(?: # (SKIP|XFAIL)( .*)?)?", row.strip()):
            due[depth][0] += 1
            assert int(result[2]) == due[depth][0]
            if depth == 0:
                assert due[2][0] == due[2][1], "an inner test has as many results as its plan says"
            found.append((result[1] + (f" {result[4]}" if result[4] else ""), result[3]))
        else:
            assert row.strip() == "KTAP version 1" or row.strip().startswith("# "), row
    assert due[0][0] == due[0][1]
    return found


def test_ktap_has_a_plan_for_each_suite_and_a_line_for_each_case() -> None:
    assert results(cases.ktap([GOOD, BAD])) == [
        ("ok", "mount"),
        ("ok SKIP", "acl"),
        ("ok", cases.title(GOOD)),
        ("ok", "mount"),
        ("not ok", "ls no. 2"),
        ("not ok", "write"),
        ("not ok", cases.title(BAD)),
    ]


def test_a_detail_stays_on_the_line_of_its_case() -> None:
    assert '  # panic: BUG: <NULL> "dereference" at ls' in cases.ktap([BAD])
