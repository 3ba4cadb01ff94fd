# SPDX-License-Identifier: Apache-2.0
"""Tasks about what is built: build, verify, and the kernels that modules are built for."""

from __future__ import annotations

from invoke.context import Context

from ci.tasks.base import FEATURES, JSON, session, task


@task(
    help={
        "only": "Build just this artifact of vexci.yaml (or a,b).",
        "kernel": "Build modules just for this kernel of vexci.yaml (a,b or 'all').",
        "toolchain": "Build modules with this compiler (gcc, clang, or 'all').",
        **FEATURES,
        "twice": "Also build each from nothing in two other folders, and compare the bytes (slow).",
        **JSON,
    }
)
def build(
    ctx: Context, only: str = "", kernel: str = "", features: str = "", toolchain: str = "", twice: bool = False, json: bool = False
) -> None:
    """Build the kernel module (for each kernel) and the daemon, with the right features."""
    from ci.pipeline import artifacts
    from ci.pipeline.matrix import Filter

    artifacts.build(session(), Filter(only, kernel, features, toolchain), twice=twice)


@task(
    help={
        "explain": "Say what the check with this id means (such as V1), or list them all; nothing is verified.",
        "release": "Judge as for a release: the tree must be clean, and what was built must be from its commit.",
        **JSON,
    },
    optional=("explain",),
)
def verify(ctx: Context, explain: str = "", release: bool = False, json: bool = False) -> None:
    """Check that what was built is what it claims to be: kind, freshness, license, symbols, code, versions, features."""
    from ci.pipeline import artifacts

    if explain:
        artifacts.explain(str(explain) if isinstance(explain, str) else "list")
        return
    session().release = release
    artifacts.verify(session())


@task(help={"fetch": "Download or build this kernel of vexci.yaml now (a,b or 'all'), a newer one where there is one."})
def kernels(ctx: Context, fetch: str = "") -> None:
    """List the kernels of vexci.yaml: known, downloaded, installed or built, with their sizes and places."""
    from ci.pipeline import targets

    targets.show(session(), fetch=fetch)
