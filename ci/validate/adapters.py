# SPDX-License-Identifier: Apache-2.0
"""Suites that others wrote and a user has a checkout of: how each is got and built, and what its options say.

The guest's part is in `guest/` under the suite's name. Options: `checkout`, a folder (from the manifest's); `build`, commands that build it
in place of the usual ones (`make -j2; make install`); `exclude`, a file of what is left out, with reasons; `command` for ktap.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from ci.errors import UsageError
from ci.manifest import SuiteSpec
from ci.model import SuiteResult, Verdict

PLACE = "/opt/vexci/checkouts"  # in guests: where a checkout is built, and where it lies when it is run
_REASON = re.compile(r"^(?P<pattern>[^\s#]+)\s+#\s*(?P<reason>\S.*)$")


@dataclass(frozen=True)
class Adapter:
    """`get` says how a person gets a checkout, `build` are the commands that build it there, `proof` a file that must then be there."""

    get: str
    build: tuple[tuple[str, ...], ...]
    proof: str


ADAPTERS = {
    "pjdfstest": Adapter(
        "git clone https://github.com/pjd/pjdfstest",
        (("autoreconf", "-ifs"), ("./configure",), ("make", "pjdfstest")),
        "pjdfstest",
    ),
    "xfstests": Adapter(
        "git clone https://git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git",
        (("make", "-j2"),),
        "check",
    ),
    "ltp": Adapter(
        "git clone --recurse-submodules https://github.com/linux-test-project/ltp",
        (
            ("make", "autotools"),
            ("./configure", "--prefix={place}/installed"),
            ("make", "-j2", "-C", "testcases/kernel/fs"),
            ("make", "-C", "testcases/kernel/fs", "install"),
            ("make", "-C", "testcases/lib", "install"),
            ("make", "-C", "runtest", "install"),
        ),
        "runtest/fs",
    ),
    "ktap": Adapter("any tree whose tests print KTAP, such as tools/testing/selftests of a kernel's source", (("make",),), ""),
}
# Of LTP what is installed is what is run, unless the checkout is an installed one already.
INSTALLED = "installed"


def needs_checkout(suite: SuiteSpec) -> bool:
    """Whether it cannot run without one: a command of ktap's may be there in any guest."""
    return suite.name in ADAPTERS and not (suite.name == "ktap" and "checkout" not in dict(suite.options))


def checkout(suite: SuiteSpec, root: Path) -> Path | None:
    """The folder that the user named; None where none is named, or it is not there."""
    given = dict(suite.options).get("checkout", "")
    folder = root / given
    return folder if given and folder.is_dir() else None


def missing(suite: SuiteSpec, root: Path) -> str:
    """Why it cannot run, and the way out; empty where it can."""
    if not needs_checkout(suite) or checkout(suite, root) is not None:
        return ""
    given = dict(suite.options).get("checkout", "")
    what = f"there is no folder {root / given}" if given else "no checkout is named"
    return f"{what}: {ADAPTERS[suite.name].get}, then --options checkout=FOLDER (or 'options: {{checkout: FOLDER}}' in the manifest)"


def skipped(suite: SuiteSpec, subject: str, kernel: str, reason: str) -> SuiteResult:
    """The result of a suite that did not run."""
    return SuiteResult(suite.name, subject, kernel, Verdict.SKIP, f"not run: {reason}", suite.minimum, (), 0.0, beside=Verdict.SKIP)


def commands(suite: SuiteSpec) -> tuple[tuple[str, ...], ...]:
    """What builds it: the option `build`, commands divided by ';', or the usual ones."""
    given = dict(suite.options).get("build", "")
    if not given:
        return ADAPTERS[suite.name].build
    try:
        found = tuple(tuple(shlex.split(part)) for part in given.split(";"))
    except ValueError as error:
        raise UsageError(f"the suite {suite.name}: the option build '{given}' is no command: {error}") from error
    return tuple(words for words in found if words)


def check(suite: SuiteSpec, root: Path) -> None:
    """UsageError where its options cannot be: before anything is built."""
    if suite.name not in ADAPTERS:
        return
    exclusions(suite, root)
    commands(suite)
    if suite.name == "ktap" and not dict(suite.options).get("command"):
        raise UsageError("the suite ktap runs a command, and none is named", hint="options: {command: '{place}/run_kselftest.sh'}")


def exclusions(suite: SuiteSpec, root: Path) -> str:
    """The text of the file of excluded tests, every line of which is empty, a comment, or `ID  # reason`."""
    given = dict(suite.options).get("exclude", "")
    if not given:
        return ""
    path = root / given
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the list of excluded tests {path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#") and not _REASON.match(line.strip()):
            raise UsageError(f"'{line.strip()}' excludes a test without a reason", where=f"{path}:{number}", hint="rename/00  # why")
    return text


def told(suite: SuiteSpec, root: Path, place: str) -> SuiteSpec:
    """The suite as the guest is told of it: where the built tests lie, and what is left out."""
    options = {**dict(suite.options), "exclude": exclusions(suite, root), "place": place}
    return replace(suite, options=tuple(options.items()))
