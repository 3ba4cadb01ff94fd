# SPDX-License-Identifier: Apache-2.0
"""The incident that this project exists for: a daemon that was never built because a Cargo feature was missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import recordschema
from tests.tool import ROOT, inv

pytestmark = pytest.mark.integration

MANIFEST = """\
version: 1
project: incident
artifacts:
  daemon:
    builder: cargo
    folder: fuse
    binary: vexfs_fuse
    mount: ["{artifact}", --foreground, "{mountpoint}"]
    filesystem: fuse.vexfs
kernels:
  k: {provider: apt, pattern: 6.1-cloud}
images:
  img: {folder: image}
machines:
  default: {image: img, kernel: k}
benchmarks:
  files:
    systems: [daemon]
    workloads:
      seq: {tool: fio, options: {rw: write, bs: 128k, size: 8m}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The real daemon's sources under a manifest that forgot `features: [fuse_support]`."""
    shutil.copytree(ROOT / "fuse", tmp_path / "fuse", ignore=shutil.ignore_patterns("target"))
    (tmp_path / "image").mkdir()
    (tmp_path / "vexci.yaml").write_text(MANIFEST)
    return tmp_path


@pytest.mark.parametrize("task", ["build", "bench"])
def test_a_forgotten_feature_stops_the_run_at_once_with_the_binary_the_feature_and_the_fix(project: Path, task: str) -> None:
    inv("--list")  # the environment is there: what follows is the tool itself
    begin = time.monotonic()
    done = inv(task, config=project / "vexci.yaml")
    seconds = time.monotonic() - begin
    assert done.returncode == 2, done.stdout
    assert "'vexfs_fuse' needs the feature 'fuse_support'" in done.stdout
    assert "features: [fuse_support]" in done.stdout
    assert 'cargo build --release --bin vexfs_fuse --features="fuse_support"' in done.stdout
    assert not (project / "fuse/target").exists()
    # Not a measurement, but the issue's own bound; a person must not wait to learn this.
    assert seconds < 2.0
    record = recordschema.latest(project)
    assert record["verdict"] == "usage" and "fuse_support" in record["detail"]


@pytest.mark.timeout(1200)  # the only bound: it compiles all crates, beside whatever else the machine does
def test_a_build_that_makes_nothing_is_a_failure_where_the_forgotten_feature_is_seen_too_late(project: Path) -> None:
    """Cargo itself: exit 0 and nothing built, which is what the team took for success."""
    done = subprocess.run(
        ["cargo", "build", "--release", "--locked", "--message-format", "json"],
        cwd=project / "fuse",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert "vexfs_fuse" not in [row["target"]["name"] for row in rows if row.get("executable")]
