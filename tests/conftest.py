# SPDX-License-Identifier: Apache-2.0
"""The tests import the project from its root; soak tests run only when asked for; files are dealt to workers whole."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# A busy machine is no failure: what is slow is found by benchmarks.
hypothesis.settings.register_profile("vexci", deadline=None)
hypothesis.settings.load_profile("vexci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` turns the choice round: the soak tests and nothing else."""
    parser.addoption("--soak", action="store_true", help="run the soak tests (long) and nothing else")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out soak tests unless asked for, and give each file to one worker, so that its fixtures are made once.

    Files that read the project's own newest record share the group `project`: they must not run side by side.
    """
    soak = bool(config.getoption("--soak"))
    left_out = [item for item in items if (item.get_closest_marker("soak") is not None) != soak]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
