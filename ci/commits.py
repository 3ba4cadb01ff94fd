# SPDX-License-Identifier: Apache-2.0
"""Commits of a git repository: which one a name means, what it holds in a folder aside, and git's own bisection between two of them.

Nothing here touches the user's branch, index, files or a bisection of theirs: all of it happens in linked worktrees, which git keeps a
note of, and which go when the body ends, or with the next start of the tool where this one is killed (ci/leftovers.py).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ci import leftovers, process
from ci.errors import InfrastructureError, UsageError
from ci.process import Completed, Limits
from ci.signals import signals

_SECONDS = 60.0
_CHECKOUT_SECONDS = 600.0
_FIRST = re.compile(r"^# first bad commit: \[([0-9a-f]{40,64})\]", re.MULTILINE)
_POSSIBLE = re.compile(r"^# possible first bad commit: \[([0-9a-f]{40,64})\]", re.MULTILINE)
# What a hook of git's leaves in the environment would point every call at another repository.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")


class Word(Enum):
    """What git bisect is told of a commit."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


def _git(folder: Path, *words: str, seconds: float = _SECONDS) -> Completed:
    """git in `folder`, its words in English, without the repository's hooks."""
    argv = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *words]
    env = {key: value for key, value in os.environ.items() if key not in _FOREIGN} | {"LC_ALL": "C"}
    return process.run(argv, limits=Limits(seconds), env=env, stderr=process.scratch_file("git.err"))


def _must(folder: Path, *words: str, seconds: float = _SECONDS) -> str:
    done = _git(folder, *words, seconds=seconds)
    if not done.ok:
        said = (done.error_text() or done.text()).strip().splitlines()[-1:] or ["nothing"]
        raise InfrastructureError(f"git {' '.join(words[:2])}: {done.how}: {said[0]}")
    return done.text()


class Repository:
    """The repository that `folder` lies in; UsageError where it lies in none."""

    def __init__(self, folder: Path) -> None:
        done = _git(folder, "rev-parse", "--show-toplevel")
        if not done.ok:
            raise UsageError(f"{folder} is in no git repository", hint="bisect looks for the commit of a change: it needs the history")
        self.top = Path(done.text().strip())
        self.below = Path(_must(folder, "rev-parse", "--show-prefix").strip())  # of `folder` in it

    def commit(self, name: str) -> str:
        """The commit that a branch, a tag or a hash means; UsageError where it means none."""
        done = _git(self.top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if not name or not done.ok:
            raise UsageError(f"'{name}' is no commit of {self.top}", hint="git log --oneline shows some; fetch it where it is elsewhere")
        return done.text().strip()

    def subject(self, commit: str) -> str:
        """The first line of its message."""
        return _must(self.top, "show", "-s", "--no-show-signature", "--format=%s", commit).strip()

    def precedes(self, first: str, second: str) -> bool:
        """Whether the second contains the first."""
        return _git(self.top, "merge-base", "--is-ancestor", first, second).ok

    def between(self, good: str, bad: str) -> int:
        """How many commits could be the first bad one."""
        return int(_must(self.top, "rev-list", "--count", f"{good}..{bad}"))

    @contextmanager
    def worktree(self, commit: str, *, files: bool = True) -> Iterator[Path]:
        """A folder with that commit checked out (without `files` only git's notes of it), which is gone afterwards."""
        path = Path(tempfile.mkdtemp(prefix="vexci-commit-"))
        with leftovers.entry("worktree", path.name, {"path": str(path), "repository": str(self.top)}):
            try:
                how = () if files else ("--no-checkout",)
                _must(self.top, "worktree", "add", "--quiet", "--detach", *how, str(path), commit, seconds=_CHECKOUT_SECONDS)
                yield path
            finally:
                with signals.held():
                    leftovers.release_worktree({"path": str(path), "repository": str(self.top)})


@dataclass(frozen=True)
class Found:
    """The commits of which one is the first bad one: exactly one, unless commits beside it could not be judged."""

    commits: tuple[str, ...]


class Search:
    """`git bisect` between two commits, in a worktree of its own (without files), one of which is an ancestor of the other."""

    def __init__(self, driver: Path, good: str, bad: str) -> None:
        self._driver = driver
        _must(driver, "bisect", "start", "--no-checkout", bad, good, "--")

    def next(self) -> str:
        """The commit to judge now, as git chooses it."""
        return _must(self._driver, "rev-parse", "--verify", "BISECT_HEAD").strip()

    def tell(self, commit: str, word: Word) -> None:
        """What came of a commit. git exits with 2 where only skipped ones are left, which `found` says."""
        done = _git(self._driver, "bisect", word.value, commit)
        if not done.ok and self.found() is None:
            raise InfrastructureError(f"git bisect {word.value} {commit[:12]}: {done.how}: {(done.error_text() or done.text()).strip()}")

    def found(self) -> Found | None:
        """How the search ended; None while it goes on."""
        log = self.log()
        commits = _FIRST.findall(log) or _POSSIBLE.findall(log)
        return Found(tuple(commits)) if commits else None

    def log(self) -> str:
        """What was told so far, as `git bisect replay` reads it."""
        return _must(self._driver, "bisect", "log")
