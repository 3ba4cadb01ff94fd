# SPDX-License-Identifier: Apache-2.0
"""Which commit the tree is at, and whether it differs from it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ci import process
from ci.process import Limits


@dataclass(frozen=True)
class Revision:
    """`commit` is 40 hexadecimal digits, or `unknown` outside git; `dirty` is true where files differ from it.

    `time` is the commit's, in epoch seconds, 0 where there is none.
    """

    commit: str
    dirty: bool
    time: int = 0

    @property
    def label(self) -> str:
        """Short form for people: `1a2b3c4d5e6f`, with `-dirty` where the tree differs."""
        return self.commit[:12] + ("-dirty" if self.dirty else "")


def read(root: Path) -> Revision:
    """The revision of the tree at `root`. A tree outside git, or without a commit, is `unknown` and dirty."""
    if shutil.which("git") is None:
        return Revision("unknown", True)
    err = process.scratch_file("git.err")
    head = process.run(["git", "-C", root, "show", "-s", "--no-show-signature", "--format=%H %ct", "HEAD"], limits=Limits(20), stderr=err)
    if not head.ok:
        return Revision("unknown", True)
    commit, time = head.text().split()
    status = process.run(["git", "-C", root, "status", "--porcelain", "--", "."], limits=Limits(60), stderr=err)
    return Revision(commit, not status.ok or bool(status.text().strip()), int(time))


def author(root: Path) -> str:
    """Who wrote the tree's commit, as `Name <address>`; empty outside git."""
    if shutil.which("git") is None:
        return ""
    err = process.scratch_file("git.err")
    argv: list[str | Path] = ["git", "-C", root, "show", "-s", "--no-show-signature", "--format=%an <%ae>", "HEAD"]
    done = process.run(argv, limits=Limits(20), stderr=err)
    return done.text().strip() if done.ok else ""
