# SPDX-License-Identifier: Apache-2.0
"""`./inv bench --suite baseline` as a person calls it: the real daemon, a number or a reason for every metric."""

from __future__ import annotations

import pytest

from tests import recordschema, tool

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(1200), pytest.mark.xdist_group("project")]


def test_the_baseline_is_one_command_that_ends_with_real_numbers() -> None:
    done = tool.inv("bench", "--suite", "baseline", "--quick", deadline=1100)
    assert done.returncode == 0, done.stdout
    record = recordschema.latest(tool.ROOT)
    stages = {stage["name"]: stage for stage in record["stages"]}
    assert list(stages) == ["build", "verify", "bench"]
    series = stages["bench"]["results"]["series"]
    assert {item["system"] for item in series} == {"vexfs-fuse"}
    assert {"sequential-write", "fsync-heavy", "small-files", "metadata-4-threads", "vectors"} <= {item["workload"] for item in series}
    built = {item["name"]: item["sha256"] for item in record["artifacts"]}
    for item in series:
        if item["verdict"] == "pass":
            assert len(item["samples"]) >= 5 and all(sample > 0 for sample in item["samples"])
            assert item["artifact_sha256"] == built["vexfs-fuse"], "measured is what was built"
        else:
            assert item["verdict"] == "skip" and item["failure"], item
    assert [item["metric"] for item in series if item["verdict"] == "skip"] == ["index build"], "an exact search has none"
