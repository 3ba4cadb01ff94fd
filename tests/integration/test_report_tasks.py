# SPDX-License-Identifier: Apache-2.0
"""`./inv report` as a person calls it: the page on paper, the refusal, two runs beside each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ci import browser
from ci.report.words import TIMES
from tests import tool
from tests.unit.report_records import with_vectors

pytestmark = pytest.mark.integration

MANIFEST = "version: 1\nproject: vexfs\nartifacts: {daemon: {builder: cargo, folder: fuse, binary: demo_fuse}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clean clone at one commit, without runs."""
    (tmp_path / "vexci.yaml").write_text(MANIFEST)
    (tmp_path / "fuse").mkdir()
    (tmp_path / "fuse" / "Cargo.toml").write_text("")
    (tmp_path / ".gitignore").write_text(".runs\n")
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=n", "-c", "user.email=n@localhost", "commit", "-qm", "begin"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def run_of(project: Path, day: int, factor: float = 1.0, **dimensions: str) -> dict[str, Any]:
    """A recorded run of the commit that the tree is at."""
    commit = subprocess.run(["git", "-C", str(project), "rev-parse", "HEAD"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    name = f"202611{day:02}T062011Z-0c8cb6"
    folder = project / ".runs" / name
    folder.mkdir(parents=True)
    data: dict[str, Any] = json.loads(json.dumps(with_vectors(folder)))
    data.update(id=name, commit=commit, started=f"2026-11-{day:02}T06:20:11Z")
    for item in data["stages"][-1]["results"]["series"]:
        item["samples"] = [factor * value for value in item["samples"]]
        item["dimensions"].update(dimensions)
    (folder / "record.json").write_text(json.dumps(data))
    return data


def report(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return tool.inv("report", *words, config=project / "vexci.yaml")


@pytest.mark.skipif(not any(map(shutil.which, browser.PROGRAMS)), reason="no Chromium is installed: apt-get install chromium")
def test_the_executive_summary_is_one_sheet_of_paper(project: Path) -> None:
    data = run_of(project, 20)
    done = report(project, "--executive")
    assert done.returncode == 0, done.stdout
    folder = project / ".runs" / data["id"]
    paper = (folder / "executive.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", paper)) == 1
    assert {"summary.md", "report.html", "numbers.csv", "numbers.json", "executive.html"} <= {path.name for path in folder.iterdir()}


def test_a_summary_of_another_commit_is_refused_with_exit_2_and_leaves_none(project: Path) -> None:
    data = run_of(project, 20)
    (project / "README").write_text("a later commit\n")
    subprocess.run(["git", "-C", str(project), "add", "-A"], check=True)
    identity = ["-c", "user.name=n", "-c", "user.email=n@localhost"]
    subprocess.run(["git", "-C", str(project), *identity, "commit", "-qm", "later"], check=True)
    done = report(project, "--executive")
    assert done.returncode == 2, done.stdout
    assert "its results are stale" in done.stdout
    assert f"stale: the run is of commit {data['commit'][:12]}, the tree is at" in done.stdout
    assert not (project / ".runs" / data["id"] / "executive.html").exists()
    assert "None are drawn from this run" in (project / ".runs" / data["id"] / "summary.md").read_text()


def test_two_runs_stand_beside_each_other_and_what_was_measured_otherwise_is_refused(project: Path) -> None:
    old, new = run_of(project, 20), run_of(project, 21, 0.5)
    done = report(project, "--compare", old["id"], new["id"])
    assert done.returncode == 0, done.stdout
    page = (project / ".runs" / new["id"] / f"compare-{old['id']}.md").read_text().replace("\\", "")
    assert "| sequential-write write bandwidth | vexfs-kernel | regression | 0.500 (" in page
    assert "| 10k-128 search k=10 p50 | faiss | improvement | 0.500 (" in page, "a time that is halved is better"
    drawn = (project / ".runs" / new["id"] / f"compare-{old['id']}.html").read_text()
    assert re.search(r"<h1 class=\"v-fail\">[0-9]+ regressions</h1>", drawn)
    assert f"0.5{TIMES}, slower</text>" in drawn, "the same as a page"
    other = run_of(project, 22, kernel="5.10")
    done = report(project, "--compare", new["id"], other["id"])
    assert "refused, none: it was not measured alike: kernel is '5.10' against" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--compare", "20261120T062011Z-0c8cb6"), "--compare takes two different runs"),
        (("--compare", "20261120T062011Z-0c8cb6", "20261120T062011Z-0c8cb6"), "--compare takes two different runs"),
        (("--compare", "20261120T062011Z-0c8cb6", "nosuchrun"), "'nosuchrun' is no recorded run"),
    ],
)
def test_a_wrong_request_is_said_to_be_one(project: Path, words: tuple[str, ...], said: str) -> None:
    run_of(project, 20)
    done = report(project, *words)
    assert done.returncode == 2, done.stdout
    assert said in done.stdout


def test_runs_are_chosen_and_compared(project: Path) -> None:
    old, new = run_of(project, 20), run_of(project, 21)
    config = project / "vexci.yaml"
    done = tool.inv("runs", "--verdict", "pass", "--suite", "smoke", "--since", "2026-11-21", config=config)
    assert done.returncode == 0 and new["id"] in done.stdout and old["id"] not in done.stdout, done.stdout
    assert "1 shown of 1 that fit, of 2 recorded" in done.stdout
    none = tool.inv("runs", "--verdict", "hang", config=config)
    assert none.returncode == 0 and "0 shown of 0 that fit, of 2 recorded" in none.stdout
    wrong = tool.inv("runs", "--verdict", "green", config=config)
    assert wrong.returncode == 2 and "there is no such verdict" in wrong.stdout
    same = tool.inv("runs", "--compare", new["id"], old["id"], config=config)
    assert same.returncode == 0 and "0 outcomes worse, 0 better, 0 otherwise different" in same.stdout, same.stdout


def test_a_site_is_made_of_own_and_others_records(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    run_of(project, 20)
    elsewhere = tmp_path_factory.mktemp("records")
    run_of(project, 21)
    shutil.move(project / ".runs" / "20261121T062011Z-0c8cb6", elsewhere)
    site = tmp_path_factory.mktemp("sites") / "site"
    for words in (("--site", str(site), "--merge", "x"), ("--records", str(elsewhere)), ("--site", str(site), "--records", "/nowhere")):
        refused = report(project, *words)
        assert refused.returncode == 2 and not site.exists(), refused.stdout
    done = report(project, "--site", str(site), "--records", str(elsewhere))
    assert done.returncode == 0 and "from 2 runs" in done.stdout, done.stdout
    assert sorted(path.name[:8] for path in (site / "runs").iterdir()) == ["20261120", "20261121"]
