# SPDX-License-Identifier: Apache-2.0
"""Building a Rust binary: what cargo did is believed only as far as cargo itself says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ci import build
from ci.build.job import Job
from ci.errors import Hang, ProductFailure, UsageError
from ci.pipeline import matrix
from tests import builds

pytestmark = pytest.mark.integration


def test_a_feature_that_the_binary_needs_and_nobody_asked_for_is_refused_before_building(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    job = builds.job(tmp_path, replace(builds.DAEMON, features=()))
    with pytest.raises(UsageError) as caught:
        build.precheck(job)
    assert "'demo_fuse'" in caught.value.message and "'fuse_support'" in caught.value.message
    assert 'cargo build --release --bin demo_fuse --features="fuse_support"' in caught.value.hint
    assert not (tmp_path / "fuse/target").exists()


def test_a_feature_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    with pytest.raises(UsageError, match=r"no feature 'fuze_support' \(it has: fuse_support\)"):
        build.precheck(builds.job(tmp_path, replace(builds.DAEMON, features=("fuze_support",))))


def test_a_binary_that_the_package_does_not_have_is_refused(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    with pytest.raises(UsageError, match=r"no binary 'other' \(it has: demo_fuse\)"):
        build.precheck(builds.job(tmp_path, replace(builds.DAEMON, output="other")))


def test_the_path_comes_from_cargo_also_where_the_config_moves_it(tmp_path: Path) -> None:
    folder = builds.crate(tmp_path)
    (folder / ".cargo").mkdir()
    (folder / ".cargo/config.toml").write_text(f'[build]\ntarget = "{builds.TRIPLE}"\ntarget-dir = "elsewhere"\n')
    artifact = build.build(builds.job(tmp_path, builds.DAEMON))
    assert artifact.path == folder / f"elsewhere/{builds.TRIPLE}/release/demo_fuse"
    assert artifact.target == builds.TRIPLE and not artifact.reused


def test_a_second_build_reuses_the_first_and_a_changed_source_does_not(tmp_path: Path) -> None:
    folder = builds.crate(tmp_path)
    first = build.build(builds.job(tmp_path, builds.DAEMON))
    second = build.build(builds.job(tmp_path, builds.DAEMON))
    assert second.reused and second.sha256 == first.sha256
    (folder / "src/main.rs").write_text(builds.MAIN_RS.replace("Usage:", "Use:"))
    third = build.build(builds.job(tmp_path, builds.DAEMON))
    assert not third.reused and third.sha256 != first.sha256 and third.inputs_sha256 != first.inputs_sha256


def test_a_binary_that_an_unknown_build_left_is_built_anew_and_not_taken_for_this_one(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    first = build.build(builds.job(tmp_path, builds.DAEMON))
    (tmp_path / ".build/daemon/host/.vexci-stamp.json").unlink()
    second = build.build(builds.job(tmp_path, builds.DAEMON))
    assert not second.reused and second.modified > first.modified


def test_a_tampered_binary_is_not_reused(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    first = build.build(builds.job(tmp_path, builds.DAEMON))
    with open(first.path, "ab") as file:
        file.write(b"tail")
    second = build.build(builds.job(tmp_path, builds.DAEMON))
    assert not second.path.read_bytes().endswith(b"tail") and second.sha256 == first.sha256


def test_a_compile_error_is_reported_with_its_place_and_the_first_error(tmp_path: Path) -> None:
    folder = builds.crate(tmp_path)
    (folder / "src/main.rs").write_text("fn main() {\n    nonsense();\n}\n")
    with pytest.raises(ProductFailure) as caught:
        build.build(builds.job(tmp_path, builds.DAEMON))
    assert caught.value.where == "fuse/src/main.rs:2"
    assert "cannot find function `nonsense`" in caught.value.message


def test_warnings_are_counted_also_where_nothing_was_compiled_again(tmp_path: Path) -> None:
    folder = builds.crate(tmp_path)
    (folder / "src/main.rs").write_text(builds.MAIN_RS + "\nfn unused() {}\n")
    assert build.build(builds.job(tmp_path, builds.DAEMON)).warnings == 1
    again = build.build(builds.job(tmp_path, builds.DAEMON))
    assert again.warnings == 1 and again.reused


def test_a_build_that_does_not_end_is_a_hang_within_its_deadline(tmp_path: Path) -> None:
    folder = builds.crate(tmp_path)
    (folder / "build.rs").write_text("fn main() { loop { std::thread::park(); } }")
    with pytest.raises(Hang, match="did not end within 15 s"):
        build.build(builds.job(tmp_path, replace(builds.DAEMON, deadline=15)))


def _two_binaries(root: Path) -> tuple[Path, list[Job]]:
    """A crate of two binaries, and their builds with a profile as ./inv dev has it."""
    folder = builds.crate(root)
    (folder / "src/bin").mkdir()
    (folder / "src/bin/other.rs").write_text('fn main() {\n    println!("other");\n}\n')
    with open(folder / "Cargo.toml", "a") as file:
        file.write('\n[profile.edit]\ninherits = "dev"\n')
    first = builds.job(root, builds.DAEMON.with_profile("edit"))
    specs = (builds.DAEMON, replace(builds.DAEMON, name="other", output="other"))
    answers: dict[str, object] = {}
    jobs = [replace(builds.job(root, spec.with_profile("edit")), run=first.run, profile="edit", answers=answers) for spec in specs]
    return folder, jobs


def test_dev_has_all_binaries_of_a_crate_made_by_one_call_and_each_is_proved(tmp_path: Path) -> None:
    folder, jobs = _two_binaries(tmp_path)
    answers = matrix.run(jobs, lambda _, artifact: artifact.label)
    made = [answer.artifact for answer in answers]
    assert [artifact and artifact.path.name for artifact in made] == ["demo_fuse", "other"]
    assert all(artifact and artifact.started < artifact.modified and not artifact.reused for artifact in made)
    # The second has the log of the first one's call, word for word: cargo was not called again.
    assert jobs[0].log("json").read_bytes() == jobs[1].log("json").read_bytes()
    (folder / "src/bin/other.rs").write_text("fn main() {}\n")
    again = matrix.run([replace(job, answers={}) for job in jobs], lambda _, artifact: artifact.label)
    assert [answer.artifact and answer.artifact.reused for answer in again] == [True, False]


def test_a_mistake_in_one_of_them_is_said_of_that_one(tmp_path: Path) -> None:
    folder, jobs = _two_binaries(tmp_path)
    (folder / "src/bin/other.rs").write_text("fn main() {\n    nonsense();\n}\n")
    good, bad = matrix.run(jobs, lambda _, artifact: artifact.label)
    assert good.artifact is not None and good.error is None
    assert bad.error is not None and bad.error.where == "fuse/src/bin/other.rs:2"
