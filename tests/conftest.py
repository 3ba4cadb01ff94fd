# SPDX-License-Identifier: Apache-2.0
"""The tests import the project from its root; soak tests run only when asked for; files are dealt to workers whole."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# A busy machine is no failure: what is slow is found by benchmarks.
hypothesis.settings.register_profile("vexci", deadline=None)
hypothesis.settings.load_profile("vexci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` turns the choice round: the soak tests and nothing else."""
    parser.addoption("--soak", action="store_true", help="run the soak tests (long) and nothing else")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out soak tests unless asked for; and begin with what takes longest, so that no worker ends with it while the others idle."""
    soak = bool(config.getoption("--soak"))
    left_out = [item for item in items if (item.get_closest_marker("soak") is not None) != soak]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    limits: dict[str, float] = {}
    for item in items:
        dealt = _dealt_with(item.nodeid)
        limits[dealt] = max(limits.get(dealt, 0.0), _limit(item))
    items.sort(key=lambda item: -limits[_dealt_with(item.nodeid)])


def _dealt_with(nodeid: str) -> str:
    return group(nodeid.split("::", 1)[0])


def _limit(item: pytest.Item) -> float:
    """The test's own limit in seconds, 0 where it has none: what may take long says so."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give each file to one worker, so that its fixtures are made once, and all files of the group `project` to the same.

    Those read the project's own newest record, and must not run side by side. xdist's own `loadgroup` tells the groups by a name
    that pytest 9.2 no longer lets it change: with these two it deals out tests one by one, and says nothing.
    """
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _dealt_with(nodeid)

    return Files(config, log)  # type: ignore[arg-type]


@functools.cache
def group(file: str) -> str:
    """What a file's tests are dealt out with: `project` where it says that it belongs there, else only themselves."""
    text = Path(ROOT, file).read_text(encoding="utf-8")
    return "project" if 'xdist_group("project")' in text else file
