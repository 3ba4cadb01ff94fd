# SPDX-License-Identifier: Apache-2.0
"""Suites of checkouts: what is refused, what is skipped with the way out, and scripts that stand for the suites, on ext4 of this machine.

The scripts print what the real programs print. Each suite has ones that it must fail.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.manifest import SuiteSpec
from ci.model import Case, SuiteResult, Verdict
from ci.pipeline import checkouts
from ci.store import RunFolder
from ci.validate import adapters, run_reference
from ci.validate.guest import ltp, xfstests
from ci.validate.guest.context import Plan
from tests.localguest import LocalGuest, keep_inside, needs_mount

pytestmark = [pytest.mark.unit, needs_mount]


def suite(name: str, minimum: int = 1, operation_deadline: float = 20.0, **options: str) -> SuiteSpec:
    return SuiteSpec(name, (), minimum, 120.0, operation_deadline, tuple(options.items()))


def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: SuiteSpec, place: Path) -> SuiteResult:
    keep_inside(monkeypatch, tmp_path)
    told = adapters.told(chosen, tmp_path, str(place))
    return run_reference(LocalGuest(), told, "ext4", run=RunFolder(tmp_path))


def case(result: SuiteResult, name: str) -> Case:
    (found,) = (item for item in result.cases if item.id == name)
    return found


def scripts(folder: Path, **texts: str) -> Path:
    """Shell scripts below `folder`; `__` in a name stands for a slash."""
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".t")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


GOOD = 'echo 1..2\nmkdir a && echo ok 1\n[ "$(stat -f -c %T .)" = ext2/ext3 ] && echo ok 2\n'


class TestPjdfstest:
    def test_each_script_is_a_case_in_the_mounted_file_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = scripts(tmp_path / "place", tests__rename__00=GOOD, tests__mkdir__00=GOOD, tests__mkdir__01="echo '1..0 # SKIP chflags'\n")
        result = judge(tmp_path, monkeypatch, suite("pjdfstest", 2), place)
        assert result.verdict is Verdict.PASS, result.detail
        assert [item.id for item in result.cases] == ["mount", "list", "mkdir/00", "mkdir/01", "rename/00", "unmount"]
        assert (case(result, "mkdir/01").verdict, case(result, "mkdir/01").required) == (Verdict.SKIP, False)
        assert case(result, "rename/00").detail == "2 of 2 results ok"

    @pytest.mark.parametrize(
        ("text", "verdict", "words"),
        [
            (
                "echo 1..2\necho ok 1\necho \"not ok 2 - tried 'open x', expected EEXIST, got 0\"\n",
                Verdict.FAIL,
                "1 of 2 results are 'not ok'",
            ),
            ("echo 1..3\necho ok 1\n", Verdict.FAIL, "1 of 3 planned tests have a result"),
            ("exit 0\n", Verdict.FAIL, "no plan"),
            ("echo 1..1\necho ok 1\nexit 3\n", Verdict.FAIL, "and yet it ended with status 3"),
            ("kill -SEGV $$\n", Verdict.FAIL, "no plan"),
            ("sleep 60\n", Verdict.HANG, "no return from: sh "),
        ],
    )
    def test_a_script_that_is_not_right(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, verdict: Verdict, words: str
    ) -> None:
        place = scripts(tmp_path / "place", tests__bad__00=text)
        result = judge(tmp_path, monkeypatch, suite("pjdfstest", operation_deadline=3), place)
        assert result.verdict is case(result, "bad/00").verdict is verdict
        assert words in case(result, "bad/00").detail
        if verdict is Verdict.FAIL:
            assert any(item.path.endswith("bad-00.tap") for item in result.evidence)

    def test_what_is_excluded_does_not_run_and_says_why(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = scripts(tmp_path / "place", tests__good__00=GOOD, tests__bad__00="exit 1\n", tests__bad__01="exit 1\n")
        (tmp_path / "excluded").write_text("# what cannot be\n\nbad/*  # its clock has no year 2107\n")
        result = judge(tmp_path, monkeypatch, suite("pjdfstest", exclude="excluded"), place)
        assert result.verdict is Verdict.PASS, result.detail
        assert case(result, "bad/01").detail == "excluded: its clock has no year 2107"
        assert case(result, "list").detail == "3 tests, 2 excluded"

    def test_an_exclusion_of_nothing_and_a_checkout_without_tests_fail(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "excluded").write_text("renam/*  # a slip\n")
        place = scripts(tmp_path / "place", tests__rename__00=GOOD)
        result = judge(tmp_path, monkeypatch, suite("pjdfstest", exclude="excluded"), place)
        assert "names what there is not: renam/*" in case(result, "list").detail
        empty = judge(tmp_path / "two", monkeypatch, suite("pjdfstest"), tmp_path / "nothing")
        assert empty.verdict is Verdict.FAIL and "there is not one test below" in case(empty, "list").detail


class TestLtp:
    LIST = "#DESCRIPTION: files\ngf01 gf -W gf01 | cat\nlie01 lie\nbroken01 broken\nconf01 conf\n"

    def place(self, tmp_path: Path) -> Path:
        programs = tmp_path / "place/testcases/bin"
        programs.mkdir(parents=True)
        (tmp_path / "place/runtest").mkdir()
        (tmp_path / "place/runtest/fs").write_text(self.LIST)
        fs = '[ "$(stat -f -c %T "$TMPDIR")" = ext2/ext3 ] || exit 1\n'
        for name, text in {
            "gf": f'{fs}echo x >"$TMPDIR/x" && echo "gf01 1 TPASS : Test passed"\n',
            "lie": "exit 0\n",
            "broken": 'echo "b.c:1: TBROK: mkfs failed"; exit 2\n',
            "conf": 'echo "c.c:1: TCONF: no O_DIRECT"; exit 32\n',
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}")
            (programs / name).chmod(0o755)
        return tmp_path / "place"

    def test_the_commands_of_its_list(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        result = judge(tmp_path, monkeypatch, suite("ltp"), self.place(tmp_path))
        seen = {item.id: (item.verdict, item.required) for item in result.cases}
        assert seen["gf01"] == (Verdict.PASS, True)
        assert seen["lie01"] == seen["broken01"] == (Verdict.FAIL, True)
        assert seen["conf01"] == (Verdict.SKIP, False)
        assert "TBROK: mkfs failed" in case(result, "broken01").detail

    def test_a_list_is_read_as_ltp_reads_it(self) -> None:
        assert ltp.commands(self.LIST)["gf01"] == "gf -W gf01 | cat"
        assert "#DESCRIPTION:" not in ltp.commands(self.LIST)


class TestKtap:
    def ktap(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, **options: str) -> SuiteResult:
        place = scripts(tmp_path / "place", run=text)
        return judge(tmp_path, monkeypatch, suite("ktap", command="sh {place}/run.t '{mountpoint}'", **options), place)

    def test_each_result_is_a_case(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        inside = 'case $PWD in "$1"/*) echo "  ok 1 inside";; esac'
        text = f'echo KTAP version 1\necho 1..2\necho "  1..1"\n{inside}\necho ok 1 outer\necho "ok 2 x # SKIP no"\n'
        result = self.ktap(tmp_path, monkeypatch, text)
        assert result.verdict is Verdict.PASS, result.detail
        assert case(result, "command.outer.inside").verdict is Verdict.PASS
        assert (case(result, "command.x").verdict, case(result, "command.x").required) == (Verdict.SKIP, False)
        assert case(result, "command").detail == "2 results"

    @pytest.mark.parametrize(
        ("text", "name", "words"),
        [
            ("echo 1..2\necho ok 1 a\necho '# why'\necho not ok 2 b\nexit 1\n", "command.b", "b; why"),
            ("echo 1..2\necho ok 1 a\n", "command", "1 of 2 planned tests"),
            ("echo 1..1\necho ok 1 a\nexit 1\n", "command", "and yet it ended with status 1"),
            ("echo 1..1\necho ok 1 a '# SKIP'\n", "command", "not one of its results is a pass"),
            ("true\n", "command", "no plan"),
        ],
    )
    def test_a_command_that_is_not_right(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, words: str) -> None:
        result = self.ktap(tmp_path, monkeypatch, text)
        assert result.verdict is case(result, name).verdict is Verdict.FAIL
        assert words in case(result, name).detail

    def test_a_result_is_excluded_by_its_id(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "excluded").write_text("command.b  # needs a second disk\n")
        result = self.ktap(tmp_path, monkeypatch, "echo 1..2\necho ok 1 a\necho not ok 2 b\nexit 1\n", exclude="excluded")
        assert result.verdict is Verdict.PASS, result.detail
        assert case(result, "command.b").detail == "excluded: needs a second disk; it was fail"


PLAN = Plan(
    suite="xfstests",
    artifact="small",
    kind="kernel-module",
    file="",
    module="small",
    expected_id="",
    filesystem="small",
    mount=(),
    mountpoint="/mnt",
    work="/run",
    persistent=True,
    marker="m",
    deadline=1.0,
    operation_deadline=1.0,
    prepare=(("truncate", "-s", "1M", "/v"), ("printf", "%s\n", "it's", "/v")),
    volume="/v",
)


class TestXfstests:
    def place(self, tmp_path: Path) -> Path:
        tests = tmp_path / "place/tests/generic"
        tests.mkdir(parents=True)
        for name, groups in {"001": "auto quick rw", "002": "auto", "010": "quick"}.items():
            (tests / name).write_text(f"#! /bin/bash\n. ./common/preamble\n_begin_fstest {groups}\n")
            (tests / f"{name}.out").write_text("QA output\n")
        (tests / "group.list").write_text("_begin_fstest quick\n")
        return tmp_path / "place"

    def test_the_tests_of_a_group(self, tmp_path: Path) -> None:
        place = str(self.place(tmp_path))
        for group, names in (("quick", ["generic/001", "generic/010"]), ("auto", ["generic/001", "generic/002"])):
            table = xfstests.table(replace(PLAN, options={"place": place, "group": group}))
            assert [entry.id for entry in table.entries if "/" in getattr(entry, "id", "")] == names

    def test_a_program_is_no_type_to_mount(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        result = judge(tmp_path, monkeypatch, suite("xfstests"), self.place(tmp_path))
        assert not result.verdict.ok
        assert case(result, "generic/001").verdict is Verdict.SKIP
        assert "mounts by the type" in case(result, "generic/001").detail

    def test_mkfs_is_the_manifests_prepare_on_the_last_argument(self, tmp_path: Path) -> None:
        script = tmp_path / "mkfs"
        script.write_text(xfstests.mkfs_script(PLAN))
        done = subprocess.run(["sh", script, "-q", tmp_path / "a volume"], capture_output=True, text=True, check=True)
        assert done.stdout == f"it's\n{tmp_path}/a volume\n"
        assert (tmp_path / "a volume").stat().st_size == 1 << 20


class TestOptions:
    def test_without_a_checkout_it_is_said_how_to_get_one(self, tmp_path: Path) -> None:
        for name in ("pjdfstest", "xfstests", "ltp"):
            why = adapters.missing(suite(name), tmp_path)
            assert why.startswith("no checkout is named: git clone ") and "--options checkout=FOLDER" in why
            assert f"there is no folder {tmp_path}/gone: " in adapters.missing(suite(name, checkout="gone"), tmp_path)
            assert adapters.missing(suite(name, checkout="."), tmp_path) == ""
        assert adapters.missing(suite("smoke"), tmp_path) == adapters.missing(suite("ktap", command="x"), tmp_path) == ""

    @pytest.mark.parametrize(
        ("chosen", "words"),
        [
            (suite("ktap"), "runs a command, and none is named"),
            (suite("pjdfstest", exclude="gone"), "cannot be read"),
            (suite("pjdfstest", exclude="list"), "list:2: 'rename/00' excludes a test without a reason"),
            (suite("ltp", build="make 'x"), "is no command: No closing quotation"),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path: Path, chosen: SuiteSpec, words: str) -> None:
        (tmp_path / "list").write_text("rename/01  # it may\nrename/00\n")
        with pytest.raises(UsageError) as caught:
            adapters.check(chosen, tmp_path)
        assert words in str(caught.value)

    def test_a_build_of_ones_own(self) -> None:
        assert adapters.commands(suite("ltp", build="make -j2 'A=b c'; make install")) == (("make", "-j2", "A=b c"), ("make", "install"))
        assert adapters.commands(suite("pjdfstest"))[0] == ("autoreconf", "-ifs")

    def test_of_a_checkout_everything_is_taken_but_git(self, tmp_path: Path) -> None:
        for name in (".git/HEAD", "a/b.c", "a/.hidden", "c"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("")
        (tmp_path / "link").symlink_to("a")
        (tmp_path / "broken").symlink_to("nowhere")
        assert [str(path.relative_to(tmp_path)) for path in checkouts.files(tmp_path)] == ["a/.hidden", "a/b.c", "broken", "c", "link"]
