# SPDX-License-Identifier: Apache-2.0
"""Named baselines: the series of an earlier run, and the verdict on the same series now.

A regression is claimed where the interval of the ratio lies wholly beyond the threshold, so that neither noise nor a
difference too small to matter is called one. A baseline that was measured in another way is refused with the field that differs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from ci import store
from ci.errors import UsageError
from ci.fingerprint import OF_THE_TOOL, differences, key
from ci.model import Series, Verdict
from ci.samples import ratio_of_medians

FOLDER = ".vexci/baselines"
THRESHOLD = 0.05  # a change below 5 % is not worth a verdict, whatever its interval


class Change(str, Enum):
    """What became of one series."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    UNCHANGED = "no change shown"
    REFUSED = "refused"
    MISSING = "missing"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Judgement:
    """One series against its baseline; `ratio` is now over then, with its 95 % interval."""

    system: str
    workload: str
    metric: str
    change: Change
    reason: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def save(root: Path, name: str, run: str, commit: str, measured: Sequence[Series]) -> Path:
    """Keep the series under a name; UsageError where none has samples. An older one of that name is replaced."""
    path = _path(root, name)
    kept = [asdict(item) | {"verdict": item.verdict.value, "evidence": []} for item in measured if item.samples and not item.failure]
    if not kept:
        raise UsageError(f"the baseline '{name}' would be empty: nothing was measured")
    path.parent.mkdir(parents=True, exist_ok=True)
    store.atomic_write(path, json.dumps({"run": run, "commit": commit, "series": kept}, indent=1) + "\n")
    return path


def exists(root: Path, name: str) -> bool:
    """Whether there is a baseline of that name."""
    return _path(root, name).is_file()


def load(root: Path, name: str) -> list[Series]:
    """The series of a baseline; UsageError where there is none of that name."""
    path = _path(root, name)
    if not path.is_file():
        known = sorted(each.stem for each in path.parent.glob("*.json"))
        raise UsageError(
            f"there is no baseline '{name}'", hint=f"baselines: {', '.join(known) or 'none'}; ./inv bench --save NAME makes one"
        )
    rows = json.loads(path.read_text())["series"]
    return [Series(**{**row, "samples": tuple(row["samples"]), "evidence": (), "verdict": Verdict(row["verdict"])}) for row in rows]


def _path(root: Path, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"'{name}' cannot be the name of a baseline", hint="letters, digits, '.', '_' and '-'")
    return root / FOLDER / f"{name}.json"


def judge(measured: Sequence[Series], baseline: Sequence[Series], *, threshold: float = THRESHOLD) -> list[Judgement]:
    """Every series of the baseline; one that is not measured now is missing, which is no success."""
    now = {(item.system, *key(item)): item for item in measured}
    return [_one(now.get((old.system, *key(old))), old, threshold) for old in baseline]


def _one(new: Series | None, old: Series, threshold: float) -> Judgement:
    def answer(change: Change, reason: str, *interval: float) -> Judgement:
        return Judgement(old.system, old.workload, old.metric, change, reason, *interval)

    if new is None or not new.samples or new.failure:
        return answer(Change.MISSING, new.failure or "no samples" if new else "it is not in this run")
    different = differences(new, old, ignored=OF_THE_TOOL)
    if different:
        return answer(Change.REFUSED, f"it was not measured alike: {'; '.join(map(str, different))}")
    found = ratio_of_medians(new.samples, old.samples)
    interval = (found.ratio, found.low, found.high)
    more, less = found.low > 1 + threshold, found.high < 1 / (1 + threshold)
    if not (more or less):
        return answer(Change.UNCHANGED, f"the interval reaches into ±{threshold:.0%} of the baseline", *interval)
    better = more == (old.better == "higher")
    change = Change.IMPROVEMENT if better else Change.REGRESSION
    return answer(change, f"the whole interval lies more than {threshold:.0%} from the baseline", *interval)
