# SPDX-License-Identifier: Apache-2.0
"""Which package lists a kernel is looked for in: the machine's own, or those of archives that vexci.yaml declares.

A declared archive is asked through an apt configuration of our own, in the cache: its own sources, lists and keys. Neither root
nor the machine's configuration plays a part, so that an Ubuntu machine gets Debian's kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ci import process, store
from ci.errors import InfrastructureError, UsageError
from ci.kernels.packages import Lists, private_lists
from ci.manifest import ArchiveSpec

Say = Callable[[str], None]

OS_RELEASE = Path("/etc/os-release")
# How long a private copy of the package lists is fresh enough not to be updated again.
FRESH_SECONDS = 3600.0


def codename(os_release: Path) -> str:
    """The suite that this machine runs, such as `bookworm`; empty where it does not say."""
    try:
        lines = os_release.read_text().splitlines()
    except FileNotFoundError:
        return ""
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    return facts.get("VERSION_CODENAME", "").strip('"')


def is_own(archives: Sequence[ArchiveSpec]) -> bool:
    """True where the machine's own sources are those of the declared archives' distribution, or none are declared."""
    own = codename(OS_RELEASE)
    suites = [suite for each in archives for suite in each.suites]
    return all(own and suite.partition("-")[0] == own for suite in suites)


def declared_lists(archives: Sequence[ArchiveSpec]) -> Lists:
    """Private lists of just these archives. UsageError where the keys to verify one are missing."""
    architecture = process.output(["dpkg", "--print-architecture"]).strip()
    lines = []
    for each in archives:
        if not each.keyring.is_file():
            raise UsageError(
                f"archives.{each.name}.keyring: {each.keyring} does not exist, so that nothing from there could be verified",
                hint="Debian's keys are in the package debian-archive-keyring, or put the keyring into the project",
            )
        options = f"[arch={architecture} signed-by={each.keyring}]"
        lines += [f"deb {options} {each.uri} {suite} {' '.join(each.components)}" for suite in each.suites]
    return private_lists(tuple(lines))


def candidates(archives: Sequence[ArchiveSpec], say: Say, wanted: str) -> Iterator[tuple[Lists, InfrastructureError | None]]:
    """Lists to look for `wanted` in, one after the other; the next is prepared only where the one before did not do.

    With each comes why it may not be up to date: that counts only where it offers nothing, because the source
    that failed may have nothing to do with kernels.
    """
    if not is_own(archives):
        lists = declared_lists(archives)
        yield lists, _refreshed(lists, say, f"looking for {wanted} in {', '.join(each.name for each in archives)}")
        return
    yield Lists(), None
    lists = private_lists()
    yield lists, _refreshed(lists, say, f"the machine's package lists offer no {wanted} that can be had")


def _refreshed(lists: Lists, say: Say, why: str) -> InfrastructureError | None:
    """Update private lists unless that was done lately; a failure is returned for the caller to judge."""
    if lists.updated + FRESH_SECONDS >= time.time():
        return None
    say(f"{why}; updating a private copy of the package lists")
    try:
        with store.lock(store.cache_dir() / "locks" / "apt-lists"):
            lists.update()
    except InfrastructureError as error:
        return error
    return None
