# SPDX-License-Identifier: Apache-2.0
"""The record of a run is as docs/record.md says: in success, in failure, and on standard output with --json."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path

import jsonschema
import pytest

from tests import builds, recordschema, tool

pytestmark = pytest.mark.integration

MANIFEST = """\
version: 1
project: small
artifacts:
  daemon:
    builder: cargo
    folder: fuse
    binary: demo_fuse
    features: [fuse_support]
    help: {args: [--help], contains: ["Usage: demo_fuse"]}
    feature_probe: {args: [--version], key: features}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tree that nobody here wrote for vexci: a manifest of a few lines and a crate."""
    builds.crate(tmp_path)
    (tmp_path / "vexci.yaml").write_text(MANIFEST)
    return tmp_path


def test_a_good_run_leaves_a_valid_record_whose_evidence_is_there(project: Path) -> None:
    done = tool.inv("build", "verify", config=project / "vexci.yaml")
    assert done.returncode == 0, done.stdout
    record = recordschema.latest(project)
    assert record["verdict"] == "pass" and record["requested"] == ["build", "verify"]
    assert [stage["name"] for stage in record["stages"]] == ["build", "verify"]
    folder = project / ".runs" / record["id"]
    kept = [item for stage in record["stages"] for check in stage["checks"] for item in check["evidence"]]
    assert kept and all((folder / item["path"]).is_file() for item in kept)
    script = folder / "reproduce.sh"
    assert script.stat().st_mode & stat.S_IXUSR and "build verify" in script.read_text()


def test_a_failing_check_is_a_fail_that_names_itself_and_exits_1(project: Path) -> None:
    (project / "vexci.yaml").write_text(MANIFEST.replace("Usage: demo_fuse", "Usage: another"))
    done = tool.inv("build", "verify", config=project / "vexci.yaml")
    assert done.returncode == 1 and "its answer lacks: 'Usage: another'" in done.stdout
    record = recordschema.latest(project)
    assert record["verdict"] == "fail"
    assert [check["id"] for check in record["stages"][-1]["checks"] if check["verdict"] == "fail"] == ["V4"]


def test_what_was_not_reached_is_recorded_as_skipped_with_the_reason(project: Path) -> None:
    (project / "fuse/src/main.rs").write_text("fn main() { nonsense(); }\n")
    done = tool.inv("build", "verify", config=project / "vexci.yaml")
    assert done.returncode == 1 and "fuse/src/main.rs:1" in done.stdout
    stages = {stage["name"]: stage for stage in recordschema.latest(project)["stages"]}
    assert stages["verify"]["verdict"] == "skip" and stages["verify"]["detail"].startswith("not reached")


def test_verify_alone_judges_what_lies_there_now(project: Path) -> None:
    assert tool.inv("verify", config=project / "vexci.yaml").returncode == 2
    assert tool.inv("build", config=project / "vexci.yaml").returncode == 0
    assert tool.inv("verify", config=project / "vexci.yaml").returncode == 0
    with open(project / "fuse/src/main.rs", "a") as file:
        file.write("// changed after the build\n")
    done = tool.inv("verify", config=project / "vexci.yaml")
    assert done.returncode == 1 and "stale artifact" in done.stdout
    shutil.rmtree(project / "fuse/target")
    done = tool.inv("verify", config=project / "vexci.yaml")
    assert done.returncode == 1 and "not there" in done.stdout


def test_json_prints_the_record_and_nothing_else(project: Path) -> None:
    done = tool.inv("build", "--json", config=project / "vexci.yaml", stderr=subprocess.DEVNULL)
    printed = json.loads(done.stdout)
    recordschema.validate(printed)
    assert printed == recordschema.latest(project)


def test_the_schema_refuses_a_record_with_a_field_that_is_not_documented(project: Path) -> None:
    tool.inv("build", config=project / "vexci.yaml")
    record = recordschema.latest(project)
    with pytest.raises(jsonschema.ValidationError):
        recordschema.validate({**record, "undocumented": 1})


def test_two_builds_at_once_both_succeed(project: Path, tmp_path: Path) -> None:
    started = [tool.start("build", "verify", config=project / "vexci.yaml", log=tmp_path / f"log{i}") for i in range(2)]
    assert [process.wait(200) for process in started] == [0, 0], [(tmp_path / f"log{i}").read_text() for i in range(2)]


def test_a_reader_that_goes_away_interrupts_the_run_and_is_no_bug(project: Path) -> None:
    process = subprocess.Popen(
        [str(tool.ROOT / "inv"), "build", "verify"], env=tool.environment(project / "vexci.yaml"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "build\n"
    process.stdout.close()
    assert process.wait(100) == 130
    record = recordschema.latest(project)
    assert record["verdict"] == "interrupted" and "nobody reads the output" in record["detail"]
