# SPDX-License-Identifier: Apache-2.0
"""What other people's tests print, read as rows: what they leave out is a problem and never a pass."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ci.validate.guest import results
from ci.validate.guest.results import FAIL, PASS, SKIP, Row, tap

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).resolve().parents[1] / "golden/tap"


def rows(text: str) -> list[tuple[str, str]]:
    return [(row.id, row.verdict) for row in tap(text).rows]


class TestTap:
    def test_the_kernels_own_example(self) -> None:
        """Documentation/dev-tools/ktap.rst, its example of nested results."""
        text = """\
KTAP version 1
1..1
  KTAP version 1
  1..3
    KTAP version 1
    1..1
    # test_1: initializing test_1
    ok 1 test_1
  ok 1 example_test_1
    KTAP version 1
    1..2
      KTAP version 1
      1..1
      ok 1 test_1 # SKIP no such device
    ok 1 test_1
      # test_2: expected 3, got 4
    not ok 2 test_2
  not ok 2 example_test_2
  ok 3 example_test_3
not ok 1 main_test
"""
        found = tap(text)
        assert [(row.id, row.verdict) for row in found.rows] == [
            ("main_test.example_test_1.test_1", PASS),
            ("main_test.example_test_2.test_1.test_1", SKIP),
            ("main_test.example_test_2.test_2", FAIL),
            ("main_test.example_test_3", PASS),
        ]
        assert found.problems == ()
        assert found.rows[2].detail == "test_2; test_2: expected 3, got 4"

    def test_kselftests_runner_puts_a_mark_in_front_of_what_a_test_prints(self) -> None:
        text = """\
TAP version 13
1..2
# timeout set to 45
# selftests: filesystems: devpts_pts
# TAP version 13
# 1..2
# ok 1 mount: it is
# # a remark
# not ok 2 mount: it is not
# # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0
not ok 1 selftests: filesystems: devpts_pts # exit=1
# selftests: filesystems: fat
ok 2 selftests: filesystems: fat # SKIP
"""
        assert rows(text) == [
            ("selftests:-filesystems:-devpts_pts.mount:-it-is", PASS),
            ("selftests:-filesystems:-devpts_pts.mount:-it-is-not", FAIL),
            ("selftests:-filesystems:-fat", SKIP),
        ]

    def test_what_pjdfstest_prints(self) -> None:
        text = "1..4\nok 1\nnot ok 2 - tried 'mkdir x 0755', expected 0, got EEXIST\nok 3\nok 4 # TODO it works by now\n"
        found = tap(text)
        assert rows(text) == [("1", PASS), ("tried-'mkdir-x-0755'-expected-0-got-EEXIST", FAIL), ("3", PASS), ("4", PASS)]
        assert found.bad[0].detail == "tried 'mkdir x 0755', expected 0, got EEXIST"

    def test_kunit_in_the_kernels_log_and_colours(self) -> None:
        text = "[    1.234567] KTAP version 1\n[    1.2] 1..1\n[    1.3]     ok 1 \x1b[32minner\x1b[0m\n[    1.4] ok 1 suite\n"
        assert rows(text) == [("suite.inner", PASS)]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("ok 1 a\n", "no plan"),
            ("", "no plan"),
            ("Segmentation fault\n", "no plan"),
            ("1..3\nok 1 a\n", "1 of 3 planned tests have a result"),
            ("1..1\nok 1 a\nok 2 b\n", "2 of 1 planned tests have a result"),
            ("1..2\nok 1 a\nok 3 c\n", "result 3 stands where 2 was to come"),
            ("1..2\nok 1 a\nBail out! no root\n", "Bail out! no root"),
            ("1..2\nok 1 a\n    1..2\n    ok 1 inner\n", "ended inside of a test, behind inner"),
        ],
    )
    def test_what_is_missing_is_a_problem(self, text: str, problem: str) -> None:
        assert any(problem in said for said in tap(text).problems), tap(text).problems

    def test_a_subtest_that_is_missing_fails_its_test(self) -> None:
        assert rows("1..1\n  1..3\n  ok 1 a\n  ok 2 b\nok 1 outer\n") == [("outer.a", PASS), ("outer.b", PASS), ("outer", FAIL)]

    def test_a_test_that_fails_although_its_subtests_passed_is_a_failure_of_its_own(self) -> None:
        assert rows("1..1\n  1..1\n  ok 1 a\nnot ok 1 outer\n") == [("outer.a", PASS), ("outer", FAIL)]

    @pytest.mark.parametrize(
        ("line", "verdict", "detail"),
        [
            ("ok 1 x # SKIP no FUSE", SKIP, "skip: no FUSE"),
            ("not ok 1 x # SKIP", SKIP, "skip: no reason given"),
            ("not ok 1 x # TODO later", SKIP, "todo: later"),
            ("ok 1 x # XFAIL known", SKIP, "xfail: known"),
            ("not ok 1 x # TIMEOUT 45 seconds", FAIL, "x; timeout 45 seconds"),
            ("ok 1 x # ERROR", FAIL, "x; error"),
            ("ok 1 escaped \\# SKIP here", PASS, ""),
            ("okay 1 then", None, ""),
        ],
    )
    def test_directives(self, line: str, verdict: str | None, detail: str) -> None:
        found = tap(f"1..1\n{line}\n").rows
        assert [(row.verdict, row.detail) for row in found] == ([(verdict, detail)] if verdict else [])

    def test_a_plan_of_none_says_why(self) -> None:
        found = tap("1..0 # SKIP only for root\n")
        assert (found.rows, found.problems, found.skipped) == ((), (), "only for root")
        assert tap("1..0\n").skipped == "it plans no tests"

    def test_equal_names_stay_apart(self) -> None:
        assert rows("1..2\nok 1 same, here\nok 2 same here\n") == [("same-here", PASS), ("same-here~2", PASS)]

    @pytest.mark.skipif(shutil.which("perl") is None, reason="perl is not installed")
    def test_real_output_of_test_more(self) -> None:
        program = (
            "use Test::More tests => 4; ok(1, 'one'); is(2, 3, 'two'); SKIP: { skip 'no disk', 1; ok(1) } "
            "subtest three => sub { plan tests => 2; ok(1, 'a'); ok(0, 'b') };"
        )
        done = subprocess.run(["perl", "-e", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 2
        found = tap(done.stdout)
        assert [(row.id, row.verdict) for row in found.rows] == [
            ("one", PASS),
            ("two", FAIL),
            ("3", SKIP),
            ("three.a", PASS),
            ("three.b", FAIL),
        ]
        assert found.problems == ()


class TestLtp:
    @pytest.mark.parametrize(
        ("text", "code", "verdict", "words"),
        [
            ("chdir01.c:88: TPASS: chdir(d) passed\nSummary:\npassed   1\n", 0, PASS, "1 results"),
            ("\x1b[1;32mgf01 1 TPASS  :  Test passed\x1b[0m\n", 0, PASS, "1 results"),
            ("a.c:1: TPASS: x\na.c:2: TFAIL: stat: EIO (5)\n", 1, FAIL, "TFAIL: stat: EIO (5)"),
            ("a.c:1: TBROK: mkfs failed\n", 2, FAIL, "TBROK: mkfs failed"),
            ("a.c:1: TPASS: x\n", 4, FAIL, "exit 4 (TWARN)"),
            ("tst_kernel.c:9: TCONF: needs 6.8\n", 32, SKIP, "needs 6.8"),
            ("", 0, FAIL, "exit 0, and not one result (TPASS); it said nothing"),
            ("nothing of the kind\n", 0, FAIL, "not one result"),
            ("a.c:1: TPASS: x\n", -11, FAIL, "ended with status -11"),
            ("sh: gf01: not found\n", 127, FAIL, "ended with status 127"),
        ],
    )
    def test_a_program(self, text: str, code: int, verdict: str, words: str) -> None:
        row = results.ltp(text, code)
        assert row.verdict == verdict and words in row.detail, row


HEAD = "FSTYP         -- vexfs\nPLATFORM      -- Linux/x86_64 guest 6.1.0\n\n"


class TestXfstests:
    @pytest.mark.parametrize(
        ("text", "code", "row"),
        [
            ("generic/001 5s ...  5s\nRan: generic/001\nPassed all 1 tests\n", 0, Row("generic/001", PASS)),
            (
                "generic/001       [not run] no fpunch\nRan: generic/001\nNot run: generic/001\nPassed all 1 tests\n",
                0,
                Row("generic/001", SKIP, "no fpunch"),
            ),
            (
                "generic/001 fallocate: only mode 0 is supported\n [not run] no fpunch\nRan: generic/001\nPassed all 1 tests\n",
                0,
                Row("generic/001", SKIP, "no fpunch"),
            ),
            ("generic/001       [expunged]\nPassed all 0 tests\n", 0, Row("generic/001", SKIP, "expunged by check itself")),
        ],
    )
    def test_what_stands_behind_its_name(self, text: str, code: int, row: Row) -> None:
        assert results.xfstests(HEAD + text, "generic/001", code) == row

    def test_a_failure_has_the_difference(self) -> None:
        text = (
            "generic/001 - output mismatch (see x.out.bad)\n    -a\n    +b\nRan: generic/001\nFailures: generic/001\nFailed 1 of 1 tests\n"
        )
        row = results.xfstests(HEAD + text, "generic/001", 1)
        assert row.verdict == FAIL and "    +b" in row.detail

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", 0),
            ("common/rc: error: mount failed\n", 1),
            ("generic/001 5s\n", 0),  # check was ended before its summary
            ("generic/002 5s ...  5s\nRan: generic/002\nPassed all 1 tests\n", 0),  # another test
            ("generic/001 5s ...  5s\nRan: generic/001\nPassed all 1 tests\n", 1),  # the file system's check behind it
            ("generic/0011 [not run] x\n", 0),
        ],
    )
    def test_what_does_not_say_that_it_passed_did_not(self, text: str, code: int) -> None:
        assert results.xfstests(HEAD + text, "generic/001", code).verdict == FAIL


class TestRealOutput:
    """What kselftests of Linux 6.12 printed on this project's reference machine."""

    def read(self, name: str) -> results.Results:
        return tap((GOLDEN / f"{name}.txt").read_text())

    def test_the_kselftest_harness(self) -> None:
        found = self.read("mincore_selftest")
        assert [(row.id, row.verdict) for row in found.rows] == [
            ("global.basic_interface", PASS),
            ("global.check_anonymous_locked_pages", PASS),
            ("global.check_huge_pages", SKIP),
            ("global.check_file_mmap", PASS),
            ("global.check_tmpfs_mmap", PASS),
        ]
        assert found.problems == ()

    def test_one_that_gave_up(self) -> None:
        found = self.read("resolve_test")
        assert found.rows == ()
        assert found.problems == ("Bail out! resolve_test.c:54 mount failed - errno:22", "0 of 88 planned tests have a result")
