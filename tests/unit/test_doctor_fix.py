# SPDX-License-Identifier: Apache-2.0
"""`./inv doctor --fix` runs the commands of what is wrong, looks again, and says what it could not repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci import host
from ci.errors import InfrastructureError
from ci.host import MISSING, OK, Finding
from ci.pipeline import machine
from ci.pipeline.session import Session

pytestmark = pytest.mark.unit


def looks(monkeypatch: pytest.MonkeyPatch, folder: Path, repairs: dict[str, str]) -> None:
    """Let the doctor want the files that are named, each repaired by its line of shell."""

    def survey(*_: object) -> list[Finding]:
        there = {name: (folder / name).exists() for name in repairs}
        return [Finding(name, name, OK if there[name] else MISSING, "", ("sh", "-c", f"cd {folder}; {repairs[name]}")) for name in repairs]

    monkeypatch.setattr(host, "survey", survey)


def test_what_a_repair_breaks_is_repaired_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old").touch()
    # As dpkg says it.
    said = "echo 'Removing old-tool (1:10.0.2+ds-2) ...'; echo 'Setting up new-tool (1:7.2) ...'"
    looks(monkeypatch, tmp_path, {"old": "touch old", "new": f"touch new; rm old; {said}"})
    machine.doctor(Session(["doctor"]), fix=True)
    assert "removed, as it did not go with them: old-tool\n" in "".join(capsys.readouterr())
    assert (tmp_path / "old").exists() and (tmp_path / "new").exists()


def test_two_that_exclude_each_other_end_with_the_one_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, tmp_path, {"one": "touch one; rm -f two", "two": "touch two; rm -f one"})
    with pytest.raises(InfrastructureError, match=r"^1 missing: one$"):
        machine.doctor(Session(["doctor"]), fix=True)


def test_a_repair_that_fails_is_told_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, tmp_path, {"one": "echo no such package; exit 100"})
    with pytest.raises(InfrastructureError, match="exit 100: no such package"):
        machine.doctor(Session(["doctor"]), fix=True)


def test_nothing_is_repaired_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch, tmp_path, {"one": "touch one"})
    with pytest.raises(InfrastructureError, match=r"^1 missing: one$"):
        machine.doctor(Session(["doctor"]), fix=False)
    assert not (tmp_path / "one").exists()
