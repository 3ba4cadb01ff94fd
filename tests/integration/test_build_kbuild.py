# SPDX-License-Identifier: Apache-2.0
"""Building a kernel module through the kernel's own Kbuild, for a kernel that need not be the host's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci import build, verify
from ci.build.job import Job
from ci.errors import Hang, ProductFailure, UsageError
from ci.model import Artifact, Check, KernelTarget
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelTarget]:
    yield builds.kernel_61()


def checks(job: Job, artifact: Artifact) -> dict[str, Check]:
    found = verify.verify(Subject(artifact, job.spec, job.kernel, build.inputs_hash(job, artifact), job.run))
    return {check.name: check for check in found}


def failing(found: dict[str, Check]) -> list[str]:
    return [check.id for check in found.values() if not check.verdict.ok]


def test_a_module_is_built_for_the_target_and_passes_every_check(tmp_path: Path, kernel: KernelTarget) -> None:
    builds.module(tmp_path)
    job = builds.job(tmp_path, builds.MODULE, kernel)
    artifact = build.build(job)
    assert artifact.path.name == "demo.ko" and artifact.target == kernel.release
    assert failing(checks(job, artifact)) == []
    assert sorted(os.listdir(tmp_path / "kernel")) == ["Kbuild", "demo.c"]  # the sources stay clean


def test_only_what_changed_is_compiled_again_and_a_comment_keeps_the_module(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    first = build.build(builds.job(tmp_path, builds.MODULE, kernel))
    again = build.build(builds.job(tmp_path, builds.MODULE, kernel))
    assert again.reused and again.sha256 == first.sha256
    old = folder / "demo.c"
    old.write_text(builds.MODULE_C.replace("return 0;", "return -19;"))
    os.utime(old, (1, 1))  # a file that an archive or a checkout put there with an old time
    changed = build.build(builds.job(tmp_path, builds.MODULE, kernel))
    assert not changed.reused and changed.sha256 != first.sha256


def test_a_change_of_one_file_compiles_what_depends_on_it_and_nothing_else(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "Kbuild").write_text("obj-m := demo.o\ndemo-y := main.o one.o two.o\n")
    (folder / "demo.c").rename(folder / "main.c")
    (folder / "one.h").write_text("int demo_one(void);\n")
    (folder / "one.c").write_text('#include "one.h"\nint demo_one(void) { return 1; }\n')
    (folder / "two.c").write_text('#include "one.h"\nint demo_two(void);\nint demo_two(void) { return demo_one() + 1; }\n')
    build.build(builds.job(tmp_path, builds.MODULE, kernel))
    objects = {name: next((tmp_path / ".build").rglob(f"{name}.o")) for name in ("main", "one", "two")}

    def compiled_after(file: str, old: str, new: str) -> set[str]:
        before = {name: path.stat().st_mtime_ns for name, path in objects.items()}
        (folder / file).write_text((folder / file).read_text().replace(old, new))
        assert not build.build(builds.job(tmp_path, builds.MODULE, kernel)).reused
        return {name for name, path in objects.items() if path.stat().st_mtime_ns != before[name]}

    assert compiled_after("one.c", "return 1", "return 3") == {"one"}
    assert compiled_after("one.h", "int demo_one(void);", "int demo_one(void);\n#define DEMO_MORE 1") == {"one", "two"}


def test_a_module_of_another_name_than_the_manifests_is_a_failure(tmp_path: Path, kernel: KernelTarget) -> None:
    builds.module(tmp_path)
    with pytest.raises(ProductFailure, match=r"built demo\.ko, not other\.ko"):
        build.build(builds.job(tmp_path, replace(builds.MODULE, output="other.ko"), kernel))


def test_the_compilers_first_error_is_shown_at_the_place_that_a_person_edits(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "demo.c").write_text(builds.MODULE_C.replace("return 0;", "return nothing;"))
    with pytest.raises(ProductFailure) as caught:
        build.build(builds.job(tmp_path, builds.MODULE, kernel))
    assert caught.value.where == "kernel/demo.c:2"
    assert "nothing" in caught.value.message and "undeclared" in caught.value.message


def test_headers_that_are_not_there_are_named_with_the_command_that_installs_them(tmp_path: Path, kernel: KernelTarget) -> None:
    builds.module(tmp_path)
    missing = replace(kernel, headers=tmp_path / "nowhere")
    with pytest.raises(UsageError) as caught:
        build.precheck(builds.job(tmp_path, builds.MODULE, missing))
    assert caught.value.hint == f"apt-get install linux-headers-{kernel.release}"


def test_a_makefile_that_loops_is_a_hang_within_the_deadline(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "Kbuild").write_text("obj-m := demo.o\n$(obj)/demo.o: spin\nspin:\n\twhile :; do :; done\n.PHONY: spin\n")
    with pytest.raises(Hang, match="did not end within 6 s"):
        build.build(builds.job(tmp_path, replace(builds.MODULE, deadline=6), kernel))


def test_the_headers_of_another_kernel_show_in_the_vermagic(tmp_path: Path, kernel: KernelTarget) -> None:
    builds.module(tmp_path)
    job = builds.job(tmp_path, builds.MODULE, kernel)
    artifact = build.build(job)
    claimed = replace(kernel, release="6.99.0-cloud", modules=None)
    other = replace(job, kernel=claimed)
    found = verify.verify(Subject(artifact, other.spec, claimed, artifact.inputs_sha256, other.run))
    wrong = next(check for check in found if check.id == "B8")
    assert not wrong.verdict.ok and "6.99.0-cloud" in wrong.detail and kernel.release in wrong.detail


@pytest.mark.parametrize(
    ("old", "new", "id", "says"),
    [
        ('MODULE_LICENSE("GPL")', 'MODULE_LICENSE("Dual BSD/GPL")', "V1", "the manifest declares 'GPL'"),
        ('MODULE_VERSION("0.1.0");', 'MODULE_VERSION("0.1.0");\nMODULE_INFO(license, "Proprietary");', "V1", "one MODULE_LICENSE"),
    ],
)
def test_a_license_that_is_not_the_declared_one_fails(tmp_path: Path, kernel: KernelTarget, old: str, new: str, id: str, says: str) -> None:
    folder = builds.module(tmp_path)
    (folder / "demo.c").write_text(builds.MODULE_C.replace(old, new))
    job = builds.job(tmp_path, builds.MODULE, kernel)
    wrong = [check for check in checks(job, build.build(job)).values() if not check.verdict.ok]
    assert [check.id for check in wrong] == [id] and says in wrong[0].detail
