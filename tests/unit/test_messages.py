# SPDX-License-Identifier: Apache-2.0
"""What a person is shown of a failed build is the compiler's first error, whoever said it."""

from __future__ import annotations

import pytest

from ci.build.messages import first_errors, from_log

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("log", "place", "says"),
    [
        ("/build/x.c:3:5: error: 'y' undeclared\nmake[1]: *** [x.o] Error 1\n", "k/x.c:3", "'y' undeclared"),
        ("/build/x.c:3: fatal error: no.h: No such file\n", "k/x.c:3", "no.h: No such file"),
        ('ERROR: modpost: "f" [/build/x.ko] undefined!\n', "", 'ERROR: modpost: "f" [k/x.ko] undefined!'),
        ("/bin/sh: 1: pahole: not found\nmake: Leaving directory '/x'\n", "", "pahole: not found"),
        (
            "make: /opt/cc: No such file or directory\nmake: *** [Makefile:6: good] Error 127\n",
            "",
            "/opt/cc: No such file or directory",
        ),
        (
            "make[2]: *** No rule to make target 'x.o', needed by 'x.ko'.  Stop.\n",
            "",
            "No rule to make target 'x.o', needed by 'x.ko'.  Stop.",
        ),
    ],
)
def test_the_first_error_of_a_log_is_found_whoever_said_it(log: str, place: str, says: str) -> None:
    first = first_errors(from_log(log, ("/build", "k")))[0]
    assert (first.place, first.text) == (place, says)


def test_a_message_that_is_repeated_counts_once_and_what_is_not_ours_not_at_all() -> None:
    log = "x.c:1:1: warning: unused\nx.c:1:9: warning: unused\nSkipping BTF generation for x.ko due to unavailability of vmlinux\n"
    assert [str(message) for message in from_log(log)] == ["x.c:1: unused"]


def test_a_log_without_a_message_gives_none() -> None:
    assert from_log("make: Entering directory '/x'\n  CC x.o\nmake: Leaving directory '/x'\n") == []
