# SPDX-License-Identifier: Apache-2.0
"""Packs the scripts of `guest/` into one file, which a guest unpacks once and its Python runs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

GUEST_FOLDER = Path(__file__).parent / "guest"
ENTRY = "__main__.py"
_MAIN = "import sys\nfrom guest.main import main\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def agent() -> bytes:
    """A zip application with every script of guest/; the same sources give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for script in sorted(GUEST_FOLDER.rglob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"guest/{script.relative_to(GUEST_FOLDER)}", _EPOCH), script.read_bytes())
        archive.writestr(zipfile.ZipInfo(ENTRY, _EPOCH), _MAIN)  # the last: where it was unpacked, all was
    return buffer.getvalue()


def agent_name(data: bytes) -> str:
    """A folder's name that changes with the content, so that a stale agent is never run."""
    return f"agent-{hashlib.sha256(data).hexdigest()[:16]}"
