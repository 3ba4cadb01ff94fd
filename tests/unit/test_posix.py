# SPDX-License-Identifier: Apache-2.0
"""The suite posix on ext4 of this machine, its groups where a case dies or hangs, and what a file system may lack."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import time
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from ci import config
from ci.manifest import SuiteSpec
from ci.model import SuiteResult, Verdict
from ci.store import RunFolder
from ci.validate import bundle, run_reference
from ci.validate.guest import engine, posix
from ci.validate.guest.context import Context, Plan
from ci.validate.guest.engine import GroupEntry, Table
from ci.validate.guest.machine import BORROWED
from ci.validate.guest.posix.book import Group
from ci.validate.guest.posix.needs import PROBES
from ci.validate.guest.posix.place import Place, after
from ci.validate.guest.runner import Outcome
from tests.localguest import LocalGuest, keep_inside, needs_mount

pytestmark = [pytest.mark.unit, needs_mount]
needs_loop = pytest.mark.skipif(
    not Path("/dev/loop-control").exists() or os.getuid() != 0, reason="a loop mount needs root and loop devices"
)
ROOT = Path(__file__).resolve().parents[2]


def reference(tmp_path: Path, *only: str) -> SuiteResult:
    suite = SuiteSpec("posix", (), 1, 240.0, 20.0)
    return run_reference(LocalGuest(), suite, "ext4", run=RunFolder(tmp_path), only=only)


@needs_loop
def test_some_groups_pass_on_ext4_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of them run in a guest with each run of the suite; here it is enough to see that a group, a case and a skip arrive."""
    keep_inside(monkeypatch, tmp_path)
    result = reference(tmp_path, "mount", "slashes", "sticky", "rename.into-itself", "unmount")
    assert result.verdict is Verdict.PASS, [(case.id, case.detail) for case in result.cases if not case.ok]
    names = [case.id for case in result.cases]
    assert names[0] == "mount" and names[-1] == "unmount" and "sticky.unlink-of-another" in names and "rename.into-itself" in names
    assert "rename.file-over-folder" not in names and len(names) > 40


def test_the_agent_holds_the_modules_of_its_folders() -> None:
    names = zipfile.ZipFile(io.BytesIO(bundle.agent())).namelist()
    assert {"guest/posix/__init__.py", "guest/posix/renaming.py", "guest/engine.py"} <= set(names)


def test_the_suite_has_as_many_cases_as_the_manifest_asks_for() -> None:
    manifest = config.read(ROOT / "vexci.yaml")
    (suite,) = (suite for suite in manifest.suites if suite.name == "posix")
    names = [name for entry in posix.table(plan("")).entries for name in engine.ids(entry)]
    assert len(names) >= suite.minimum


def test_what_an_artifact_lacks_can_be_probed_and_is_documented() -> None:
    text = (ROOT / "docs" / "semantics.md").read_text()
    words = {"tmpfile": "O_TMPFILE", "direct": "O_DIRECT", "acl": "POSIX ACLs", "whiteout": "RENAME_WHITEOUT"}
    for artifact in config.read(ROOT / "vexci.yaml").artifacts:
        for name, reason in artifact.lacks:
            assert name in PROBES and reason, f"{artifact.name}: {name}"
            assert words.get(name, "EOPNOTSUPP") in text, f"docs/semantics.md does not say that {artifact.name} lacks {name}"


def plan(place: str, *, deadline: float = 60.0, lacks: dict[str, str] | None = None) -> Plan:
    return Plan("posix", "x", "reference", "", "", "", "ext4", (), place, place, True, "marker-of-a-test", deadline, 1.0, lacks=lacks or {})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder that counts as proven."""
    monkeypatch.setenv(BORROWED, "1")
    monkeypatch.setattr(Context, "prove_mount", lambda self: None)
    yield str(tmp_path)


def told(table: Table, asked: Plan) -> dict[str, dict[str, object]]:
    """The ends of the cases as the host hears of them."""
    output = io.StringIO()
    with redirect_stdout(output):
        engine.run_suite(table, asked)
    messages = [json.loads(line) for line in output.getvalue().splitlines()]
    return {message["case"]: message for message in messages if message["event"] == "end"}


def table(*groups: Group) -> Table:
    made = Table()
    for group in groups:
        made.group(group.entry())
    return made


def test_a_case_that_kills_its_process_does_not_take_the_others_with_it(place: str) -> None:
    group = Group("g")
    group.allow("first", "f", lambda: os.stat("f").st_nlink, 1)
    group.case("dies")(lambda t: os.kill(os.getpid(), signal.SIGKILL))
    group.refuse("later", "d/", 21, lambda: os.unlink("d"))
    ends = told(table(group), plan(place))
    assert [ends[f"g.{name}"]["verdict"] for name in ("first", "dies", "later")] == ["pass", "fail", "pass"]
    assert "killed by SIGKILL" in str(ends["g.dies"]["detail"])


def test_a_case_that_hangs_ends_the_suite_and_the_rest_is_not_run(place: str) -> None:
    first, second = Group("a"), Group("b")
    first.case("hangs")(lambda t: time.sleep(60))
    first.allow("after", "", lambda: 1, 1)
    second.allow("other", "", lambda: 1, 1)
    ends = told(table(first, second), plan(place))
    assert ends["a.hangs"]["verdict"] == "hang"
    assert {str(ends[name]["detail"]) for name in ("a.after", "b.other")} == {"not run: a.hangs hung"}


def test_a_group_that_forgets_a_case_is_told(place: str) -> None:
    made = Table()
    made.group(GroupEntry("g", ("g.one", "g.two"), lambda t, names: iter([Outcome("pass", "")])))
    ends = told(made, plan(place))
    assert ends["g.one"]["verdict"] == "pass" and ends["g.two"]["verdict"] == "infra"


def test_a_refused_call_that_changes_something_is_a_failure(place: str) -> None:
    group = Group("g")

    def sly() -> None:
        os.chmod("f", 0o600)
        os.unlink("none")

    group.refuse("sly", "f", 2, sly)
    group.refuse("other-error", "f", 13, lambda: os.unlink("none"))
    group.refuse("works", "f", 2, lambda: os.unlink("f"))
    ends = told(table(group), plan(place))
    assert "after the refused call" in str(ends["g.sly"]["detail"])
    assert "expected EACCES, got ENOENT" in str(ends["g.other-error"]["detail"])
    assert "but it succeeded" in str(ends["g.works"]["detail"])


def test_what_is_said_to_be_missing_must_be_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(t: Place) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setitem(PROBES, "acl", refused)
    monkeypatch.setitem(PROBES, "direct", lambda t: None)
    group = Group("g")
    group.allow("absent", "", lambda: 1, 2, needs="acl")
    group.allow("there", "", lambda: 1, 1, needs="direct")
    group.allow("needed", "", lambda: 1, 1, needs="tmpfile")
    ends = told(table(group), plan(place, lacks={"acl": "a reason", "direct": "an old reason"}))
    assert ends["g.absent"]["verdict"] == "skip" and ends["g.absent"]["required"] is False
    assert "a reason" in str(ends["g.absent"]["detail"])
    assert ends["g.there"]["verdict"] == "fail" and "but it has it" in str(ends["g.there"]["detail"])
    assert ends["g.needed"]["verdict"] == "pass"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_is_another_user(place: str) -> None:
    def answers() -> list[int]:
        return [*os.getresuid(), *os.getresgid(), *os.getgroups()]

    group, own = Group("g"), answers()
    # Real and effective; the saved ones are root's, so that the way back is open. The capabilities are gone meanwhile.
    group.allow("who", "", answers, [1001, 1001, 0] * 2, user=1001)
    group.refuse("closed", "d/:700", errno.EACCES, lambda: os.listdir("d"), user=1001)
    group.allow("root-again", "d/:700", lambda: after(lambda: os.listdir("d"), answers), own)
    assert {case["verdict"] for case in told(table(group), plan(place)).values()} == {"pass"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_child_is_another_user_for_good(place: str) -> None:
    group = Group("g")

    @group.case("child")
    def child(t: Place) -> None:
        t.equal("ids", t.in_child(1001, lambda: [*os.getresuid(), *os.getresgid(), *os.getgroups()]), [1001] * 6)
        t.refuses("what fails there", lambda: t.in_child(1001, lambda: os.mkdir("/d")), errno.EACCES)

    assert told(table(group), plan(place))["g.child"]["verdict"] == "pass"


def test_names_of_cases_can_be_written_in_a_command() -> None:
    names = [name for entry in posix.table(plan("")).entries for name in engine.ids(entry)]
    assert [name for name in names if not re.fullmatch(r"[^\s,;'\"$]+", name)] == []
