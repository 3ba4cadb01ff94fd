# SPDX-License-Identifier: Apache-2.0
"""Every id that a check can have is explained, and nothing else is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ci.errors import UsageError
from ci.pipeline import artifacts
from ci.verify import explain

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ("artifacts", "budget", "depth", "expected", "twice")
EMITTING = [*sorted((ROOT / "ci/verify").glob("*.py")), *(ROOT / f"ci/pipeline/{name}.py" for name in PIPELINE)]


def ids(text: str) -> set[str]:
    """The ids that stand in a source text: an id has no other origin than a literal."""
    found = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {value for value in found if re.fullmatch(r"[A-Z]\d+", value)}


def test_every_id_that_verification_can_give_is_explained_and_no_other() -> None:
    emitted = {id for path in EMITTING for id in ids(path.read_text())}
    assert {"B3", "B7", "V1", "V2", "V3", "V5", "V6", "V7", "V8", "V9", "V10", "V11", "B11", "M8"} <= emitted
    assert set(explain.read()) == emitted


def test_an_id_without_an_explanation_would_be_seen() -> None:
    assert ids('subject.check("V1" if a else "V99", "name", good, "detail V98")') == {"V1", "V99"}


def test_an_explanation_says_why_what_is_observed_and_how_to_mend_it() -> None:
    for each in explain.read().values():
        assert min(len(each.title), 20) == min(len(each.title), len(each.why), len(each.observed), len(each.fix), 20), each.id
        assert not any("\n" in text for text in (each.why, each.observed, each.fix)), each.id


def test_an_unknown_id_is_refused_with_those_that_there_are() -> None:
    assert explain.find("v1").title == "the kernel will take the module"
    with pytest.raises(UsageError, match=r"no check has the id 'VV1'; did you mean 'V1'\?"):
        explain.find("VV1")
    with pytest.raises(UsageError, match="expected one of: B1, B11, B3"):
        explain.find("licence")


def test_what_is_printed_holds_the_whole_explanation(capsys: pytest.CaptureFixture[str]) -> None:
    artifacts.explain("v2")
    shown = " ".join(capsys.readouterr().out.split())
    found = explain.find("V2")
    assert all(text in shown for text in (found.title, found.why, found.observed, found.fix))
    artifacts.explain("list")
    listing = capsys.readouterr().out
    assert all(id in listing and each.title in listing for id, each in explain.read().items())
