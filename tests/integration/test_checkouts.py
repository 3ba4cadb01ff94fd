# SPDX-License-Identifier: Apache-2.0
"""A checkout is built in a guest with compilers and its tests are run in one without, once for real.

The checkout stands for pjdfstest: autoconf, automake, a C program that its scripts call. A module of the zoo is what is tried.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import recordschema, tool, zoo_project

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(1800)]

MANIFEST = zoo_project.manifest("""\
  pjdfstest:
    artifacts: [small]
    minimum: 2
    deadline: 120
    options: {checkout: checkout}
  ktap:
    artifacts: [small]
    minimum: 2
    deadline: 120
    options:
      command: >-
        perl -e 'use Test::More tests => 2; ok(mkdir("a"), "mkdir"); subtest "rename" => sub { plan tests => 2;
        ok(rename("a", "b"), "rename"); ok(-d "b", "the new name") }'
""")
PROGRAM = r"""
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "mkdir"))
		puts(mkdir(argv[2], 0755) ? (errno == EEXIST ? "EEXIST" : "other") : "0");
	else if (argc == 4 && !strcmp(argv[1], "rename"))
		puts(rename(argv[2], argv[3]) ? "other" : "0");
	return 0;
}
"""
SCRIPT = "p=$(dirname $0)/../../pjdfstest\necho 1..2\n"
FILES = {
    "configure.ac": "AC_INIT([pjdfstest],[0.1])\nAM_INIT_AUTOMAKE([foreign])\nAC_PROG_CC\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
    "Makefile.am": "bin_PROGRAMS = pjdfstest\npjdfstest_SOURCES = pjdfstest.c\n",
    "pjdfstest.c": PROGRAM,
    "tests/mkdir/00.t": f"""{SCRIPT}[ "$($p mkdir a)" = 0 ] && echo ok 1\n[ "$($p mkdir a)" = EEXIST ] && echo ok 2\n""",
    "tests/rename/00.t": f"""{SCRIPT}touch x\n[ "$($p rename x y)" = 0 ] && echo ok 1\n[ -e y ] && echo ok 2 || echo not ok 2\n""",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkouts") / "small"
    for name, text in FILES.items():
        path = root / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "kernel").mkdir()
    shutil.copy(tool.ROOT / "tests/zoo/kernel/zoofs.c", root / "kernel")
    (root / "kernel/Kbuild").write_text("obj-m := zoo_good.o\n")
    (root / "vexci.yaml").write_text(MANIFEST)
    return root


def validate(root: Path, defect: str, *words: str) -> tuple[int, str, list[dict[str, Any]]]:
    """The exit status, what was said, and the suites of a run with this defect."""
    (root / "kernel/zoo_good.c").write_text(f'#define ZOO_DEFECT {defect}\n#include "zoofs.c"\n')
    done = tool.inv("validate", *words, config=root / "vexci.yaml", deadline=1500)
    (stage,) = (stage for stage in recordschema.latest(root)["stages"] if stage["name"] == "validate")
    return done.returncode, done.stdout, stage["results"]["suites"]


def verdicts(suite: dict[str, Any]) -> dict[str, str]:
    return {case["id"]: case["verdict"] for case in suite["cases"]}


def test_what_is_right_passes(root: Path) -> None:
    code, said, (pjdfstest, ktap) = validate(root, "GOOD")
    assert code == 0, said
    assert {"mkdir/00": "pass", "rename/00": "pass", "list": "pass"}.items() <= verdicts(pjdfstest).items()
    assert {"command.mkdir": "pass", "command.rename.rename": "pass", "command.rename.the-new-name": "pass"}.items() <= verdicts(
        ktap
    ).items()


def test_a_lost_rename_fails_both_and_nothing_is_built_again(root: Path) -> None:
    code, said, (pjdfstest, ktap) = validate(root, "RENAME_LOST")
    assert code == 1, said
    assert "building pjdfstest" not in said
    assert verdicts(pjdfstest)["rename/00"] == verdicts(ktap)["command.rename.the-new-name"] == "fail"
    assert verdicts(pjdfstest)["mkdir/00"] == verdicts(ktap)["command.mkdir"] == "pass"


def test_one_that_does_not_build_is_no_failure_of_the_product(root: Path) -> None:
    code, said, suites = validate(root, "GOOD", "--suite", "pjdfstest", "--options", "build=make no-such-goal")
    assert code == 3, said
    assert "pjdfstest: 'make no-such-goal' in the guest: exit 2: " in said and suites == []
