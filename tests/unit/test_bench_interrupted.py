# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C keeps what was measured, also of a system that does not have every metric."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci.bench import Stopped, reference, run
from ci.bench.guest.agent import RESULT_MARK, _bundle
from ci.bench.jobs import Place
from ci.manifest import BenchmarkSpec, WorkloadSpec
from ci.model import Verdict
from ci.store import RunFolder

pytestmark = pytest.mark.unit

FOUND = {
    "values": {"insert": 1000.0},
    "absent": {"index build": "there is no index"},
    "facts": {"version": "1"},
    "sweep": [],
    "latencies": {},
}


@dataclass(frozen=True)
class Answer:
    returncode: int
    stdout: str
    stderr: str = ""
    seconds: float = 0.1


class Guest:
    """Answers as the agent does, twice after the warm-up; then somebody presses Ctrl-C."""

    kernel = "6.1"

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, 0

    def put(self, local: Path, remote: str) -> None: ...

    def run(self, argv: Sequence[str], **_: Any) -> Answer:
        if "agent" not in argv:
            return Answer(0, "{}")
        self.asked += 1
        if self.asked > 3:
            raise KeyboardInterrupt("SIGINT")
        self.folder.mkdir(exist_ok=True)
        (self.folder / "vectors.json").write_text(json.dumps(FOUND))
        result = {"verdict": "pass", "detail": "measured", "phase": "workload", "leftover": []}
        return Answer(0, RESULT_MARK + json.dumps({"result": result, "files": _bundle(self.folder)}))


def test_the_rounds_that_there_are_stay_and_what_a_system_does_not_have_is_skipped(tmp_path: Path) -> None:
    load = WorkloadSpec("v", "vectors", (("phases", "load"),))
    spec = BenchmarkSpec("v", ("numpy",), (load,), 5, 10, 10, place="host")
    place = Place(payload=str(tmp_path / "b.pyz"), work=str(tmp_path / "w"), data={"v": ("/nowhere", "0")})
    guest: Any = Guest(tmp_path / "out")
    with pytest.raises(Stopped) as stopped:
        run(guest, spec, (reference("numpy"),), run=RunFolder(tmp_path), progress=print, place=place)
    insert, index = stopped.value.series
    assert (insert.verdict, insert.samples, insert.failure) == (Verdict.INTERRUPTED, (1000.0, 1000.0), "interrupted after 2 of 5 rounds")
    assert (index.verdict, index.samples, index.failure) == (Verdict.SKIP, (), "there is no index")
