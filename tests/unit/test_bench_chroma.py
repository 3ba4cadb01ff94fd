# SPDX-License-Identifier: Apache-2.0
"""ChromaDB reads the effort of a search when it loads its index: the adapter must let it load again, in the process or in its server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from ci.bench import reference
from ci.bench.guest.agent import STOPPED
from ci.bench.vectors.engine import EngineError, Where
from ci.bench.vectors.engines import chroma

pytestmark = pytest.mark.unit

QUERY = np.zeros(2, np.float32)


class Stored:
    """A collection as ChromaDB 1.5.9 has it: what is written down, and what was loaded; a query finds the effort itself."""

    def __init__(self, written: dict[str, int]) -> None:
        self.written, self.loaded = written, dict(written)

    def modify(self, configuration: dict[str, Any]) -> None:
        self.written.update(configuration["hnsw"])

    def query(self, **_: object) -> dict[str, list[list[str]]]:
        return {"ids": [[str(self.loaded["ef_search"])]]}


class Client:
    """What PersistentClient and HttpClient have in common here; its disk outlives it."""

    disk: ClassVar[dict[str, int]] = {}

    def __init__(self, **_: object) -> None:
        self.get_version = lambda: "1"

    def create_collection(self, _name: str, configuration: dict[str, Any], **_: object) -> Stored:
        self.disk.update({"ef_search": 100, **{key: value for key, value in configuration["hnsw"].items() if key == "ef_search"}})
        return Stored(self.disk)

    def get_collection(self, _name: str, **_: object) -> Stored:
        return Stored(self.disk)

    def list_collections(self) -> list[Any]:
        return []

    def close(self) -> None:
        return None


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = SimpleNamespace(ChromaError=type("ChromaError", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "chromadb", SimpleNamespace(PersistentClient=Client, HttpClient=Client, errors=errors))
    monkeypatch.setitem(sys.modules, "chromadb.config", SimpleNamespace(Settings=dict))
    monkeypatch.setattr(Client, "disk", {})


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    """What keeps ChromaDB's server, with another program in its place."""
    words = reference("chroma-server").mount
    kept = subprocess.Popen([*words[: words.index("{python}")], "sleep", "60"], start_new_session=True)
    started(kept.pid)
    yield kept
    if kept.poll() is None:
        os.killpg(kept.pid, signal.SIGKILL)
    kept.wait()


def children(process: int) -> str:
    return Path(f"/proc/{process}/task/{process}/children").read_text()


def started(process: int) -> str:
    """Its child, once that is the program itself: a signal to the shell's copy, before exec, is lost."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = children(process)
        with suppress(OSError):  # it has ended meanwhile
            if [Path(f"/proc/{pid}/comm").read_text().strip() for pid in found.split()] == ["sleep"]:
                return found
        time.sleep(0.01)
    raise AssertionError("the program was not started within 10 s")


def test_another_effort_is_searched_with_and_not_only_written_down(tmp_path: Path) -> None:
    engine = chroma.Embedded(Where(tmp_path))
    engine.version()
    engine.create(2)
    assert [engine.search(QUERY, 1, effort)[0] for effort in (16, 16, 512, 0)] == [16, 16, 512, 512]


def test_the_server_is_started_anew_for_another_effort_and_ends_as_one_that_was_asked_to(
    tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    engine = chroma.Server(Where(tmp_path, "http://127.0.0.1:1", server.pid))
    engine.version()
    engine.create(2)
    before = children(server.pid)
    assert engine.search(QUERY, 1, 16)[0] == 16
    after = started(server.pid)
    assert after != before
    assert engine.worker().search(QUERY, 1, 16)[0] == 16
    assert children(server.pid) == after, "a second connection with the same effort needs no other server"
    os.killpg(server.pid, signal.SIGTERM)
    assert server.wait(10) in STOPPED


def test_a_server_that_ends_by_itself_is_not_started_again(server: subprocess.Popen[bytes]) -> None:
    os.kill(int(children(server.pid)), signal.SIGKILL)
    assert server.wait(10) == 128 + signal.SIGKILL


def test_a_server_that_does_not_come_back_is_said(tmp_path: Path, server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma, "AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(signal, "SIGHUP", signal.SIGCONT)  # which nobody takes for a wish
    engine = chroma.Server(Where(tmp_path, "http://127.0.0.1:1", server.pid))
    engine.version()
    engine.create(2)
    with pytest.raises(EngineError, match=r"did not come back within 0\.5 s with another effort: the old one still runs"):
        engine.search(QUERY, 1, 16)


def test_a_server_that_was_given_keeps_its_effort(tmp_path: Path) -> None:
    engine = chroma.Server(Where(tmp_path, "http://127.0.0.1:1"))
    engine.version()
    engine.create(2)
    assert engine.efforts((16, 512)) == (100,)
    assert engine.search(QUERY, 1, 100)[0] == 100
