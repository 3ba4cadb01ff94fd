# SPDX-License-Identifier: Apache-2.0
"""Earlier runs: listed, chosen, compared, and made into a site. Nothing is run again, and none of it makes a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci import console, store
from ci.errors import UsageError
from ci.model import Verdict
from ci.pipeline.session import Session
from ci.report import between, merge, site
from ci.report.selection import Selection

_MOST_LISTED = 40


def runs(session: Session, last: int, selection: Selection) -> None:
    """List the newest runs of this project that the selection fits."""
    records = store.read_records(session.manifest.root)
    if not records:
        console.line("no run is recorded yet; './inv build verify' makes the first")
        return
    fitting = [record for record in records if selection.fits(record)]
    rows: list[list[str | Verdict]] = []
    for record in fitting[-last:] if last > 0 else fitting:
        seconds = f"{record['seconds']:.1f} s" if record["seconds"] is not None else ""
        commit = record["commit"][:12] + ("-dirty" if record["dirty"] else "")
        rows.append([Verdict(record["verdict"]), record["id"], record["command"], commit, seconds, record["detail"]])
    if rows:
        console.table(console.Table("", ("verdict", "run", "command", "commit", "time", "detail"), list(rows)))
    if not fitting or len(rows) < len(fitting) or selection != Selection():
        console.line(f"{len(rows)} shown of {len(fitting)} that fit, of {len(records)} recorded")


def compare(session: Session, names: Sequence[str]) -> None:
    """Print everything that differs between two runs; the older one stands on the left."""
    if len(names) != 2 or names[0] == names[1]:
        raise UsageError("--compare takes two different runs", hint="./inv runs --compare RUN1 RUN2; ./inv runs lists them")
    records = store.read_records(session.manifest.root)
    old, new = sorted((named(records, name) for name in names), key=lambda record: str(record["id"]))
    found = between.between(old, new)
    heads = (f"{old['id']} ({old['verdict']})", f"{new['id']} ({new['verdict']})")
    _table("conditions", heads, found.conditions)
    _table("artifacts", heads, found.artifacts)
    _table("worse", heads, found.worse)
    _table("better", heads, found.better)
    _table("otherwise different", heads, found.other)
    console.line(found.said)
    if found.measured:
        console.line(f"both have measured: ./inv report --compare {old['id']} {new['id']} judges each series")


def _table(title: str, heads: tuple[str, str], changes: Sequence[between.Change]) -> None:
    if not changes:
        return
    rows: list[list[str | Verdict]] = [[change.what, change.before, change.after, change.detail] for change in changes[:_MOST_LISTED]]
    console.table(console.Table(title, ("what", *heads, "detail"), list(rows)))
    if len(changes) > _MOST_LISTED:
        console.line(f"and {len(changes) - _MOST_LISTED} more: the records hold all")


def named(records: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The one run whose id is, or ends with, this."""
    found = [record for record in records if record["id"] == name or record["id"].endswith(name)]
    if len(found) != 1:
        problem = "matches several runs" if found else "is no recorded run"
        raise UsageError(f"'{name}' {problem}", hint="./inv runs lists them")
    return found[0]


def make_site(session: Session, folder: str, places: str, newest: int = 0) -> None:
    """The site of this project's runs, of those below `places` (a,b), and of those that the site in `folder` has already: it is its own
    history. Of all of them, or of the `newest` so many."""
    root = session.manifest.root
    if newest < 0:
        raise UsageError(f"--newest {newest}: a site is about one run at least", hint="leave it out for all runs")
    own = [site.Found(root / store.RUNS_FOLDER / str(record["id"]), record) for record in store.read_records(root)]
    others = merge.collect([Path(place) for place in places.split(",") if place], "--records") if places else []
    earlier = merge.collect([Path(folder)], "--site") if (Path(folder) / site.MARK).is_file() else []
    all_of_them = [*(site.Found(other.folder, other.record) for other in (*earlier, *others)), *own]
    found = {str(each.record["id"]): each for each in all_of_them}
    if not found:
        raise UsageError("there is no run to make a site of", hint="./inv build verify makes one; --records DIR takes those of others")
    kept = [found[id] for id in sorted(found)[-newest:]]
    page = site.write(kept, Path(folder).absolute())
    console.line(
        f"wrote {page}, from {len(kept)} runs" + (f" ({len(found) - len(kept)} older ones left out)" if len(kept) < len(found) else "")
    )
