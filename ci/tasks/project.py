# SPDX-License-Identifier: Apache-2.0
"""Tasks about this machine and this project: doctor, test, lint."""

from __future__ import annotations

from invoke.context import Context

from ci.tasks.base import session, task


@task(help={"fix": "Run the commands that fix what is missing."})
def doctor(ctx: Context, fix: bool = False) -> None:
    """Show what this machine can do, what is missing, and the exact command that fixes it."""
    from ci.pipeline import machine

    machine.doctor(session(), fix=fix)


@task(
    help={
        "quick": "Only what needs no VM: at most 90 seconds.",
        "fresh": "Also prove the two commands in a fresh Debian root (slow, needs root).",
        "soak": "Only the long tests that neither a developer nor CI waits for; --only narrows them.",
        "only": "Only the tests whose names match this pytest expression.",
    }
)
def test(ctx: Context, quick: bool = False, fresh: bool = False, soak: bool = False, only: str = "") -> None:
    """Run the project's own linters and tests; says what it did not run and why."""
    from ci.pipeline import selftest

    selftest.run(session(), quick=quick, fresh=fresh, soak=soak, only=only)


@task()
def lint(ctx: Context) -> None:
    """Run the linters: ruff, mypy, rustfmt, clippy, W=1, sparse and checkpatch."""
    from ci.pipeline import selftest

    selftest.lint(session())
