# SPDX-License-Identifier: Apache-2.0
"""The schema that docs/record.md holds, for tests that look at records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema

ROOT = Path(__file__).resolve().parent.parent


def schema() -> dict[str, Any]:
    """The JSON schema out of docs/record.md."""
    blocks = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs/record.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    found: dict[str, Any] = json.loads(blocks[0])
    return found


def validate(record: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError where the record is not as documented."""
    jsonschema.Draft202012Validator(schema()).validate(record)


def latest(root: Path) -> dict[str, Any]:
    """The newest record of a project, validated."""
    record: dict[str, Any] = json.loads((root / ".runs/latest/record.json").read_text())
    validate(record)
    return record
