# SPDX-License-Identifier: Apache-2.0
"""Which files differ from another revision of the tree, changes that nobody committed included."""

from __future__ import annotations

from pathlib import Path

from ci import process
from ci.errors import UsageError
from ci.process import Limits


def since(root: Path, revision: str) -> list[str]:
    """The paths below `root` that changed since the last commit common with `revision`, sorted, a renamed file under both names.

    UsageError where git does not know the revision: then nobody can say what changed.
    """
    base = _git(root, "merge-base", revision, "HEAD")
    if base is None:
        raise UsageError(
            f"'{revision}' is no revision that this clone shares a commit with", hint="fetch it, or clone with the whole history"
        )
    committed = _git(root, "diff", "--name-only", "--no-renames", "--relative", "-z", base.strip())
    fresh = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if committed is None or fresh is None:
        raise UsageError(f"git cannot say what changed since '{revision}'", hint=f"git diff --name-only {revision}")
    return sorted({name for name in (committed + fresh).split("\0") if name})


def _git(root: Path, *words: str) -> str | None:
    done = process.run(["git", *words], limits=Limits(60), cwd=root, stderr=process.scratch_file("git.err"))
    return done.text() if done.ok else None
