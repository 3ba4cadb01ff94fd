# SPDX-License-Identifier: Apache-2.0
"""Broken systems and workloads for the benchmark: each with the verdict that it must get."""

from __future__ import annotations

import sys

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
