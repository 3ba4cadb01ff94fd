# SPDX-License-Identifier: Apache-2.0
"""Which cells a command line asks for, which of them cannot be, and how builds share the processors."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ci import parallel, process
from ci.build import toolchain
from ci.errors import Interrupted, ProductFailure, UsageError
from ci.manifest import ArtifactSpec, FeatureSet, KernelSpec, Manifest
from ci.model import KernelTarget
from ci.pipeline import matrix
from ci.pipeline.matrix import Filter
from tests import builds

pytestmark = pytest.mark.unit

SETS = (FeatureSet("debug", ("journal", "debug"), (("DEBUG", "y"),)), FeatureSet("small", (), (("JOURNAL", "n"),), ("journal.c",)))
MODULE = replace(
    builds.MODULE,
    features=("journal",),
    variables=(("V", "1"), ("DEBUG", "n")),
    kernels=("old", "new", "slow"),
    feature_sets=SETS,
    toolchains=("gcc", "clang"),
)
DAEMON = replace(builds.DAEMON, feature_sets=(FeatureSet("debug", ("fuse_support", "trace")),))
TOOL = replace(builds.DAEMON, name="tool")
KERNELS = (KernelSpec("old", "apt", "6.1"), KernelSpec("new", "apt", "6.12"), KernelSpec("slow", "source", on_request=True))


def manifest(*artifacts: ArtifactSpec) -> Manifest:
    given = artifacts or (MODULE, DAEMON, TOOL)
    return Manifest(Path("/"), Path("/vexci.yaml"), "demo", given, KERNELS, (), (), (), ())


def shown(wanted: Filter) -> list[str]:
    return [
        " ".join(part for part in (cell.spec.name, cell.kernel or "", cell.feature_set, cell.toolchain) if part)
        for cell in matrix.cells(manifest(), wanted)
    ]


def test_without_a_filter_it_is_the_default_set_for_every_kernel_that_is_not_on_request() -> None:
    assert shown(Filter()) == ["module old default", "module new default", "daemon default", "tool default"]


def test_dev_builds_with_the_profile_that_is_quick_to_compile_again_where_there_is_one() -> None:
    quick = replace(DAEMON, dev_profile="edit")
    found = matrix.cells(manifest(MODULE, quick, TOOL), Filter(kernel="new", dev=True))
    assert [(cell.spec.name, cell.profile) for cell in found] == [("module", ""), ("daemon", "edit"), ("tool", "")]
    assert quick.with_profile("edit").profile == "edit" and quick.with_profile("") == quick
    assert all(cell.profile == "" for cell in matrix.cells(manifest(MODULE, quick, TOOL), Filter(kernel="new")))


@pytest.mark.parametrize(
    ("wanted", "cells"),
    [
        (Filter(kernel="slow"), ["module slow default", "daemon default", "tool default"]),
        (Filter(only="module", kernel="all"), ["module old default", "module new default", "module slow default"]),
        (Filter(only="module,tool", kernel="new"), ["module new default", "tool default"]),
        # The tool has no such set and may be needed beside those that have.
        (Filter(kernel="new", features="debug"), ["tool default", "module new debug", "daemon debug"]),
        (Filter(only="module", kernel="new", features="default,small"), ["module new default", "module new small"]),
        (Filter(only="module", kernel="new", features="all"), ["module new default", "module new debug", "module new small"]),
        (Filter(only="module", kernel="new", toolchain="gcc"), ["module new default"]),
        (Filter(only="module", kernel="new", toolchain="all"), ["module new default", "module new default clang"]),
    ],
)
def test_a_filter_names_cells(wanted: Filter, cells: list[str]) -> None:
    assert shown(wanted) == cells


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Filter(only="modul"), "the artifact 'modul' is not defined; did you mean 'module'?"),
        (Filter(kernel="old,newer"), "the kernel 'newer' is not defined; did you mean 'new'?"),
        (Filter(features="debgu"), "the feature set 'debgu' is not defined; did you mean 'debug'?"),
        (Filter(only=","), "',' names no artifact; expected one or more of: module, daemon, tool, all"),
        (Filter(toolchain="clnag"), "the toolchain 'clnag' is not defined; did you mean 'clang'?"),
        (Filter(toolchain="icx"), "the toolchain 'icx' is not defined; expected one of: all, clang, gcc"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(wanted: Filter, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        shown(wanted)
    assert caught.value.message == says


def test_a_feature_set_is_a_whole_list_and_its_variables_win() -> None:
    built = MODULE.built_as("debug")
    assert built.features == ("journal", "debug") and dict(built.variables) == {"V": "1", "DEBUG": "y"}
    assert built.absent == () and MODULE.built_as("default").absent == ("debug",)
    small = MODULE.built_as("small")
    assert small.absent == ("debug", "journal") and small.not_compiled == ("journal.c",)
    with pytest.raises(KeyError):
        MODULE.built_as("other")


def kernel(folder: Path, compiler: str) -> KernelTarget:
    path = folder / "include/config/auto.conf"
    path.parent.mkdir(parents=True)
    path.write_text(f"CONFIG_SMP=y\nCONFIG_CC_IS_{compiler}=y\n")
    (folder / "Makefile").write_text("")
    return KernelTarget("k", "6.1.0", "x86_64", "", "tree", folder)


def test_a_module_of_another_compiler_family_than_its_kernels_is_refused_before_building(tmp_path: Path) -> None:
    job = replace(builds.job(tmp_path, MODULE, kernel(tmp_path / "headers", "GCC")), toolchain="clang")
    with pytest.raises(
        UsageError, match=r"the kernel 6\.1\.0 was compiled by gcc, and a module for it cannot be compiled by clang"
    ) as caught:
        matrix.possible([job], Filter(toolchain="clang"))
    assert "--toolchain gcc" in caught.value.hint


def test_of_all_toolchains_those_that_cannot_be_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builds.module(tmp_path)
    usual = builds.job(tmp_path, MODULE, kernel(tmp_path / "headers", "GCC"))
    assert matrix.possible([usual, replace(usual, toolchain="clang")], Filter(toolchain="all")) == [usual]
    assert "cannot be compiled by clang" in capsys.readouterr().out


def test_a_compiler_that_is_not_installed_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = kernel(tmp_path / "headers", "CLANG")
    job = replace(builds.job(tmp_path, MODULE, target), toolchain="clang")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="'clang' is not installed") as caught:
        toolchain.check(job, target)
    assert caught.value.hint == "apt-get install clang lld"
    with pytest.raises(UsageError, match="was compiled by clang"):
        toolchain.check(replace(job, toolchain=""), target)


def test_variants_share_no_folder_no_log_and_no_label(tmp_path: Path) -> None:
    jobs = [
        replace(builds.job(tmp_path, MODULE, kernel(tmp_path / str(number), "GCC")), feature_set=feature_set, toolchain=name)
        for number, (feature_set, name) in enumerate([("default", ""), ("debug", ""), ("default", "clang"), ("debug", "clang")])
    ]
    for facts in ([job.folder for job in jobs], [job.slug for job in jobs], [job.label for job in jobs]):
        assert len(set(facts)) == 4
    assert jobs[0].folder.name == "6.1.0" and jobs[3].folder.name == "6.1.0-debug-clang"


def test_make_uses_the_tokens_of_the_shared_processors_and_puts_them_back(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all: a b c d\na b c d:\n\t@echo start; sleep 0.3; echo end\n")
    peaks = {}
    for tokens in (1, 4):
        with parallel.JobServer(tokens) as server:
            server.take()  # as a cell does before it starts make
            log = tmp_path / f"log{tokens}"
            process.run(
                ["make", "-C", tmp_path, "all"],
                limits=process.Limits(30),
                log=log,
                env={**os.environ, **server.environment},
                pass_fds=server.fds,
            )
            server.give()
            running = peak = 0
            for line in log.read_text().splitlines():
                running += {"start": 1, "end": -1}.get(line, 0)
                peak = max(peak, running)
            peaks[tokens] = peak
            assert os.read(server.fds[0], 100) == b"+" * tokens
        assert "jobserver" not in log.read_text()
    assert peaks[1] == 1 and 2 <= peaks[4] <= 4


def test_of_several_things_at_once_a_bug_in_one_ends_the_processes_of_the_others(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def long() -> None:
        process.run(["sh", "-c", "echo begun; exec sleep 60"], limits=process.Limits(90), log=log)

    def broken() -> None:
        deadline = time.monotonic() + 20
        while not (log.is_file() and "begun" in log.read_text()):
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)
        raise ZeroDivisionError("a bug")

    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        parallel.run([long, broken], workers=2)
    assert time.monotonic() - begin < 30
    left = subprocess.run(["pgrep", "-P", str(os.getpid()), "-x", "sleep"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    parallel.run([lambda: None, lambda: None], workers=2)  # and the next ones run again


def test_a_token_is_not_waited_for_when_the_tool_ends() -> None:
    with parallel.JobServer(1) as server:
        server.take()
        process.cancelled.set()
        try:
            with pytest.raises(Interrupted):
                server.take()
        finally:
            process.cancelled.clear()


def test_the_table_explains_the_cells_that_failed(tmp_path: Path) -> None:
    job = replace(builds.job(tmp_path, MODULE, kernel(tmp_path / "h", "GCC")), feature_set="debug")
    answer = matrix.Answer(job, 1.25, error=ProductFailure("it does not build: no such thing", where="kernel/demo.c:3"))
    (row,) = matrix.table([answer]).rows
    assert [str(cell) for cell in row] == [
        "fail",
        "module",
        "k",
        "debug",
        "usual",
        "1.2 s",
        "kernel/demo.c:3: it does not build: no such thing",
    ]
