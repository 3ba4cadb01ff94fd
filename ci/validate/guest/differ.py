# SPDX-License-Identifier: Apache-2.0
"""The guest's part of the suite differential: mounts all systems, runs sequences of operations on each, tells what they answered.

    agent differ begin|run|end REQUEST.json

`REQUEST` holds `systems` (plans, as the other suites have them; the reference's is one too) and, for `run`, `sequences` and
`remount`. Everything that is told is a JSON line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from . import mounts, product, telling
from .context import Context, Failed, Hung, Plan
from .machine import mark
from .operations import Sequence, remove, tree
from .runner import emit


def main(arguments: list[str]) -> int:
    """Do one step; a problem with a mount is told as an event, with its verdict."""
    if len(arguments) != 2 or arguments[0] not in ("begin", "run", "end"):
        return 2
    request = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    plans = [Plan.parse(json.dumps(facts)) for facts in request["systems"]]
    quiet = telling.nowhere()
    contexts = [Context(plan, quiet) for plan in plans]
    at = ""
    try:
        for context in contexts:
            at = context.plan.artifact
            emit("step", what=arguments[0], system=at)
            _step(arguments[0], context)
        if arguments[0] == "run":
            at = ""
            _run(contexts, request["sequences"], bool(request["remount"]))
    except (Failed, Hung, OSError) as problem:
        emit("problem", system=at, verdict="hang" if isinstance(problem, Hung) else "fail", text=str(problem))
    emit("done")
    return 0


def _step(step: str, context: Context) -> None:
    plan = context.plan
    os.makedirs(plan.work, exist_ok=True)
    if step == "begin":
        if plan.module and not product.loaded(plan.module):
            product.load(context)
        product.mount(context)
    elif step == "run":
        context.prove_mount()
    elif mounts.at(plan.mountpoint) is not None:
        product.unmount(context)
        if plan.check:
            context.must(list(plan.check))
    if step == "end" and os.path.exists(plan.volume):
        os.unlink(plan.volume)


def _run(contexts: list[Context], sequences: list[list[list[Any]]], remount: bool) -> None:
    """Every sequence on every system; then, with `remount`, all is unmounted, mounted again, and looked at again."""
    os.umask(0o022)
    os.setgroups([])
    trees: dict[tuple[int, str], Any] = {}
    for number, operations in enumerate(sequences):
        mark(f"case sequence-{number}")
        answers = {}
        for context in contexts:
            folder = context.path(f"sequence-{number}")
            # The folder above is the sequence's own, too: what its `..` is must not follow from what else the file system holds.
            for path in (folder, os.path.join(folder, "work")):
                os.mkdir(path)
                os.chmod(path, 0o777)
            told = Sequence(path).run(operations)
            trees[number, context.plan.artifact] = tree(folder)
            answers[context.plan.artifact] = {"answers": told, "tree": trees[number, context.plan.artifact]}
        emit("sequence", number=number, systems=answers)
    if remount:
        _again(contexts, len(sequences), trees)
    for context in contexts:
        emit("step", what="remove", system=context.plan.artifact)
        for number in range(len(sequences)):
            remove(context.path(f"sequence-{number}"))


def _again(contexts: list[Context], count: int, trees: dict[tuple[int, str], Any]) -> None:
    for context in contexts:
        emit("step", what="unmount", system=context.plan.artifact)
        product.unmount(context)
        emit("step", what="mount", system=context.plan.artifact)
        product.mount(context)
        for number in range(count):
            after = tree(context.path(f"sequence-{number}"))
            if after != trees[number, context.plan.artifact]:
                emit("again", number=number, system=context.plan.artifact, tree=after)
    emit("remounted")
