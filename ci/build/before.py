# SPDX-License-Identifier: Apache-2.0
"""Commands that a tree needs before its own build (`before:` in the manifest): configure, generate, patch.

They run again where the inputs changed, and not otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ci import process, store
from ci.build import messages
from ci.build.job import Job
from ci.errors import ProductFailure, UsageError

_STAMP = ".vexci-before"


def run(job: Job, place: Path, inputs: Callable[[], str]) -> None:
    """Run the commands in `place`; `inputs` is the hash of what they read, asked again at the end because they may write there.

    Raises ProductFailure with the command and its last words where one fails.
    """
    if not job.spec.recipe.before:
        return
    stamp = job.folder / _STAMP
    words = [word for command in job.spec.recipe.before for word in command]
    if stamp.is_file() and stamp.read_text() == store.sha256_text(inputs(), *words):
        return
    stamp.unlink(missing_ok=True)
    log = job.log("before.log")
    for command in job.spec.recipe.before:
        argv = job.filled(command)
        job.say(" ".join(argv)[:80])
        env = {**os.environ, "LC_ALL": "C", **job.clock}
        try:
            done = process.run(argv, limits=job.limits, log=log, cwd=place, env=env, what=f"{job.label}: {argv[0]}")
        except UsageError as error:
            hint = f"'before:' runs it in {job.relative(place)}, without a shell"
            raise UsageError(f"{job.label}: {error.message}", where=job.relative(job.source), hint=hint) from error
        if not done.ok:
            raise ProductFailure(
                f"{job.label}: the command '{' '.join(argv)}' of 'before:' failed ({done.how}): {messages.last_words(log)}",
                where=job.relative(job.source),
                hint=f"it runs in {job.relative(place)}; the whole log: {job.relative(log)}",
                evidence=(log,),
            )
    store.atomic_write(stamp, store.sha256_text(inputs(), *words))
