# SPDX-License-Identifier: Apache-2.0
"""Packs ci/bench/guest and ci/bench/vectors into one file that any Python 3.10 runs: `python3 bench.pyz COMMAND`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import ci

_MAIN = "import sys\nfrom ci.bench.guest.command import main\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def _members() -> dict[str, str]:
    root = Path(ci.__file__).parent
    files = [root / "procfs.py", *sorted((root / "bench" / "guest").glob("*.py")), *sorted((root / "bench" / "vectors").rglob("*.py"))]
    packages = dict.fromkeys(("ci/__init__.py", "ci/bench/__init__.py"), "")
    return {"__main__.py": _MAIN, **packages, **{str(file.relative_to(root.parent)): file.read_text() for file in files}}


def write(path: Path) -> Path:
    """Write the payload; the same sources give the same bytes, so that its hash names the harness."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _members().items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    return path
