# SPDX-License-Identifier: Apache-2.0
"""Chromium without a window, for what only a browser can do: a page on paper."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ci.errors import InfrastructureError, UsageError
from ci.process import Limits, run, scratch_file

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120.0
# Nothing is asked of any network: the page forbids it itself, and these keep the browser's own requests back.
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
)


def program() -> str:
    """The browser's path; UsageError where none is installed."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise UsageError("no Chromium is installed, so nothing can be printed to PDF", hint="apt-get install chromium")


def print_pdf(page: Path, paper: Path) -> Path:
    """Print a local page to a PDF file, whole or not at all. Raises InfrastructureError where the browser wrote none."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox refuses to run as root
    errors = scratch_file("chromium.err")
    with tempfile.TemporaryDirectory(prefix="vexci-browser-") as scratch:
        made = Path(scratch) / "page.pdf"
        argv = [program(), *_QUIET, *root, f"--user-data-dir={scratch}/profile", f"--print-to-pdf={made}", page.absolute().as_uri()]
        done = run(argv, limits=Limits(SECONDS), stderr=errors)
        data = made.read_bytes() if made.is_file() else b""
    if not done.ok or not data.startswith(b"%PDF-"):
        tail = done.error_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise InfrastructureError(f"Chromium printed no PDF of {page.name} ({done.how}): {tail[0]}")
    paper.write_bytes(data)
    return paper
