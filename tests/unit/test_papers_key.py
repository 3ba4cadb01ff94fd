# SPDX-License-Identifier: Apache-2.0
"""What papers are known by does not depend on the folder that a clone lies in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ci.provenance.facts import Facts

pytestmark = pytest.mark.unit


def facts(root: str, *command: str) -> Facts:
    artifact: Any = SimpleNamespace(sha256="a", inputs_sha256="b", commit="c", dirty=False)
    given: dict[str, Any] = dict.fromkeys(Facts.__dataclass_fields__)
    given |= {"project": "p", "release": "1", "artifact": artifact, "root": Path(root), "command": command, "tools": {}}
    return Facts(**given)


def test_another_clone_of_the_same_build_has_the_same_key_and_another_command_has_not() -> None:
    one = facts("/a/clone", "make", "M=/a/clone/.build/m")
    assert one.key() == facts("/b/other", "make", "M=/b/other/.build/m").key()
    assert one.key() != replace(one, command=("make", "M=/a/clone/.build/n")).key()
