# SPDX-License-Identifier: Apache-2.0
"""What a person asks about kernels: which there are, where they are, and to have one now."""

from __future__ import annotations

from collections.abc import Sequence

from ci import console, kernels
from ci.model import Verdict
from ci.pipeline import matrix
from ci.pipeline.session import Session


def show(session: Session, *, fetch: str) -> None:
    """The list; with `fetch` these kernels are first downloaded or built, a newer one where there is one."""
    specs = session.manifest.kernels
    for name in matrix.names(fetch, [spec.name for spec in specs], "kernel"):
        target = kernels.resolve(session.manifest.kernel(name), say=console.note, refresh=True)
        console.verdict_line(Verdict.PASS, f"{name}: {target.release} ({target.origin})")
    rows: list[Sequence[str | Verdict]] = []
    for row in kernels.listing(specs):
        size = f"{row.size >> 20} MiB" if row.size else ""
        rows.append([row.name, row.provider, row.state, row.release, size, row.where])
    console.table(console.Table("", ("kernel", "provider", "state", "release", "on disk", "where"), rows))
