# SPDX-License-Identifier: Apache-2.0
"""What every task shares: its flags explained, one session for all tasks of an invocation, errors as exit codes."""

from __future__ import annotations

import atexit
import functools
import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

if TYPE_CHECKING:
    from ci.pipeline.session import Session

CI_STAGES = ("build", "verify", "image", "vm", "deploy", "validate", "bench", "report")
STAGES = ("build", "verify", "deploy", "validate", "bench", "report", "bisect", "test", "lint")

KVM = {"require-kvm": "Fail instead of emulating where KVM does not work."}
COLD = {"cold": "Boot guests instead of restoring them from a memory snapshot."}
SLOTS = {"slots": "How many guests run suites at the same time."}
KERNEL = {"kernel": "Boot this kernel of vexci.yaml instead of the machine's, and of those that suites name."}
JSON = {"json": "Print the run record to standard output, and nothing else there."}
FEATURES = {"features": "Feature sets of vexci.yaml to build (a,b or 'all'); an artifact that has none of them is built as always."}


def _with_defaults(body: Callable[..., None], texts: dict[str, str]) -> dict[str, str]:
    """The flags' help, each with its default where it has one: Invoke itself does not show it."""
    shown = {}
    for name, parameter in inspect.signature(body).parameters.items():
        text = texts.get(name.replace("_", "-"))
        if text is not None:
            default = {False: "off", "": "", None: ""}.get(parameter.default, str(parameter.default))
            shown[name.replace("_", "-")] = f"{text} [default: {default}]" if default else text
    return shown


def task(
    name: str | None = None, help: dict[str, str] | None = None, optional: tuple[str, ...] = (), iterable: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Task[Any]]:
    """A task with its flags explained, whose errors become messages and exit codes."""

    def decorate(body: Callable[..., None]) -> Task[Any]:
        made: Task[Any] = invoke_task(name=name, help=_with_defaults(body, help or {}), optional=optional, iterable=iterable)(
            _errors_to_exit_codes(body)
        )
        return made

    return decorate


def _requested() -> list[str]:
    """The stages that the command line asks for, in its order; `ci` stands for all of its stages."""
    found: list[str] = []
    for word in sys.argv[1:]:
        if word == "--":
            break
        found += (
            CI_STAGES
            if word in ("ci", "ci.run")
            else ["matrix"]
            if word == "ci.matrix"
            else ["release"]
            if word in ("release", "release.make")
            else [word]
            if word in STAGES
            else []
        )
    return found


@functools.lru_cache(maxsize=1)
def session() -> Session:
    """The session of this invocation, begun at the first call."""
    from ci.pipeline.session import Session

    made = Session(_requested())
    atexit.register(made.finish)
    made.begin()
    return made


def _errors_to_exit_codes(body: Callable[..., None]) -> Callable[..., None]:
    """Run a task's body in the session of this invocation; whatever it raises becomes a message and an exit code."""

    @functools.wraps(body)
    def wrapped(ctx: Context, *args: Any, **kwargs: Any) -> None:
        from ci import console

        if kwargs.get("json"):
            console.send_to_stderr()
        own = None
        try:
            own = session()
            own.json = own.json or bool(kwargs.get("json"))
            body(ctx, *args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            if own is None:
                raise
            raise Exit(code=own.fail(error)) from None

    return wrapped
