# SPDX-License-Identifier: Apache-2.0
"""Which suites a command line asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci import config, settings
from ci.errors import UsageError
from ci.manifest import KernelSpec, Manifest, SuiteSpec
from ci.model import Accelerator
from ci.pipeline import choice, person
from ci.pipeline.choice import Request, is_asked_for
from ci.pipeline.validating import in_time
from ci.program import Launcher
from tests import tool

pytestmark = pytest.mark.unit

SUITES = [SuiteSpec(name, ("a",), 1, 1.0, 1.0, on_request=name != "smoke") for name in ("smoke", "crash", "stress")]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("", ["smoke"]),
        ("crash", ["crash"]),
        ("smoke,stress", ["smoke", "stress"]),
        ("all", ["smoke", "crash", "stress"]),
    ],
)
def test_suites_on_request_run_only_where_they_are_named_or_all_are(asked: str, names: list[str]) -> None:
    assert [suite.name for suite in SUITES if is_asked_for(suite, asked)] == names


@pytest.mark.parametrize(("patience", "accelerator", "times"), [(1, "tcg", 1), (4, "tcg", 4), (1, "kvm", 0.5), (4, "kvm", 2)])
def test_deadlines_follow_the_kernel_and_the_accelerator(patience: float, accelerator: str, times: float) -> None:
    suite = SuiteSpec("smoke", ("a",), 1, 100.0, 20.0)
    scaled = in_time(suite, KernelSpec("k", "apt", "6.1-cloud", patience=patience), Accelerator(accelerator, "said by the test"))
    assert (scaled.deadline, scaled.operation_deadline) == (100 * times, 20 * times)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return config.read(tool.ROOT / "vexci.yaml")


@pytest.mark.parametrize(
    ("suite", "option", "value", "says"),
    [
        ("stress", "secnds", "5", "the suite stress has no option 'secnds'; did you mean 'seconds'?"),
        ("stress", "seconds", "soon", "expected a number of seconds above 0, got 'soon'"),
        ("stress", "seconds", "nan", "expected a number of seconds above 0, got 'nan'"),
        ("crash", "rounds", "0", "expected a whole number from 1, got '0'"),
        ("crash", "seed", "fresh", "expected a whole number, got 'fresh'"),
        ("faults", "flipped", "-1", "expected a whole number from 0, got '-1'"),
        ("differential", "seed", "old", "expected a whole number or 'fresh', got 'old'"),
        ("smoke", "seed", "1", "the suite smoke has no option 'seed'; it has none"),
        ("stress", "deadline", "0", "the deadline '0' is no number of seconds above 0"),
        ("stress", "deadline", "inf", "the deadline 'inf' is no number of seconds above 0"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_built(
    manifest: Manifest, suite: str, option: str, value: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        choice.check(manifest, Request(suite, options=((option, value),)))
    assert says in str(caught.value)


def test_options_that_can_be_are_taken(manifest: Manifest) -> None:
    for suite, option, value in (
        ("stress", "seconds", "0.5"),
        ("crash", "kill", "0"),
        ("differential", "seed", "fresh"),
        ("posix", "deadline", "9"),
    ):
        choice.check(manifest, Request(suite, options=((option, value),)))


def test_every_option_that_a_suite_reads_is_known() -> None:
    """What the guest's part of a suite reads, and what it is told beside what people may say."""
    told = {"place", "after", "work", "device", "message", "survives"}
    read = set()
    for path in (tool.ROOT / "ci/validate").rglob("*.py"):
        read |= set(re.findall(r"""plan\.options(?:\.get\(|\[)"(\w+)\"""", path.read_text()))
    known = {name for options in settings.SETTINGS.values() for name in options}
    assert len(read) > 10 and read - told <= known


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request(","), "there is no suite to run"),
        (Request("smoke", "vexfs-mkfs"), "smoke is not for vexfs-mkfs"),
        (Request("xfstests", "vexfs-fuse"), "xfstests is not for vexfs-fuse"),
        (Request("smoke", kernel="host"), "the kernel 'host' can be built for, but not booted"),
    ],
)
def test_what_leaves_nothing_to_run_is_refused_before_anything_is_built(manifest: Manifest, request_: Request, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        choice.check(manifest, request_)
    assert says in str(caught.value)


def test_references_are_for_whoever_asks_for_them(manifest: Manifest) -> None:
    choice.check(manifest, Request("posix", "ext4"))


def test_a_reproducer_that_is_none_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    file = tmp_path / "reproducer.json"
    file.write_text("version: 1\n")
    with pytest.raises(UsageError):
        person._replayed("", str(file))


def test_a_flag_that_is_no_number_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Launcher().run(["inv", "--search-root", str(tool.ROOT), "validate", "--repeat", "x"])
    assert caught.value.code == 2
    assert "usage: 'x' is no whole number" in capsys.readouterr().err
