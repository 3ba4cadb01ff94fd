# SPDX-License-Identifier: Apache-2.0
"""What a dead tool's guest becomes: swept with its process and its folder, unless it is a kept one."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci import leftovers
from ci.vm import registry
from ci.vm.registry import GuestFacts

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEXCI_STATE", str(tmp_path / "state"))


@pytest.fixture
def qemu() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real process that names its guest on the command line, as QEMU does."""
    identity = str(uuid.uuid4())
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "-uuid", identity])
    yield identity, process
    process.kill()
    process.wait()


def guest(identity: str, process: subprocess.Popen[bytes], **changes: object) -> GuestFacts:
    facts = GuestFacts(
        "abcd1234",
        "g",
        identity,
        "private",
        4022,
        leftovers.owner_id(process.pid),
        "1-1",
        "/project",
        False,
        "/c",
        "i",
        "k",
        "tcg",
        "",
        "now",
    )
    facts = replace(facts, **changes)  # type: ignore[arg-type]
    facts.folder.mkdir(parents=True)
    facts.write()
    return facts


def left_by_a_dead_tool(facts: GuestFacts) -> Path:
    path = leftovers.state_dir() / "owners" / "999999999-1" / f"guest-{facts.id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"kind": "guest", "id": facts.id, "uuid": facts.uuid}))
    return path


def test_a_guest_of_a_killed_tool_is_ended_and_its_folder_removed(qemu: tuple[str, subprocess.Popen[bytes]]) -> None:
    identity, process = qemu
    facts = guest(identity, process)
    note = left_by_a_dead_tool(facts)
    assert facts.alive
    assert len(leftovers.sweep()) == 1
    process.wait(5)
    assert not facts.folder.exists() and not note.exists() and not facts.alive


def test_a_guest_whose_facts_were_never_written_is_found_by_its_process(qemu: tuple[str, subprocess.Popen[bytes]]) -> None:
    identity, process = qemu
    facts = guest(identity, process)
    left_by_a_dead_tool(facts)
    (facts.folder / "facts.json").unlink()
    leftovers.sweep()
    process.wait(5)
    assert not facts.folder.exists()


def test_a_kept_guest_outlives_the_tool_that_started_it(qemu: tuple[str, subprocess.Popen[bytes]]) -> None:
    identity, process = qemu
    facts = guest(identity, process, kept=True)
    note = left_by_a_dead_tool(facts)
    leftovers.sweep()
    assert process.poll() is None
    assert facts.alive and registry.listing() == [facts] and not note.exists()


def test_another_process_with_a_recycled_number_is_not_taken_for_the_guest(qemu: tuple[str, subprocess.Popen[bytes]]) -> None:
    _, process = qemu
    facts = guest(str(uuid.uuid4()), process, qemu=f"{process.pid}-1")
    assert not facts.alive
    registry.remove(facts.id, facts.uuid)
    assert process.poll() is None, "this process runs another guest"


def test_removing_twice_is_no_error(qemu: tuple[str, subprocess.Popen[bytes]]) -> None:
    facts = guest(*qemu)
    registry.remove(facts.id, facts.uuid)
    registry.remove(facts.id, facts.uuid)
    assert registry.listing() == []


def test_a_guest_is_found_by_its_name_in_its_own_project_only(qemu: tuple[str, subprocess.Popen[bytes]]) -> None:
    facts = guest(*qemu, kept=True)
    assert registry.find("g", Path("/project")) == facts
    assert registry.find("g", Path("/another")) is None
    assert registry.find("h", Path("/project")) is None
