# SPDX-License-Identifier: Apache-2.0
"""Recipes that lie, hang, flood or write something else than the manifest says: each gets its verdict, the place, the way out."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ci import build, process, verify
from ci.build import job as jobs
from ci.build.job import Job
from ci.errors import Hang, InfrastructureError, ProductFailure, UsageError, VexciError
from ci.manifest import ArtifactSpec, Recipe
from ci.model import Kind
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.zoo

PLACE = Path(__file__).with_name("builds")
TOOL = ArtifactSpec("tool", Kind.DAEMON, "make", Path("tool"), "tool", profile="", deadline=60)


def job(root: Path, goal: str, **of: object) -> Job:
    """The tree of specimens below `root`, to be built by that goal."""
    if not (root / "tool").exists():
        shutil.copytree(PLACE, root / "tool")
    made = builds.job(root, replace(TOOL, recipe=Recipe(goals=(goal,)), **of))  # type: ignore[arg-type]
    build.precheck(made)
    return made


def fails(made: Job, kind: type[VexciError] = ProductFailure) -> VexciError:
    with pytest.raises(kind) as caught:
        build.build(made)
    assert type(caught.value) is kind
    return caught.value


def ids(made: Job) -> list[tuple[str, str]]:
    """The checks that fail of what was built."""
    artifact = build.build(made)
    found = verify.verify(Subject(artifact, made.spec, made.kernel, build.inputs_hash(made, artifact), made.run))
    return [(check.id, check.detail) for check in found if not check.verdict.ok]


def test_the_control_builds_and_passes_and_is_not_built_twice(tmp_path: Path) -> None:
    assert ids(job(tmp_path, "good")) == []
    assert build.build(job(tmp_path, "good")).reused
    source = tmp_path / "tool/tool.c"
    source.write_text(source.read_text().replace("always", "never"))
    assert not build.build(job(tmp_path, "good")).reused


@pytest.mark.parametrize("goal", ["hidden_or", "hidden_dash"])
def test_a_recipe_that_hides_the_compilers_failure_fails_b4(tmp_path: Path, goal: str) -> None:
    error = fails(job(tmp_path, goal))
    assert "make ended with success, but the compiler did not: 'this_was_never_declared'" in error.message
    assert error.where == "tool/broken.c:4" and "look for '||'" in error.hint


def test_a_file_that_lay_in_the_tree_was_not_built_b4(tmp_path: Path) -> None:
    made = job(tmp_path, "copied")
    shutil.copy("/bin/true", tmp_path / "tool/shipped.bin")
    error = fails(made)
    assert "is a copy of tool/shipped.bin, which lies in the tree; nothing was built" in error.message
    assert error.where == "tool/shipped.bin" and "let the recipe compile it" in error.hint


def test_success_without_the_output_names_what_was_made_b4(tmp_path: Path) -> None:
    error = fails(job(tmp_path, "nothing"))
    assert "made no 'output: tool'; beside it lie Makefile, broken.c, elsewhere" in error.message
    assert "'output:' of tool in the manifest names the file" in error.hint


def test_what_an_earlier_build_left_elsewhere_is_not_taken_for_this_one_b3(tmp_path: Path) -> None:
    cached = (("CACHE", str(tmp_path / "cached")),)
    build.build(job(tmp_path, "stale", variables=cached))
    source = tmp_path / "tool/tool.c"
    source.write_text(source.read_text().replace("always", "never"))
    error = fails(job(tmp_path, "stale", variables=cached))
    assert "(stale output)" in error.message and "cp" in error.hint


def test_a_stale_output_with_a_new_time_is_not_taken_for_this_one_b3(tmp_path: Path) -> None:
    """The recipe copies what an earlier build left elsewhere: its time is new, and it has other sources' bytes."""
    cached = (("CACHE", str(tmp_path / "cached")),)
    build.build(job(tmp_path, "stale_touched", variables=cached))
    source = tmp_path / "tool/tool.c"
    source.write_text(source.read_text().replace("always", "never"))
    said: list[str] = []
    error = fails(replace(job(tmp_path, "stale_touched", variables=cached), say=said.append))
    assert "read none of the" in error.message and "(stale output)" in error.message and "look for 'cp'" in error.hint
    assert any("building anew from an empty folder" in line for line in said)
    assert "read none of the" in fails(job(tmp_path, "stale_touched", variables=cached)).message  # also as the first build of a folder


def test_a_comment_alone_leaves_the_output_the_same_and_passes_b3(tmp_path: Path) -> None:
    first = build.build(job(tmp_path, "good"))
    source = tmp_path / "tool/tool.c"
    source.write_text(source.read_text() + "/* nothing */\n")
    again = build.build(job(tmp_path, "good"))
    assert again.sha256 == first.sha256 and not again.reused


def test_a_binary_put_in_place_with_a_time_to_come_is_not_taken_for_this_one_b3(tmp_path: Path) -> None:
    first = build.build(job(tmp_path, "good"))
    forge(first.path)
    assert build.build(job(tmp_path, "good")).sha256 == first.sha256


def test_a_binary_put_in_place_of_cargos_with_a_time_to_come_is_not_taken_for_this_one_b3(tmp_path: Path) -> None:
    builds.crate(tmp_path)
    first = build.build(builds.job(tmp_path, builds.DAEMON))
    forge(first.path)
    (tmp_path / ".build/daemon/host/.vexci-stamp.json").unlink()  # nothing is known of what lies there
    again = build.build(builds.job(tmp_path, builds.DAEMON))
    assert again.sha256 == first.sha256 and not again.reused


def forge(path: Path) -> None:
    """Other bytes in that very file, written, as it says, in an hour."""
    with open(path, "ab") as file:
        file.write(b"stale")
    then = time.time() + 3600
    os.utime(path, (then, then))


@pytest.mark.parametrize(
    ("goal", "id", "says"),
    [
        ("archive", "V4", "it is an ar archive"),
        ("empty", "V4", "it is empty"),
        ("text", "V4", "it is no ELF file"),
        ("object", "V4", "its type is ET_REL"),
    ],
)
def test_what_has_the_right_name_and_is_something_else_fails_b5(tmp_path: Path, goal: str, id: str, says: str) -> None:
    wrong = [(each, detail) for each, detail in ids(job(tmp_path, goal)) if says in detail]
    assert wrong and wrong[0][0] in (id, "B5"), wrong


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        ("folder", "'output: tool' is a folder"),
        ("dangling", "'output: tool' is a link to nowhere, which does not exist"),
        ("outside", "'output: tool' is a link out of the build folder, to /usr/bin/true"),
    ],
)
def test_an_output_that_is_no_file_of_the_build_is_refused(tmp_path: Path, goal: str, says: str) -> None:
    error = fails(job(tmp_path, goal))
    assert says in error.message and error.where == "tool" and "relative to .build/tool/host" in error.hint


@pytest.mark.parametrize(("goal", "says"), [("spins", "did not end within 3 s"), ("sleeps", "did not end within 3 s")])
def test_a_build_that_does_not_end_is_a_hang_b10(tmp_path: Path, goal: str, says: str) -> None:
    error = fails(job(tmp_path, goal, deadline=3.0), Hang)
    assert says in error.message and "read " in error.hint
    assert not [p for p in psutil.Process().children(recursive=True) if p.name() in ("make", "sh", "sleep")]


def test_a_makefile_that_calls_itself_is_stopped_before_the_machine_is_full_b10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PROCESSES", 40)
    error = fails(job(tmp_path, "calls_itself"), Hang)
    assert "processes at a time and was killed; does it call itself?" in error.message
    assert not [p for p in psutil.Process().children(recursive=True) if p.name() == "make"]


def test_a_build_that_floods_its_log_is_stopped_b10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Job, "limits", property(lambda self: process.Limits(60, log_bytes=1 << 20)))
    error = fails(job(tmp_path, "floods_log"), InfrastructureError)
    assert "flooded its log with" in error.message


def test_a_build_that_floods_the_disk_is_stopped_and_leaves_nothing_b10(tmp_path: Path) -> None:
    made = job(tmp_path, "floods_disk")
    limited = replace(made, spec=replace(made.spec, recipe=replace(made.spec.recipe, disk=32)))
    error = fails(limited, InfrastructureError)
    assert "flooded" in error.message and "(it may take 32) and was stopped" in error.message
    assert [path.name for path in limited.folder.iterdir()] == [".vexci-lock"]


def test_a_compiler_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    made = job(tmp_path, "good")
    absent = replace(made, spec=replace(made.spec, recipe=Recipe(goals=("good",), toolchain="no-such-cc")))
    with pytest.raises(UsageError, match="the program 'no-such-cc' is not installed") as caught:
        build.precheck(absent)
    assert "another compiler is yours to install" in caught.value.hint


def test_a_tree_without_a_makefile_is_a_usage_error(tmp_path: Path) -> None:
    made = job(tmp_path, "good")
    (tmp_path / "tool/Makefile").unlink()
    with pytest.raises(UsageError, match="no Makefile in tool"):
        build.precheck(made)


def test_a_pre_step_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    made = job(tmp_path, "good")
    step = ("sh", "-c", "echo 'no such option'; exit 3")
    error = fails(replace(made, spec=replace(made.spec, recipe=replace(made.spec.recipe, before=(step,)))))
    assert "of 'before:' failed (exit 3): no such option" in error.message and "it runs in .build/tool/host" in error.hint


def test_a_pre_step_that_cannot_be_started_is_a_usage_error_that_names_artifact_and_key(tmp_path: Path) -> None:
    made = job(tmp_path, "good")
    error = fails(replace(made, spec=replace(made.spec, recipe=replace(made.spec.recipe, before=(("./tool.c",),)))), UsageError)
    assert error.message == "tool: './tool.c' may not be executed: Permission denied" and error.where == "tool"
    assert "'before:' runs it in .build/tool/host, without a shell" in error.hint


def hard_wired(headers: str) -> str:
    return f"obj-m := demo.o\nmodules:\n\t$(MAKE) -C {headers} M=$(CURDIR) modules\n"


@pytest.mark.parametrize(
    ("makefile", "id", "says"),
    [(hard_wired, "B8", "the target is 6.1.0-"), (lambda _: "obj-m := other.o\n", "B6", "built other.ko, not demo.ko")],
    ids=["another kernel's headers", "another name"],
)
def test_a_module_of_another_kernel_or_name_fails_b8_b6(tmp_path: Path, makefile: Callable[[str], str], id: str, says: str) -> None:
    from ci import kernels
    from ci.manifest import KernelSpec

    other = kernels.resolve(KernelSpec("debian-6.12", "apt", "6.12-cloud"), say=print)
    folder = builds.module(tmp_path)
    (folder / "Kbuild").unlink()
    (folder / "Makefile").write_text(makefile(str(other.headers)))
    if id == "B6":
        (folder / "demo.c").rename(folder / "other.c")
    goals = ("modules",) if id == "B8" else ()
    made = builds.job(tmp_path, replace(builds.MODULE, recipe=Recipe(goals=goals)), builds.kernel_61())
    if id == "B6":
        error = fails(made)
        assert says in error.message and "must name the same module" in error.hint and error.where == "kernel"
        return
    wrong = dict(ids(made))
    assert says in wrong["B8"] and "other headers were used" in wrong["B8"]
