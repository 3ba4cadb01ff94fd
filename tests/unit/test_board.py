# SPDX-License-Identifier: Apache-2.0
"""The live table of suites: what it shows on a terminal, and the lines that stand for it elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ci import console
from ci.board import Board
from ci.model import Case, Verdict

pytestmark = pytest.mark.unit


def shown(board: Board) -> str:
    output = io.StringIO()
    Console(file=output, width=120, force_terminal=False).print(board.rendered())
    return output.getvalue()


def test_a_row_says_how_far_it_is_and_failures_stand_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "interactive", lambda: True)
    board = Board(["posix on a", "posix on b"])
    assert "waits" in shown(board)
    board.begin(0)
    board.say(0, "3/9 rename.x")
    board.case(0, Case("rename.w", Verdict.PASS, "", 0.1))
    board.case(0, Case("rename.v", Verdict.SKIP, "not offered", 0.1, required=False))
    board.case(0, Case("rename.x", Verdict.FAIL, "expected EPERM, got EIO", 0.1))
    text = shown(board)
    (row,) = (line for line in text.splitlines() if line.strip().startswith("posix on a"))
    assert row.split()[3:6] == ["running", "1", "1"] and "3/9 rename.x" in row
    assert "fail  posix on a: rename.x: expected EPERM, got EIO" in text
    board.end(0, Verdict.FAIL)
    assert "running" not in shown(board)


def test_a_second_try_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "interactive", lambda: True)
    board = Board(["a"])
    board.begin(0)
    board.case(0, Case("x", Verdict.INFRA, "lost", 0.1))
    board.begin(0)
    (row,) = (line for line in shown(board).splitlines() if line.strip().startswith("a "))
    assert row.split() == ["a", "running", "0", "s", "begins"]


def test_without_a_terminal_a_failure_is_a_line_when_it_occurs(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "note", said.append)
    monkeypatch.setattr(console, "interactive", lambda: False)
    board = Board(["a"])
    with board:
        board.begin(0)
        board.case(0, Case("x", Verdict.PASS, "", 0.1))
        board.case(0, Case("y", Verdict.FAIL, "z" * 300, 0.1))
    assert said == [f"fail  a: y: {'z' * 100}…"]
    assert console.Progress.above is None
