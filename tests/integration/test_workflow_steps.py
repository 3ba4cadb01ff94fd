# SPDX-License-Identifier: Apache-2.0
"""The steps of the workflow files, taken out and run in order in clean clones: what GitHub runs is what a person can run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ci import config
from tests.workflow import Workflow

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[2]
WORKFLOWS = PROJECT / ".github/workflows"
TAG = f"v{config.read(PROJECT / 'vexci.yaml').release}"
BASE = "github.event.pull_request.base.sha || github.event.before"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as it is, changes included, as the newest commit of a repository that can be cloned."""
    clone = tmp_path_factory.mktemp("committed") / "project"
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    names = [name for name in listed.split("\0") if name and (PROJECT / name).is_file()]
    archive = subprocess.run(["tar", "-c", "--null", "-T", "-"], cwd=PROJECT, input="\0".join(names).encode(), capture_output=True)
    subprocess.run(["git", "rm", "-rq", "."], cwd=clone, check=True)
    subprocess.run(["tar", "-x"], cwd=clone, input=archive.stdout, check=True)
    subprocess.run(["git", "add", "-A"], cwd=clone, check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "As it is"], cwd=clone, check=True)
    return clone


def head(committed: Path, revision: str) -> str:
    return subprocess.run(["git", "rev-parse", revision], cwd=committed, capture_output=True, text=True, check=True).stdout.strip()


def base(committed: Path) -> str:
    """The commit before the newest one that changed the module: what came since asks for cells, whatever the last commits were about."""
    newest = subprocess.run(["git", "log", "-1", "--format=%H", "--", "kernel"], cwd=committed, capture_output=True, text=True, check=True)
    return head(committed, f"{newest.stdout.strip()}^")


def test_the_matrix_of_a_pull_request_feeds_its_cells(committed: Path, tmp_path: Path) -> None:
    flow = Workflow(WORKFLOWS / "ci.yml", committed, tmp_path, {BASE: base(committed)})
    (step,) = flow.run("matrix")
    assert step.returncode == 0, step.output
    rows = flow.cells("cell")
    assert rows and all(set(row) >= {"cell", "slug", "kernel", "suite", "shard"} for row in rows)
    assert flow.cells("build") and json.loads(flow.outputs["matrix"]["any"]) is True
    assert (flow.artifacts / "runs-matrix/latest/record.json").is_file(), "the merge looks there for what must be"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_cell_that_left_no_record_fails_the_verdict(committed: Path, tmp_path: Path) -> None:
    flow = Workflow(WORKFLOWS / "ci.yml", committed, tmp_path, {BASE: base(committed)})
    flow.run("matrix")
    (verdict,) = flow.run("verdict")
    assert verdict.returncode == 1 and f"{flow.cells('cell')[0]['cell']}: it has no record" in verdict.output


@pytest.fixture
def tagged(committed: Path) -> Path:
    """The same with the tag of its version."""
    subprocess.run(["git", "tag", "-f", TAG], cwd=committed, check=True, capture_output=True)
    return committed


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_tag_whose_cells_left_no_record_is_not_released(tagged: Path, tmp_path: Path) -> None:
    flow = Workflow(WORKFLOWS / "release.yml", tagged, tmp_path, {"github.ref_name": TAG})
    flow.run("matrix")
    doctor, release = flow.run("make")
    assert doctor.returncode == 0, doctor.output
    assert release.returncode == 1 and "no release: no record of commit" in release.output, release.output
    assert "the tree differs" not in release.output, "the records of the cells must not make it dirty"
    assert not (flow.artifacts / "release").exists()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_site_of_a_night_holds_the_nights_before(committed: Path, tmp_path: Path) -> None:
    facts = {"github.run_id": "1"}
    flow = Workflow(WORKFLOWS / "nightly.yml", committed, tmp_path, facts)
    seen = []
    for _ in range(2):
        shutil.rmtree(flow.artifacts, ignore_errors=True)
        (step,) = flow.run("matrix")
        assert step.returncode == 0, step.output
        shutil.copytree(flow.artifacts / "runs-matrix", flow.artifacts / "night-merged", symlinks=True)  # a record is a record
        (step,) = flow.run("site")
        assert step.returncode == 0, step.output
        seen.append({path.parent.name for path in (flow.newest("site-") / "runs").glob("*/record.json")})
    assert len(seen[0]) == 1 and len(seen[1]) == 2 and seen[0] < seen[1], seen


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_every_job_of_it_passes_in_clean_clones(tagged: Path, tmp_path: Path, name: str) -> None:
    signature = tmp_path / "attestation.json"
    signature.write_text("{}")  # GitHub alone can sign
    facts = {BASE: base(tagged), "github.ref_name": TAG, "steps.attest.outputs.bundle-path": str(signature)}
    flow = Workflow(WORKFLOWS / name, tagged, tmp_path, facts)
    for job in flow.jobs:
        for row in flow.cells(job):
            for ran in flow.run(job, row):
                assert ran.returncode == 0, f"{job} {row}: {ran.command}\n{ran.output[-4000:]}"
