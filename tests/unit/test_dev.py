# SPDX-License-Identifier: Apache-2.0
"""`./inv dev` begins a round at a save of a source, once for a burst of saves, and at nothing that builds write."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ci import process
from ci.errors import Interrupted
from ci.pipeline import artifacts
from ci.pipeline.dev import Saves, is_source, one_beside
from ci.pipeline.session import Session
from ci.record import plain
from tests.unit.report_records import artifacts as built

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["main.rs", "Kbuild", "include/a.h", "Cargo.toml"])
def test_a_source_is_one(name: str) -> None:
    assert is_source(Path(name))


@pytest.mark.parametrize(
    "name",
    [
        "a.o",
        "targetA1b2C3/CACHEDIR.TAG",
        "target/release/x.rs",
        "a.ko",
        ".a.c.swp",
        "a.c~",
        "4913",
        "#a.c#",
        ".git/index",
        ".tmp1/CACHEDIR.TAG",
    ],
)
def test_what_builds_and_editors_leave_is_none(name: str) -> None:
    assert not is_source(Path(name))


def test_a_burst_of_saves_is_one_round_and_looking_is_none(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "old.c").write_text("int old;\n")
    with Saves([tmp_path]).watched() as saves:
        (tmp_path / "old.c").read_text()
        (tmp_path / "x.o").write_text("")
        assert saves.next(0.5) is None
        (tmp_path / "sub" / "a.c").write_text("int a;\n")
        (tmp_path / "new").write_text("int b;\n")
        os.replace(tmp_path / "new", tmp_path / "b.c")
        found = saves.next(5)
        assert found is not None and {"a.c", "b.c"} <= {path.name for path in found[1]}
        assert saves.next(0.3) is None


def test_folders_that_come_later_are_watched_and_those_of_builds_are_not(tmp_path: Path) -> None:
    with Saves([tmp_path]).watched() as saves:
        (tmp_path / "targetA1b2C3").mkdir()
        (tmp_path / "targetA1b2C3/x.rs").write_text("")
        (tmp_path / "targetA1b2C3").rename(tmp_path / "target")
        (tmp_path / "target/y.rs").write_text("")
        assert saves.next(0.5) is None
        (tmp_path / "new").mkdir()
        end = time.monotonic() + 10
        found = None
        while found is None and time.monotonic() < end:  # the folder itself is seen a moment after it was made
            (tmp_path / "new/a.c").write_text("int a;\n")
            found = saves.next(0.2)
        assert found is not None and {path.name for path in found[1]} == {"a.c"}


def record(root: Path, name: str, rows: object) -> None:
    """A record of that name with these artifacts."""
    stages = [{"name": "build", "results": {}}]
    place = root / ".runs" / name
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps({"verdict": "pass", "artifacts": rows, "stages": stages, "process": None}))


def test_what_dev_built_in_a_hurry_is_nothing_that_other_commands_take_for_the_build(tmp_path: Path) -> None:
    usual = built()
    record(tmp_path, "1", cast(Any, plain(usual)))
    record(tmp_path, "2", cast(Any, plain([usual[0], replace(usual[1], profile="edit")])))
    session = cast(Session, SimpleNamespace(artifacts=None, known=[], manifest=SimpleNamespace(root=tmp_path)))
    assert artifacts.present(session) == usual
    assert replace(usual[1], profile="edit").label == f"{usual[1].label} edit"


def test_ctrl_c_does_not_wait_for_the_program_that_runs_beside(tmp_path: Path) -> None:
    begin = time.monotonic()
    log = tmp_path / "log"
    with pytest.raises(Interrupted, match="SIGINT"), one_beside() as beside:
        told = beside.submit(process.run, ["sh", "-c", "echo begun; exec sleep 60"], limits=process.Limits(120), log=log)
        while not (log.exists() and log.read_text()):
            assert not told.done() and time.monotonic() < begin + 20
            time.sleep(0.02)
        raise Interrupted("SIGINT")
    process.cancelled.clear()  # the tool would have ended; the next test has not
    assert isinstance(told.exception(), Interrupted)
    assert time.monotonic() < begin + 40
