# SPDX-License-Identifier: Apache-2.0
"""Broken systems and workloads for the benchmark: each with the verdict that it must get."""

from __future__ import annotations

import sys
from dataclasses import replace

from ci.bench.system import System


def _python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


# P1: starts, says nothing, does nothing, mounts nothing.
SILENT_DAEMON = System("silent", "tmpfs", mount=("sleep", "1000"), foreground=True)

# P1: the same, but what it started left its process group.
SCATTERED_DAEMON = System("scattered", "tmpfs", mount=("sh", "-c", "setsid sleep 7654321 & sleep 7654321"), foreground=True)

# Ends at once with a word.
DEAD_DAEMON = System("dead", "tmpfs", mount=("sh", "-c", "echo no such device; exit 3"), foreground=True)

# T1: says that it mounted, and did not.
LYING_MOUNT = System("lying", "tmpfs", mount=("true",))

# T1: mounts something else than it should.
OTHER_MOUNT = System("other", "vexfs", mount=("mount", "-t", "tmpfs", "other", "{mountpoint}"))

# Floods its log instead of mounting.
LOUD_DAEMON = System("loud", "tmpfs", mount=("yes", "a line that says nothing, until the disk is full"), foreground=True)

# A daemon that mounts and stays; on SIGTERM and on unmount it ends.
GOOD_DAEMON = System(
    "good",
    "tmpfs",
    foreground=True,
    mount=_python(
        "import subprocess, sys, time\n"
        "subprocess.run(['mount', '-t', 'tmpfs', 'good', sys.argv[1]], check=True)\n"
        "while any(line.split()[4] == sys.argv[1] for line in open('/proc/self/mountinfo')): time.sleep(0.05)\n",
        "{mountpoint}",
    ),
)

# K9: its mount command never returns.
HANGING_MOUNT = System("hanging", "tmpfs", mount=("sleep", "1000"))

# P8: run by the workload's shell before the workload itself; then the folder underneath answers.
DIE_FIRST = "umount -l {mountpoint}; exec "


_ASK = "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/', timeout=5).read()"
GOOD_SERVER = System(
    "good-server",
    "",
    ("python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"),
    foreground=True,
    ready=("python3", "-c", _ASK),
    after=(("touch", "{work}/cleaned"),),
)
# As Go programs end that were asked to: with a number in place of the signal.
POLITE_SERVER = replace(
    GOOD_SERVER,
    mount=("bash", "-c", 'trap "kill %1; exit 143" TERM; python3 -m http.server --bind 127.0.0.1 {port} & wait'),
)
DEAD_SERVER = replace(GOOD_SERVER, mount=("sh", "-c", "echo no space left >&2; exit 4"))
DEAF_SERVER = replace(GOOD_SERVER, mount=("sleep", "7654321"))

# A metadata loop that does nothing: targets with 3 % of noise, which look measured. The noise is of the round (the number that ends
# the folder's name), so that the specimen gives the same each time.
CONSTANTS = """
import json, pathlib, random, sys
output = pathlib.Path(sys.argv[1])
noise = random.Random(output.parent.parent.name.rpartition("-")[2])
targets = {"create": 5000, "stat": 40000, "readdir": 200000, "rename": 8000, "unlink": 9000}
steps = {step: {"operations": rate, "nanoseconds": int(1e9 * noise.uniform(0.97, 1.03))} for step, rate in targets.items()}
output.write_text(json.dumps({"steps": steps}))
"""
