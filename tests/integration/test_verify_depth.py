# SPDX-License-Identifier: Apache-2.0
"""What verification reads from a whole build: unused sources, warnings, versions that drift apart (B7, V5, V6, V9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci import build, verify
from ci.build.job import Job
from ci.manifest import ArtifactSpec
from ci.model import Artifact, Check, KernelTarget
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.integration

DKMS = 'PACKAGE_NAME="demo"\nPACKAGE_VERSION="0.1.0"\nBUILT_MODULE_NAME[0]="demo"\nDEST_MODULE_LOCATION[0]="/updates"\n'


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelTarget]:
    yield builds.kernel_61()


def verified(job: Job, artifact: Artifact | None = None, release: str = "") -> list[Check]:
    made = artifact or build.build(job)
    folder = job.folder if job.kernel else None
    return verify.verify(Subject(made, job.spec, job.kernel, build.inputs_hash(job, made), job.run, release, folder))


def wrong(job: Job, artifact: Artifact | None = None, release: str = "") -> list[tuple[str, str]]:
    return [(check.id, check.detail) for check in verified(job, artifact, release) if not check.verdict.ok]


def test_a_source_that_nothing_mentions_is_found_and_one_that_is_excused_is_not(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "fix.c").write_text("int the_fix_that_is_never_compiled;\n")
    (folder / "used.h").write_text("#define USED 1\n")
    (folder / "demo.c").write_text(f'#include "used.h"\n{builds.MODULE_C}')
    job = builds.job(tmp_path, builds.MODULE, kernel)
    ((id, detail),) = wrong(job)
    assert id == "B7" and "no object is made from fix.c, and nothing includes it" in detail
    assert wrong(replace(job, spec=replace(job.spec, not_compiled=("fix*",)))) == []


def test_an_object_that_kbuild_no_longer_names_does_not_excuse_its_source(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "Kbuild").write_text("obj-m := demo.o\ndemo-y := main.o extra.o\n")
    (folder / "demo.c").rename(folder / "main.c")
    (folder / "extra.c").write_text("int demo_extra(int x);\nint demo_extra(int x) { return x; }\n")
    assert [id for id, _ in wrong(builds.job(tmp_path, builds.MODULE, kernel))] == []
    (folder / "Kbuild").write_text("obj-m := demo.o\ndemo-y := main.o\n")
    ((id, detail),) = wrong(builds.job(tmp_path, builds.MODULE, kernel))
    assert id == "B7" and "extra.c" in detail


def test_a_module_in_a_folder_below_is_verified_with_its_objects(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "src").mkdir()
    (folder / "demo.c").rename(folder / "src/main.c")
    (folder / "Kbuild").write_text("obj-m := src/\n")
    (folder / "src/Kbuild").write_text("obj-m := demo.o\ndemo-y := main.o\n")
    assert wrong(builds.job(tmp_path, builds.MODULE, kernel)) == []


def test_warnings_over_the_budget_fail_also_when_another_file_is_built(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "Kbuild").write_text("obj-m := demo.o\ndemo-y := main.o extra.o\n")
    (folder / "demo.c").rename(folder / "main.c")
    (folder / "extra.c").write_text("int demo_extra(int x) { return x; }\n")  # W=1: no previous prototype
    job = builds.job(tmp_path, replace(builds.MODULE, warnings=0), kernel)
    ((id, detail),) = wrong(job)
    assert id == "V9" and "1 warning, the budget is 0" in detail and "build/module-" in detail
    (folder / "main.c").write_text(builds.MODULE_C.replace("return 0;", "return -19;"))
    again = build.build(builds.job(tmp_path, replace(builds.MODULE, warnings=0), kernel))
    assert again.warnings == 1 and not again.reused
    within = builds.job(tmp_path, replace(builds.MODULE, warnings=2), kernel)
    good = next(check for check in verified(within) if check.id == "V9")
    assert good.verdict.ok and "1 of 2; lower 'warnings: 2'" in good.detail
    (folder / "extra.c").write_text("int demo_extra(int x);\nint demo_extra(int x) { return x; }\n")
    assert build.build(builds.job(tmp_path, builds.MODULE, kernel)).warnings == 0


def test_a_warning_in_a_header_goes_when_the_header_is_mended(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "bad.h").write_text("int demo_header(int x) { return x; }\n")
    (folder / "demo.c").write_text(f'#include "bad.h"\n{builds.MODULE_C}')
    assert build.build(builds.job(tmp_path, builds.MODULE, kernel)).warnings == 1
    (folder / "bad.h").write_text("int demo_header(int x);\nint demo_header(int x) { return x; }\n")
    assert build.build(builds.job(tmp_path, builds.MODULE, kernel)).warnings == 0


def test_a_warning_is_not_forgotten_when_the_build_after_it_fails(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "Kbuild").write_text("obj-m := demo.o\ndemo-y := extra.o main.o\n")
    (folder / "demo.c").unlink()
    (folder / "extra.c").write_text("int demo_extra(int x) { return x; }\n")
    (folder / "main.c").write_text("#error not yet\n")
    job = builds.job(tmp_path, builds.MODULE, kernel)
    with pytest.raises(build.kbuild.ProductFailure):
        build.build(job)
    (folder / "main.c").write_text(builds.MODULE_C)
    assert build.build(builds.job(tmp_path, builds.MODULE, kernel)).warnings == 1


@pytest.mark.parametrize(
    ("dkms", "release", "filesystem", "says"),
    [
        (DKMS, "0.2.0", "", "MODULE_VERSION 0.1.0, PACKAGE_VERSION in dkms.conf 0.1.0, 'release:' in the manifest 0.2.0"),
        (DKMS.replace("0.1.0", "0.0.9"), "", "", "PACKAGE_VERSION in dkms.conf 0.0.9: set them all"),
        (DKMS.replace('[0]="demo"', '[0]="other"'), "", "", "BUILT_MODULE_NAME in dkms.conf says 'other', the module is 'demo'"),
        (DKMS.replace('PACKAGE_VERSION="0.1.0"\n', ""), "", "", "has no PACKAGE_VERSION"),
        (DKMS, "", "otherfs", "MODULE_ALIAS_FS says 'demofs', the manifest 'filesystem: otherfs'"),
    ],
    ids=["release", "dkms version", "dkms module", "dkms without version", "alias"],
)
def test_versions_and_names_that_drift_apart_fail_v6(
    tmp_path: Path, kernel: KernelTarget, dkms: str, release: str, filesystem: str, says: str
) -> None:
    folder = builds.module(tmp_path)
    (folder / "demo.c").write_text(builds.MODULE_C + 'MODULE_ALIAS("fs-demofs");\n')
    (folder / "dkms.conf").write_text(dkms)
    job = builds.job(tmp_path, replace(builds.MODULE, filesystem=filesystem), kernel)
    ((id, detail),) = wrong(job, release=release)
    assert id == "V6" and says in detail


def test_versions_that_agree_pass_and_a_template_of_dkms_is_no_version(tmp_path: Path, kernel: KernelTarget) -> None:
    folder = builds.module(tmp_path)
    (folder / "dkms.conf").write_text(DKMS.replace('"0.1.0"', '"#MODULE_VERSION#"'))
    job = builds.job(tmp_path, builds.MODULE, kernel)
    assert wrong(job, release="0.1.0") == []
    (folder / "dkms.conf").write_text(DKMS)
    assert wrong(job, release="0.1.0") == []


def daemon(root: Path, answer: str, **of: object) -> Job:
    folder = builds.crate(root)
    (folder / "src/main.rs").write_text(
        builds.MAIN_RS.replace('Some("--help")', f'Some("-V") => println!("{answer}"),\n        Some("--help")')
    )
    spec: ArtifactSpec = replace(builds.DAEMON, version=builds.Probe(("-V",)), **of)  # type: ignore[arg-type]
    return builds.job(root, spec)


def test_a_daemon_of_another_version_than_the_release_fails_v6(tmp_path: Path) -> None:
    job = daemon(tmp_path, "demo 0.1.0")
    artifact = build.build(job)
    assert wrong(job, artifact, "0.1.0") == []
    ((id, detail),) = wrong(job, artifact, "0.3.0")
    assert id == "V6" and "Cargo.toml 0.1.0, 'release:' in the manifest 0.3.0" in detail


def test_a_daemon_that_says_another_version_than_cargo_fails_v6(tmp_path: Path) -> None:
    found = wrong(daemon(tmp_path, "demo 0.1.01"))
    assert len(found) == 1, found
    id, detail = found[0]
    assert id == "V6" and "it answers 'demo 0.1.01', expected 0.1.0" in detail


def test_a_daemon_that_needs_what_the_target_has_not_fails_v5(tmp_path: Path) -> None:
    job = daemon(tmp_path, "demo 0.1.0", libraries=("libc.so.6",), glibc="2.4")
    found = wrong(job)
    assert {id for id, _ in found} == {"V5"} and len(found) == 2, found
    assert "needs libgcc_s.so.1" in found[0][1] and "which is not among the target's libraries (libc.so.6)" in found[0][1]
    assert "of libc.so.6: the target has 2.4 and would refuse to start it" in found[1][1]
    good = daemon(tmp_path / "other", "demo 0.1.0", libraries=("libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"), glibc="99")
    assert wrong(good) == []
