# SPDX-License-Identifier: Apache-2.0
"""docs/format.md adds up, and the uapi header is what it says (V7)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit


def test_the_formats_sizes_offsets_geometry_hashes_and_ioctl_numbers_agree_with_the_header() -> None:
    script = Path(__file__).resolve().parents[1] / "format_layout.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("all agree")
