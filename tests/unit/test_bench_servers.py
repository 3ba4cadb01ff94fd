# SPDX-License-Identifier: Apache-2.0
"""Servers beside which vectors are measured: from an address, or from the committed compose file, or skipped with the way out."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from ci.bench import containers, reference
from ci.bench.system import SERVER
from ci.bench.systems import at, servers
from ci.bench.vectors.engine import EngineError, Where
from ci.bench.vectors.engines import NAMES, engine
from ci.errors import UsageError

pytestmark = pytest.mark.unit

QDRANT = reference("qdrant-server")


def program(folder: Path, name: str, script: str) -> None:
    """A container engine's command line in a folder of PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_image_is_pinned_its_port_is_of_loopback_and_its_health_is_asked() -> None:
    assert QDRANT.compose is not None
    service = yaml.safe_load(QDRANT.compose.read_text())["services"]["qdrant"]
    assert re.fullmatch(r"docker\.io/qdrant/qdrant:v[\d.]+@sha256:[0-9a-f]{64}", service["image"])
    assert service["ports"] and all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert "/readyz" in " ".join(service["healthcheck"]["test"])
    names = set(re.findall(r"\$\{(\w+)", QDRANT.compose.read_text()))
    assert names == {word.partition("=")[0] for word in QDRANT.mount if "=" in word}, "the command gives each variable a value"


def test_without_a_container_engine_it_is_skipped_with_the_way_out(tmp_path: Path) -> None:
    found = containers.found(QDRANT, path=str(tmp_path))
    assert "there is no container engine" in found.absent
    assert "--server qdrant-server=http://127.0.0.1:PORT" in found.absent
    assert found.mount == QDRANT.mount


def test_an_engine_whose_daemon_does_not_answer_is_none(tmp_path: Path) -> None:
    program(tmp_path, "docker", 'echo "Cannot connect to the daemon. Is it running?" >&2; exit 1')
    assert containers.answering(path=str(tmp_path)) == ((), "docker: Cannot connect to the daemon. Is it running?")


def test_one_without_compose_is_passed_over_for_the_next(tmp_path: Path) -> None:
    program(tmp_path, "docker", '[ "$1" = info ] || { echo "unknown command: docker $1" >&2; exit 1; }')
    program(tmp_path, "podman", "exit 0")
    assert containers.answering(path=str(tmp_path)) == ((str(tmp_path / "podman"), "compose"), "")


def test_an_image_that_cannot_be_fetched_is_said_in_the_engines_own_words(tmp_path: Path) -> None:
    program(tmp_path, "docker", 'case "$*" in *pull*) echo "no such host" >&2; exit 1;; esac')
    found = containers.found(QDRANT, path=str(tmp_path))
    assert found.absent.startswith("its image cannot be fetched: no such host; start")


def test_the_command_of_an_engine_that_answers_is_complete(tmp_path: Path) -> None:
    program(tmp_path, "docker", '[ -z "${QDRANT_PORT:-}" ] && [ "$1 $4" = "compose pull" ] && exit 1; exit 0')
    found = containers.found(QDRANT, path=f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    assert found.absent == ""
    for words in (found.mount, *found.after):
        start = words.index(str(tmp_path / "docker"))
        assert words[start : start + 6] == (
            str(tmp_path / "docker"),
            "compose",
            "--file",
            str(QDRANT.compose),
            "--project-name",
            "vexci-{port}",
        )
    assert found.after[0][-4:] == ("down", "--volumes", "--timeout", "30")


def test_a_server_that_is_given_is_neither_started_nor_stopped() -> None:
    found = at(QDRANT, "http://127.0.0.1:6333")
    assert (found.mount, found.after, found.ready, found.compose, found.url) == ((), (), (), None, "http://127.0.0.1:6333")
    assert found.access == SERVER


def test_a_server_on_another_machine_is_not_like_one_on_this() -> None:
    assert at(QDRANT, "http://db.example:6333").access == "a server on another machine, db.example"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("faiss=http://127.0.0.1:1", "'faiss' is no server"),
        ("qdrant-server", "'' is no address"),
        ("qdrant-server=127.0.0.1:6333", "'127.0.0.1:6333' is no address"),
        ("qdrant-server=http://127.0.0.1", "is no address"),
        ("qdrant-server=http://127.0.0.1:port", "is no address"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_runs(word: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        servers([word])
    assert "--server" in refused.value.hint


def test_addresses_are_taken_by_name() -> None:
    assert servers(["qdrant-server=http://127.0.0.1:6333", "chroma-server=https://[::1]:8000"]) == {
        "qdrant-server": "http://127.0.0.1:6333",
        "chroma-server": "https://[::1]:8000",
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_without_its_library_or_its_place_says_so(name: str, tmp_path: Path) -> None:
    try:
        found = engine(name, Where(tmp_path))
        found.version()
    except EngineError as error:
        assert str(error)
    else:
        assert found.count is not None
