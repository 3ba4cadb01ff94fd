# SPDX-License-Identifier: Apache-2.0
"""Imports point one way: tasks -> pipeline -> stages -> base -> errors -> model. Stages do not know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"build", "verify", "kernels", "images", "vm", "deploy", "validate", "bench", "report", "release"}
FACTS = {"model", "manifest"}
LAYERS = {"tasks": 5, "pipeline": 4, **dict.fromkeys(STAGES, 3), "errors": 1, **dict.fromkeys(FACTS, 0)}
BASE = 2  # everything else in ci: processes, files, the console, the machine
# Run inside the guest, or before there is an environment: these may use the standard library alone.
ALONE = ("ci/validate/guest/", "ci/bench/guest/", "ci/vm/inside.py")
BEFORE_SETUP = {"setup", "bootstrap", "packages", "__main__"}


def imported(text: str) -> Iterator[tuple[str, int]]:
    """(second part of each `ci.…` import, line), also those inside functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "ci" else [f"ci.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("ci."):
                yield name.split(".")[1], node.lineno


def part(path: Path) -> str:
    relative = path.relative_to(ROOT / "ci")
    return relative.parts[0].removesuffix(".py")


def wrong_edges(path: Path, text: str) -> list[str]:
    own = part(path)
    found = []
    for other, line in imported(text):
        if other == own:
            continue
        up = LAYERS.get(other, BASE) > LAYERS.get(own, BASE)
        sideways = own in STAGES and other in STAGES and not (other == "vm" and own in {"deploy", "validate", "bench"})
        if up or sideways or (own in FACTS and other != "model"):
            found.append(f"{path.relative_to(ROOT)}:{line} imports ci.{other}")
    return found


def test_no_import_points_the_wrong_way() -> None:
    found = [edge for path in sorted((ROOT / "ci").rglob("*.py")) for edge in wrong_edges(path, path.read_text())]
    assert found == []


def test_the_model_imports_nothing_of_ci() -> None:
    assert list(imported((ROOT / "ci/model.py").read_text())) == []


def at_import(text: str) -> list[str]:
    """The modules of ci other than the tasks that are imported as soon as this one is, not inside a function."""
    outside = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [name for node in outside for name, _ in imported(ast.unparse(node)) if name != "tasks"]


def test_a_list_of_the_tasks_imports_nothing_but_them() -> None:
    files = [ROOT / "tasks.py", *sorted((ROOT / "ci/tasks").glob("*.py"))]
    assert len(files) > 2 and {path.name: at_import(path.read_text()) for path in files} == {path.name: [] for path in files}
    assert at_import("from ci.pipeline import farm") == ["pipeline"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("ci/store.py", "from ci import pipeline"),
        ("ci/build/job.py", "from ci.verify import elf"),
        ("ci/errors.py", "import ci.process"),
        ("ci/vm/guest.py", "def f():\n    from ci import deploy"),
        ("ci/model.py", "from ci import manifest"),
    ],
)
def test_a_wrong_edge_would_be_seen(file: str, line: str) -> None:
    assert len(wrong_edges(ROOT / file, line)) == 1


def test_nothing_in_ci_knows_the_filesystem_by_name() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "ci").rglob("*"))
        if path.suffix in {".py", ".yaml", ".sh", ".j2", ".html"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "vexfs" in line.lower()
    ]
    assert found == []


def test_what_runs_in_a_guest_or_before_the_setup_uses_the_standard_library_alone() -> None:
    import sys

    standard = sys.stdlib_module_names
    for path in sorted((ROOT / "ci").rglob("*.py")):
        relative = str(path.relative_to(ROOT))
        if not relative.startswith(ALONE) and part(path) not in BEFORE_SETUP:
            continue
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for first in (name.split(".")[0] for name in names):
                beside = first == path.parent.name or (path.parent / f"{first}.py").exists()
                assert first in standard or first == "ci" or beside, f"{relative} imports {first}"
