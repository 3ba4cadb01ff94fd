# SPDX-License-Identifier: Apache-2.0
"""Freshness: an output counts only where it is known from which inputs it came (B3, B4).

A stamp, written when an output was made, names its inputs and its bytes; where both still agree the output
is reused. Any other output must be newer than the build's start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ci import store
from ci.build.job import Job
from ci.errors import ProductFailure
from ci.model import Artifact


@dataclass(frozen=True)
class Stamp:
    """What is known of an output: the hash of its inputs, of its bytes, when its build started, its warnings."""

    inputs: str
    output: str
    started: float
    warnings: int


def begin(folder: Path) -> float:
    """The start of a build in epoch seconds, by the clock of the file system that the outputs are written to.

    time.time() will not do: file times come from a coarser clock, which may be some milliseconds behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / ".vexci-started"
    mark.write_text("")
    return mark.stat().st_mtime


def _read(path: Path) -> Stamp | None:
    try:
        return Stamp(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return None  # a damaged stamp proves nothing, which is what None says


def prove(
    output: Path,
    stamp_file: Path,
    inputs: str,
    started: float,
    *,
    rebuild: Callable[[], float],
    warnings: Callable[[], int],
    suspect_unchanged: bool = False,
    untouched: Callable[[], bool] = lambda: False,
) -> tuple[Stamp, bool]:
    """The stamp of `output`, and whether an earlier build's output was reused.

    `warnings` counts those of the build that just ran. `rebuild` forces a build where nothing proves the age
    of the output, and returns its start in epoch seconds; with `suspect_unchanged` also where the output is still that of other
    inputs, as a recipe that hides its failure would have it. `untouched` is whether the build tool itself says that it did not
    write the output in the build that just ran. Raises ProductFailure where the build tool still does not write the output.
    """
    known = _read(stamp_file)
    if known is not None and known.inputs == inputs and known.output == store.sha256_file(output):
        return known, True
    unchanged = suspect_unchanged and known is not None and known.output == store.sha256_file(output)
    if unchanged or untouched() or not _made_since(output, started):
        started = rebuild()
        if untouched() or not _made_since(output, started):
            raise ProductFailure(
                f"{output} was not written by this build, and nothing proves from which sources it came (stale output)",
                hint="its build recipe reports success without building; look for '|| true' or a cp of an old file in it",
            )
    stamp = Stamp(inputs, store.sha256_file(output), started, warnings())
    store.atomic_write(stamp_file, json.dumps(asdict(stamp)))
    return stamp, False


def _made_since(output: Path, started: float) -> bool:
    """Both times count: anybody can give a file that was copied in a new time of its contents, but not one of its inode."""
    found = output.stat()
    return min(found.st_mtime, found.st_ctime) > started  # no build ends within the tick in which it began


def artifact(job: Job, output: Path, mark: Stamp, *, reused: bool, target: str, log: Path) -> Artifact:
    """What the record says of an output whose origin is proved."""
    return Artifact(
        name=job.spec.name,
        kind=job.spec.kind,
        path=output,
        sha256=mark.output,
        size=output.stat().st_size,
        features=job.spec.features,
        target=target,
        kernel=job.kernel.name if job.kernel else None,
        commit=job.revision.commit,
        dirty=job.revision.dirty,
        inputs_sha256=mark.inputs,
        started=mark.started,
        modified=output.stat().st_mtime,
        warnings=mark.warnings,
        reused=reused,
        log=str(log.relative_to(job.run.path)),
        feature_set=job.feature_set,
        toolchain=job.toolchain,
        profile=job.profile,
    )
