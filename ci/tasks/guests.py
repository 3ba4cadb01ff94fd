# SPDX-License-Identifier: Apache-2.0
"""The collections `image` and `vm`: guests that a person starts and looks into."""

from __future__ import annotations

import sys

from invoke.context import Context

from ci.tasks.base import COLD, KERNEL, KVM, session, task


@task(name="build", help={"name": "Only this image of vexci.yaml."})
def image_build(ctx: Context, name: str = "") -> None:
    """Make the guest images that are missing or whose definition changed."""
    from ci.pipeline import person

    person.image_build(session(), name)


@task(name="list")
def image_list(ctx: Context) -> None:
    """List the guest images with their state and size."""
    from ci.pipeline import person

    person.image_list(session())


_GUEST = {"name": "The guest's name."}


@task(name="up", help={"machine": "A machine of vexci.yaml.", **KERNEL, **KVM, **COLD, **_GUEST})
def vm_up(
    ctx: Context, machine: str = "default", name: str = "default", kernel: str = "", require_kvm: bool = False, cold: bool = False
) -> None:
    """Start a guest that stays until vm.down."""
    from ci.pipeline import person

    person.up(session(), machine=machine, name=name, require_kvm=require_kvm, kernel=kernel, cold=cold)


@task(name="list")
def vm_list(ctx: Context) -> None:
    """List the running guests."""
    from ci.pipeline import person

    person.listing(session())


@task(name="ssh", help={"name": "The guest's name; without one 'default', or else the guest of ./inv dev."})
def vm_ssh(ctx: Context, name: str = "") -> None:
    """Open a shell in a guest, or run what follows `--` there."""
    from ci.pipeline import person

    command = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    person.ssh(session(), name, command)


@task(name="console", help=_GUEST)
def vm_console(ctx: Context, name: str = "default") -> None:
    """Attach to a guest's serial console (leave with Ctrl-])."""
    from ci.pipeline import person

    person.console_of(session(), name)


@task(name="down", help={"all": "Every guest of this user.", **_GUEST})
def vm_down(ctx: Context, name: str = "default", all: bool = False) -> None:
    """Stop a guest and remove its disk."""
    from ci.pipeline import person

    person.down(session(), name, everything=all)


@task(name="prune", help={"all": "Remove every memory snapshot."})
def vm_prune(ctx: Context, all: bool = False) -> None:
    """Remove memory snapshots that are over the limits of vexci.yaml (each start of a guest does so, too)."""
    from ci.pipeline import person

    person.prune(session(), everything=all)
