# SPDX-License-Identifier: Apache-2.0
"""The suite xfstests: one `./check` for each test of a group (option `group`, `quick`) in the folder `tests/generic`.

`check` mounts the product itself, by its type, from two volumes on loop devices, and makes volumes with `mkfs.TYPE`, for which the
manifest's `prepare` stands. A daemon, which is no type that mount(8) knows, cannot be tried like this.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from . import outside, results
from .context import Context, Plan, Skipped
from .engine import MODULE, Table

FOLDER = "generic"
SIZE = 256 << 20  # bytes, as large as `prepare` makes volumes for the suites
TEST, SCRATCH = "test", "scratch"


def table(plan: Plan) -> Table:
    """The cases of the group, in their order."""
    tests = Path(plan.options["place"], "tests", FOLDER)
    group = plan.options.get("group", "quick")
    names = [f"{FOLDER}/{path.name}" for path in sorted(tests.iterdir()) if _in_group(path, group)] if tests.is_dir() else []
    return outside.table(plan, names, _run, mounted=False)


def _in_group(path: Path, group: str) -> bool:
    """Whether a test says that it is of the group (`. ./common/preamble`, `_begin_fstest auto quick`)."""
    if not re.fullmatch(r"\d{3,}", path.name):
        return False
    begins = re.search(r"^_begin_fstest\s+(.*)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return begins is not None and group in begins[1].split()


def _run(t: Context, name: str) -> None:
    if t.plan.kind != MODULE:
        raise Skipped("xfstests mounts by the type of a file system; this product is a program")
    settings = _settings(t)
    os.chdir(t.plan.options["place"])
    os.environ.update(settings)
    ended = t.command(["./check", name], most=outside.OUTPUT)
    row = results.xfstests(ended.output, name, ended.code)
    if row.verdict == results.FAIL:
        t.keep(f"{name.replace('/', '-')}.txt", ended.output)
        different = Path(f"results/{name}.out.bad")
        if different.is_file():
            t.keep(f"{name.replace('/', '-')}.out.bad", different.read_text(encoding="utf-8", errors="backslashreplace"))
    outside.judge(t, row)


def _settings(t: Context) -> dict[str, str]:
    """What `check` reads from its environment; volumes, folders and mkfs.TYPE are made where they are not there yet."""
    made = {"FSTYP": t.plan.filesystem, "HOST_OPTIONS": "/dev/null"}
    mkfs = Path(f"/usr/local/sbin/mkfs.{t.plan.filesystem}")
    if not mkfs.exists():
        mkfs.write_text(mkfs_script(t.plan), encoding="utf-8")
        mkfs.chmod(0o755)
    for name in (TEST, SCRATCH):
        place = Path(t.plan.work, name)
        device = place.with_suffix(".device")
        if not device.exists():
            place.mkdir()
            image = f"{t.plan.volume}.{name}"
            t.must(["truncate", "-s", str(SIZE), image])
            device.write_text(t.must(["losetup", "--find", "--show", image]), encoding="ascii")
            os.unlink(image)  # the device holds it; it goes with the guest
            t.must([str(mkfs), device.read_text(encoding="ascii")])
        made[f"{name.upper()}_DEV"] = device.read_text(encoding="ascii")
        made["TEST_DIR" if name == TEST else "SCRATCH_MNT"] = str(place)
    return made


def mkfs_script(plan: Plan) -> str:
    """`prepare` as a program whose last argument is the volume; other options of a mkfs, such as -t and -q, it does without."""
    lines = ["#!/bin/sh", "set -e", "for volume; do :; done"]
    for command in plan.prepare:
        lines.append(" ".join('"$volume"' if word == plan.volume else shlex.quote(word) for word in command))
    return "\n".join(lines) + "\n"
