# SPDX-License-Identifier: Apache-2.0
"""Cells of a farm: which there are, which are needed after a change, and what their records say together."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci import changes, config, github
from ci.errors import UsageError
from ci.manifest import Manifest
from ci.model import Verdict
from ci.pipeline import cells
from ci.report import merge
from ci.report.merge import Outcome

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
COMMIT = "4be1c0de" * 5


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return config.read(PROJECT / "vexci.yaml")


def names(found: list[cells.Cell]) -> list[str]:
    return [cell.name for cell in found]


class TestCells:
    def test_without_a_filter_it_is_what_validate_runs_for_every_kernel_that_can_be_booted(self, manifest: Manifest) -> None:
        default = [suite.name for suite in manifest.suites if not suite.on_request]
        assert names(cells.cells(manifest)) == [f"{k}:{s}:1/1" for k in ("debian-6.1", "debian-6.12") for s in default]

    def test_shards_deal_out_the_artifacts_and_lose_none(self, manifest: Manifest) -> None:
        found = cells.cells(manifest, kernel="debian-6.1", suite="smoke", shards=8)
        assert [(cell.shard, cell.shards, cell.artifacts) for cell in found] == [(1, 2, ("vexfs-kernel",)), (2, 2, ("vexfs-fuse",))]

    def test_a_suite_that_compares_is_never_divided(self, manifest: Manifest) -> None:
        (cell,) = cells.cells(manifest, kernel="debian-6.1", suite="differential", shards=8)
        assert cell.artifacts == ("vexfs-kernel", "vexfs-fuse")

    def test_a_name_means_the_same_cell_everywhere(self, manifest: Manifest) -> None:
        for cell in cells.cells(manifest, kernel="all", suite="all", shards=2, fresh=True):
            assert cells.find(manifest, cell.name) == cell
            assert cell.slug.replace("-", "").replace(".", "").isalnum(), "GitHub refuses other names for kept files"

    def test_a_fresh_seed_is_another_one_each_time_and_only_where_there_is_a_seed(self, manifest: Manifest) -> None:
        first, second = (
            {cell.suite: cell.seed for cell in cells.cells(manifest, kernel="debian-6.1", suite="all", fresh=True)} for _ in range(2)
        )
        assert first["smoke"] == "" and first["stress"].isdigit() and first["stress"] != second["stress"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("smoke", "is no cell"),
            ("debian-6.1:smoke:0/1", "is no cell"),
            ("debian-6.1:smoke:2/1", "is no cell"),
            ("debian-6.1:smoke:x/1", "is no cell"),
            ("debian-6.1:smoke:1/3", "cannot be divided into 3"),
            ("debian-6.1:smok:1/1", "did you mean 'smoke'"),
            ("host:smoke:1/1", "kernel that can be booted 'host' is not defined"),
        ],
    )
    def test_what_is_no_cell_is_refused(self, manifest: Manifest, name: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            cells.find(manifest, name)

    def test_no_shard_is_no_request(self, manifest: Manifest) -> None:
        with pytest.raises(UsageError, match="at least"):
            cells.cells(manifest, shards=0)


class TestNeeded:
    def left_out(self, manifest: Manifest, *changed: str) -> list[str]:
        todo = cells.cells(manifest, kernel="debian-6.1,debug", suite="smoke", shards=2)
        kept, reasons = cells.needed(manifest, todo, changed)
        assert {cell.name for cell in kept} | set(reasons) == {cell.name for cell in todo}
        assert all(reasons.values())
        return sorted(reasons)

    def test_a_change_of_the_module_leaves_out_the_daemon_s_cells(self, manifest: Manifest) -> None:
        assert self.left_out(manifest, "kernel/super.c") == ["debian-6.1:smoke:2/2", "debug:smoke:2/2"]

    def test_the_tools_make_every_volume_so_their_crate_concerns_all(self, manifest: Manifest) -> None:
        assert self.left_out(manifest, "fuse/src/lib.rs") == []

    def test_a_layout_that_both_sides_share_concerns_all(self, manifest: Manifest) -> None:
        assert self.left_out(manifest, "kernel/include/uapi/vexfs.h") == []

    def test_a_kernel_s_configuration_concerns_that_kernel(self, manifest: Manifest) -> None:
        assert self.left_out(manifest, "kernels/debug.config") == ["debian-6.1:smoke:1/2", "debian-6.1:smoke:2/2"]

    @pytest.mark.parametrize("file", ["ci/vm/guest.py", "vexci.yaml", "requirements.txt", "a-file-nobody-knows", "vmimages/x", "inv"])
    def test_what_is_not_known_to_be_harmless_concerns_all(self, manifest: Manifest, file: str) -> None:
        assert self.left_out(manifest, "docs/format.md", file) == []

    @pytest.mark.parametrize(
        "file",
        ["docs/format.md", "README.md", "tests/unit/test_farm.py", "kernel/README.md", "packaging/man/vexfs.5", ".github/workflows/ci.yml"],
    )
    def test_what_no_guest_runs_concerns_none(self, manifest: Manifest, file: str) -> None:
        assert len(self.left_out(manifest, file)) == 4

    def test_nothing_changed_nothing_is_needed(self, manifest: Manifest) -> None:
        assert len(self.left_out(manifest)) == 4


def git(root: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(argv, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def test_changes_are_those_since_the_common_commit_and_those_that_nobody_committed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    for name in ("old", "moved", "same"):
        (tmp_path / name).write_text(name)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "checkout", "-qb", "work")
    git(tmp_path, "mv", "moved", "to here")
    git(tmp_path, "commit", "-qm", "two")
    git(tmp_path, "checkout", "-q", "main")
    (tmp_path / "on-main").write_text("of no concern")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "three")
    git(tmp_path, "checkout", "-q", "work")
    (tmp_path / "old").write_text("changed")
    (tmp_path / "new").write_text("new")
    assert changes.since(tmp_path, "main") == ["moved", "new", "old", "to here"]
    with pytest.raises(UsageError, match="'nothing' is no revision"):
        changes.since(tmp_path, "nothing")


class Records:
    """Records of a farm below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def write(self, stages: list[dict[str, Any]], verdict: str = "pass", **more: Any) -> Path:
        self.count += 1
        id = f"20261129T09000{self.count}Z-00000{self.count}"
        place = self.folder / f"artifact-{self.count}" / id
        place.mkdir(parents=True)
        record = {"schema": 1, "id": id, "commit": COMMIT, "verdict": verdict, "detail": "", "artifacts": [], "stages": stages, **more}
        (place / "record.json").write_text(json.dumps(record))
        return place

    def matrix(self, *rows: tuple[str, str, str], left_out: dict[str, str] | None = None) -> None:
        asked = [{"cell": cell, "suite": suite, "artifacts": artifacts} for cell, suite, artifacts in rows]
        self.write([{"name": "matrix", "results": {"cells": asked, "left_out": left_out or {}}}])

    def cell(
        self,
        name: str,
        *,
        suite: str = "smoke",
        artifact: str = "module",
        verdict: str = "pass",
        cases: int = 2,
        saw: str = "",
        **more: Any,
    ) -> Path:
        """A cell's record; `saw` is the suite's own verdict where it is not that of the run."""
        digest = hashlib.sha256(b"log").hexdigest()
        row: dict[str, Any] = {
            "suite": suite,
            "artifact": artifact,
            "verdict": saw or verdict,
            "minimum": 2,
            "cases": [{}] * cases,
            "detail": saw,
        }
        row["evidence"] = [{"kind": "log", "path": "log.txt", "sha256": digest}]
        stages = [{"name": "cell", "results": {"cell": name}}, {"name": "validate", "results": {"suites": [row]}}]
        place = self.write(stages, verdict, **more)
        (place / "log.txt").write_text("log")
        return place

    def outcomes(self) -> list[Outcome]:
        return merge.outcomes(merge.collect([self.folder]))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


ONE = ("k:smoke:1/1", "smoke", "module")


class TestMerge:
    def test_a_cell_that_passed_passed(self, records: Records) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1")
        assert [(o.cell, o.verdict) for o in records.outcomes()] == [("k:smoke:1/1", Verdict.PASS)]

    def test_a_cell_without_a_record_fails(self, records: Records) -> None:
        records.matrix(ONE, ("k:smoke:2/2", "smoke", "daemon"))
        records.cell("k:smoke:1/1")
        first, second = records.outcomes()
        assert first.verdict.ok and second.verdict is Verdict.FAIL and "no record" in second.detail

    @pytest.mark.parametrize("verdict", ["fail", "panic", "hang", "usage", "infra", "interrupted"])
    def test_a_cell_that_did_not_pass_keeps_its_verdict(self, records: Records, verdict: str) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", verdict=verdict, detail="why")
        (outcome,) = records.outcomes()
        assert outcome.verdict == verdict and "why" in outcome.detail

    def test_a_run_that_was_taken_away_while_it_ran_did_not_pass(self, records: Records) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", verdict="running")
        assert records.outcomes()[0].verdict is Verdict.INTERRUPTED

    def test_only_what_says_nothing_of_the_product_is_replaced_by_another_try(self, records: Records) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", verdict="infra")
        records.cell("k:smoke:1/1")
        assert records.outcomes()[0].verdict is Verdict.PASS
        records.cell("k:smoke:1/1", verdict="panic")
        records.cell("k:smoke:1/1")
        assert records.outcomes()[0].verdict is Verdict.PANIC

    @pytest.mark.parametrize("verdict", ["infra", "interrupted", "running"])
    def test_a_failure_that_was_seen_before_a_run_was_broken_off_is_not_replaced_either(self, records: Records, verdict: str) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", verdict=verdict, saw="hang", detail="by SIGTERM")
        records.cell("k:smoke:1/1")
        (outcome,) = records.outcomes()
        assert outcome.verdict is Verdict.HANG and "smoke on module: hang; then by SIGTERM" in outcome.detail

    def test_a_pass_without_the_suite_s_result_is_none(self, records: Records) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", artifact="daemon")
        assert "holds no result of smoke on module" in records.outcomes()[0].detail

    def test_a_pass_with_too_few_cases_is_none(self, records: Records) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", cases=1)
        (outcome,) = records.outcomes()
        assert outcome.verdict is Verdict.FAIL and "1 cases of at least 2" in outcome.detail

    def test_evidence_that_was_lost_or_changed_proves_nothing(self, records: Records) -> None:
        records.matrix(ONE)
        place = records.cell("k:smoke:1/1")
        (place / "log.txt").write_text("another")
        assert "was changed" in records.outcomes()[0].detail
        (place / "log.txt").unlink()
        assert "is missing" in records.outcomes()[0].detail

    def test_a_suite_that_compares_names_all_of_its_artifacts(self, records: Records) -> None:
        records.matrix(("k:differential:1/1", "differential", "module,daemon"))
        records.cell("k:differential:1/1", suite="differential", artifact="module+daemon")
        assert records.outcomes()[0].verdict.ok

    def test_records_of_another_commit_are_refused(self, records: Records) -> None:
        records.matrix(ONE)
        records.cell("k:smoke:1/1", commit="0" * 40)
        with pytest.raises(UsageError, match="of different commits"):
            records.outcomes()

    def test_without_a_matrix_nobody_knows_what_is_missing(self, records: Records) -> None:
        records.cell("k:smoke:1/1")
        with pytest.raises(UsageError, match=r"0 of the 1 records are of './inv ci.matrix'"):
            records.outcomes()
        records.matrix(ONE)
        records.matrix(ONE)
        with pytest.raises(UsageError, match="2 of the 3 records"):
            records.outcomes()

    def test_what_is_no_record_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such file"):
            merge.collect([tmp_path / "nowhere"])
        with pytest.raises(UsageError, match="no record lies below"):
            merge.collect([tmp_path])
        (tmp_path / "record.json").write_text("{")
        with pytest.raises(UsageError, match="is no run record"):
            merge.collect([tmp_path])

    def test_machines_that_build_differently_are_named(self, records: Records) -> None:
        built = {"name": "module", "target": "6.1", "sha256": "a" * 64}
        records.matrix(ONE)
        records.cell("k:smoke:1/1", artifacts=[built])
        assert merge.foreign_builds(merge.collect([records.folder])) == []
        records.cell("k:smoke:1/1", artifacts=[{**built, "sha256": "b" * 64}])
        assert merge.foreign_builds(merge.collect([records.folder])) == [f"module [6.1]: {'a' * 12}, {'b' * 12}"]


class TestGithub:
    @pytest.fixture
    def files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            monkeypatch.setenv(name, str(tmp_path / name))
        return tmp_path

    def test_an_output_with_lines_ends_at_a_mark_that_it_does_not_hold(self, files: Path) -> None:
        github.output("cells", "{\n}")
        head, *lines, mark = (files / "GITHUB_OUTPUT").read_text().splitlines()
        assert head == f"cells<<{mark}" and lines == ["{", "}"] and mark not in "{}"

    def test_a_summary_that_github_would_refuse_is_cut_and_says_so(self, files: Path) -> None:
        github.summary("ü" * 100 + "\n")
        assert (files / "GITHUB_STEP_SUMMARY").read_text() == "ü" * 100 + "\n"
        github.summary("ü line\n" * 200_000)
        text = (files / "GITHUB_STEP_SUMMARY").read_text()
        assert len(text.encode()) <= (1 << 20) + 300 and "see summary.md" in text.splitlines()[-1]

    def test_elsewhere_nothing_is_written(self, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("GITHUB_ACTIONS")
        github.output("a", "b")
        github.summary("c")
        assert list(files.iterdir()) == []

    def test_annotations_stand_at_file_and_line(self) -> None:
        row = {"id": "V11", "name": "sparse", "verdict": "fail", "required": True}
        checks = [
            {**row, "detail": "kernel/super.c:41:7: 100% wrong, a:b\nand more"},
            {**row, "detail": "kernel/inode.c:3: known", "verdict": "known", "required": False},
            {**row, "detail": "0 of 0", "verdict": "pass"},
            {**row, "detail": "no place: 12 of these"},
        ]
        assert list(github.commands({"stages": [{"checks": checks}]})) == [
            "::error file=kernel/super.c,line=41,title=V11 sparse::100%25 wrong, a:b%0Aand more",
            "::warning file=kernel/inode.c,line=3,title=V11 sparse::known",
        ]


def test_cells_of_a_manifest_without_a_bootable_kernel_are_a_usage_error(manifest: Manifest) -> None:
    none = replace(manifest, kernels=tuple(replace(kernel, provider="host") for kernel in manifest.kernels))
    with pytest.raises(UsageError, match="has no suite for a kernel that can be booted"):
        cells.cells(none)
