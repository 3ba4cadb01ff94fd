# SPDX-License-Identifier: Apache-2.0
"""How tests are dealt to workers: a file whole, and what reads the project's own newest record to one worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, group

pytestmark = pytest.mark.unit


def test_what_makes_runs_in_this_project_says_that_it_must_be_alone() -> None:
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if path != Path(__file__)]
    makers = [str(path.relative_to(ROOT)) for path in files if "recordschema.latest(tool.ROOT)" in path.read_text()]
    assert len(makers) >= 2
    assert {group(file) for file in makers} == {"project"}
    assert group("tests/unit/test_dealing.py") == "tests/unit/test_dealing.py"


def test_what_may_take_longest_comes_first_and_files_stay_together(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    marked = "import pytest\ndef test_short():\n    pass\n@pytest.mark.timeout({})\ndef test_long():\n    pass\n"
    (tmp_path / "tests/test_a.py").write_text("def test():\n    pass\n")
    (tmp_path / "tests/test_b.py").write_text(marked.format(400))
    (tmp_path / "tests/test_c.py").write_text(marked.format(900))
    argv = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "tests"]
    told = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    assert told[:5] == [
        f"tests/test_{name}" for name in ("c.py::test_short", "c.py::test_long", "b.py::test_short", "b.py::test_long", "a.py::test")
    ]


def test_files_stay_whole_with_the_installed_pytest_and_xdist(tmp_path: Path) -> None:
    text = "import os, pytest\n@pytest.mark.parametrize('x', range(9))\ndef test(x, capsys):\n"
    text += "    with capsys.disabled():\n        print(f'\\n{__name__} {os.environ[\"PYTEST_XDIST_WORKER\"]}', file=open('told', 'a'))\n"
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    for name in ("one", "two"):
        (tmp_path / f"tests/test_{name}.py").write_text(text)
    argv = [sys.executable, "-m", "pytest", "-q", "-n2", "--dist=loadfile", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {tuple(line.split()) for line in (tmp_path / "told").read_text().splitlines() if line}
    assert len(told) == 2 and {name for name, _ in told} == {"test_one", "test_two"}, told
