# SPDX-License-Identifier: Apache-2.0
"""The suite differential without a guest: what is drawn, compared and shrunk, on this machine's own file system.

The systems are folders; the ones that are broken on purpose answer one errno, one size, or one byte differently (T7).
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ci.errors import UsageError
from ci.validate.differential import hunt, reproducer
from ci.validate.differential.differences import compare
from ci.validate.differential.hunt import Finding
from ci.validate.differential.sequences import words
from ci.validate.guest import operations
from ci.validate.guest.operations import Sequence

pytestmark = [pytest.mark.unit, pytest.mark.skipif(os.getuid() != 0, reason="operations change owners: run as root")]

NAMES = ("reference", "subject")
SEED, COUNT = 7, 100
SHM = "/dev/shm" if os.path.isdir("/dev/shm") else None  # fsync costs nothing there


class WrongErrno(Sequence):
    """Removing a folder that is not empty gives another error than POSIX's."""

    def _rmdir(self, path: str) -> None:
        try:
            os.rmdir(path)
        except OSError as error:
            raise OSError(errno.EBUSY if error.errno == errno.ENOTEMPTY else error.errno or 0, "wrong") from error


class WrongSize(Sequence):
    """A file of more than a page looks one byte too long."""

    def _stat(self, path: str) -> list[Any]:
        found = operations.facts(os.stat(path))
        return [*found[:4], found[4] + (found[4] > 4096), *found[5:]]


class ForgetsOwner(Sequence):
    """Says that it has changed the owner, and has not."""

    def _chown(self, path: str, user: int, group: int) -> None:
        os.lstat(path)


def answers(kind: type[Sequence], sequence: list[list[Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=SHM) as folder:
        os.chmod(folder, 0o777)
        told = kind(folder).run(sequence)
        found = operations.tree(folder)
        operations.remove(folder)
        os.mkdir(folder)
    return json.loads(json.dumps({"answers": told, "tree": found}))  # type: ignore[no-any-return]


def asked(kind: type[Sequence], sequence: list[list[Any]]) -> Finding | None:
    return hunt.judge(NAMES, sequence, {"reference": answers(Sequence, sequence), "subject": answers(kind, sequence)})


@pytest.mark.parametrize(
    ("kind", "longest", "where"),
    [(WrongErrno, 4, "rmdir("), (WrongSize, 1, "stat("), (ForgetsOwner, 4, "at the end")],
)
def test_what_is_broken_is_found_and_shrunk(kind: type[Sequence], longest: int, where: str) -> None:
    drawn = hunt.draw(SEED, COUNT)
    found = next(finding for finding in (asked(kind, sequence) for sequence in drawn) if finding is not None)
    small = hunt.shrink(SEED, COUNT, found, lambda sequence: asked(kind, sequence))
    assert len(small.operations) <= longest, [words(operation) for operation in small.operations]
    assert where in small.difference.where
    assert asked(kind, small.operations) is not None
    assert asked(Sequence, small.operations) is None


def test_what_is_right_never_differs_from_itself() -> None:
    assert [finding for finding in (asked(Sequence, sequence) for sequence in hunt.draw(1, 60)) if finding] == []


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    assert hunt.draw(3, 30) == hunt.draw(3, 30) != hunt.draw(4, 30)
    kinds = {str(operation[0]).removeprefix("nobody ") for sequence in hunt.draw(3, 200) for operation in sequence}
    assert kinds == {name.removeprefix("_") for name in vars(Sequence) if f"_{name[1:]}" == name and name[1:] in kinds}
    assert len(kinds) >= 30


def test_a_tree_that_changes_at_a_remount_is_a_difference() -> None:
    good = {"answers": [None], "tree": {"./d": [1]}}
    lost = {**good, "again": {}}
    found = compare("subject", [["mkdir", "d", 0o755]], good, lost)
    assert found is not None and found.where == "./d after a remount" and "None" in found.sentence


def test_a_reproducer_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = asked(WrongErrno, [["mkdir", "d", 0o755], ["mkdir", "d/e", 0o755], ["rmdir", "d"]])
    assert found is not None
    file = tmp_path / "reproducer.json"
    reproducer.write(file, found, seed=1, kernel="6.1")
    assert reproducer.read(file) == found.operations
    told = json.loads(file.read_text())
    assert told["in_words"][-1] == 'rmdir("d")' and told["got"] == ["EBUSY"] and told["expected"] == ["ENOTEMPTY"]
    assert "operation 3, rmdir" in told["difference"]


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "operations": [["stat", "a"]]}', '{"version": 1, "operations": [[1]]}'])
def test_what_is_no_reproducer_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "reproducer.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="--replay"):
        reproducer.read(file)
