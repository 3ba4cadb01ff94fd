# SPDX-License-Identifier: Apache-2.0
"""Real cells side by side: two kernels, feature sets that are observed in what was built, one failure that stops nobody else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests import builds, recordschema, tool

pytestmark = pytest.mark.integration

MANIFEST = """\
version: 1
project: cells
artifacts:
  module:
    builder: kbuild
    folder: kernel
    module: demo
    kernels: [old, new]
    features: [journal]
    not_compiled: [trace.c]
    toolchains: [gcc, clang]
    feature_sets:
      trace: {features: [journal, trace], variables: {CONFIG_DEMO_TRACE: y}, not_compiled: []}
  daemon:
    builder: cargo
    folder: fuse
    binary: demo_fuse
    features: [fuse_support]
    feature_probe: {args: [--version], key: features}
    feature_sets:
      trace: {features: [fuse_support, trace]}
kernels:
  old: {provider: apt, pattern: 6.1-cloud}
  new: {provider: apt, pattern: 6.12-cloud}
"""
KBUILD = """\
ccflags-$(CONFIG_DEMO_TRACE) += -DCONFIG_DEMO_TRACE
obj-m := demo.o
demo-y := start.o other.o
demo-$(CONFIG_DEMO_TRACE) += trace.o
"""
START = """\
#include <linux/module.h>
#include "demo.h"
#ifdef CONFIG_DEMO_TRACE
MODULE_INFO(features, "journal trace");
#else
MODULE_INFO(features, "journal");
#endif
static int __init demo_init(void) { return demo_other(); }
static void __exit demo_exit(void) { }
module_init(demo_init);
module_exit(demo_exit);
MODULE_DESCRIPTION("nothing");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
"""
MAIN = r"""
fn main() {
    let mut found = vec!["\"fuse_support\""];
    if cfg!(feature = "trace") {
        found.push("\"trace\"");
    }
    println!("{{\"features\": [{}]}}", found.join(","));
}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module of three files and a crate, each with a feature that can be switched on."""
    root = tmp_path_factory.mktemp("cells")
    folder = root / "kernel"
    folder.mkdir()
    (folder / "Kbuild").write_text(KBUILD)
    (folder / "start.c").write_text(START)
    (folder / "demo.h").write_text("int demo_other(void);\nint demo_trace(void);\n")
    (folder / "other.c").write_text('#include "demo.h"\nint demo_other(void)\n{\n\treturn 0;\n}\n')
    (folder / "trace.c").write_text('#include "demo.h"\nint demo_trace(void)\n{\n\treturn 1;\n}\n')
    crate = builds.crate(root)
    (crate / "Cargo.toml").write_text(builds.CARGO_TOML.replace("fuse_support = []\n", "fuse_support = []\ntrace = []\n"))
    (crate / "src/main.rs").write_text(MAIN)
    (root / "vexci.yaml").write_text(MANIFEST)
    return root


def test_every_cell_is_built_in_a_folder_of_its_own_and_its_features_are_observed(project: Path) -> None:
    done = tool.inv("build", "--features", "all", "verify", config=project / "vexci.yaml")
    assert done.returncode == 0, done.stdout
    record = recordschema.latest(project)
    recordschema.validate(record)
    rows = {(row["name"], row["kernel"], row["feature_set"]): row for row in record["artifacts"]}
    assert sorted(rows, key=str) == sorted(
        [("module", kernel, chosen) for kernel in ("old", "new") for chosen in ("default", "trace")]
        + [("daemon", None, "default"), ("daemon", None, "trace")],
        key=str,
    )
    assert len({row["path"] for row in record["artifacts"]}) == len({row["sha256"] for row in record["artifacts"]}) == 6
    checks = {(check["subject"], check["name"]) for stage in record["stages"] for check in stage["checks"] if check["id"] == "V4"}
    module = next(row for row in record["artifacts"] if row["kernel"] == "new")
    assert (f"module [{module['target']}] trace", "has the feature trace") in checks
    assert (f"module [{module['target']}]", "is the feature set default") in checks
    heads = [line.split() for line in done.stdout.splitlines() if "toolchain" in line]
    assert heads[0] == ["verdict", "artifact", "kernel", "features", "toolchain", "time", "said"]


def test_a_feature_that_the_build_did_not_bring_is_a_failure(project: Path) -> None:
    kbuild = project / "kernel/Kbuild"
    kbuild.write_text(KBUILD.replace("ccflags-$(CONFIG_DEMO_TRACE) += -DCONFIG_DEMO_TRACE\n", ""))
    try:
        done = tool.inv("build", "--features", "trace", "--kernel", "new", "--only", "module", "verify", config=project / "vexci.yaml")
    finally:
        kbuild.write_text(KBUILD)
    assert done.returncode == 1, done.stdout
    assert "V4 has the feature trace: modinfo 'features' shows only: journal" in done.stdout


def test_a_failing_cell_stops_no_other_and_is_explained_in_the_table(project: Path) -> None:
    source = project / "kernel/trace.c"
    text = source.read_text()
    source.write_text(text.replace("return 1;", "return nothing;"))
    try:
        done = tool.inv("build", "--features", "all", config=project / "vexci.yaml")
    finally:
        source.write_text(text)
    assert done.returncode == 1, done.stdout
    record = recordschema.latest(project)
    built = {(row["name"], row["kernel"], row["feature_set"]) for row in record["artifacts"]}
    assert len(built) == 4 and ("module", "new", "trace") not in built and ("daemon", None, "trace") in built
    table = [line for line in done.stdout.splitlines() if line.startswith("fail") and "trace" in line and "kernel/trace.c:4" in line]
    assert len(table) >= 2, done.stdout


def objects(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*.o")
        if not path.name.endswith(".mod.o")
    }


def test_changing_one_file_compiles_just_what_depends_on_it(project: Path) -> None:
    config = project / "vexci.yaml"
    words = ("build", "--only", "module", "--kernel", "new")
    assert tool.inv(*words, config=config).returncode == 0
    (folder,) = (project / ".build/module").glob("6.12*-amd64")
    before = objects(folder)
    assert {"start.o", "other.o"} <= set(before)
    source = project / "kernel/other.c"
    text = source.read_text()
    source.write_text(text.replace("return 0;", "return -19;"))
    os.utime(source, (1, 1))
    try:
        assert tool.inv(*words, config=config).returncode == 0
        after = objects(folder)
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"other.o", "demo.o"}
        header = project / "kernel/demo.h"
        header.write_text(header.read_text() + "int demo_more(void);\n")
        assert tool.inv(*words, config=config).returncode == 0
        last = objects(folder)
        assert {name for name in after if after[name][0] != last[name][0]} >= {"other.o", "start.o"}
    finally:
        source.write_text(text)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--toolchain", "clang", "--kernel", "new"), "was compiled by gcc, and a module for it cannot be compiled by clang"),
        (("--features", "tracing"), "the feature set 'tracing' is not defined; did you mean 'trace'?"),
        (("--kernel", "newer"), "the kernel 'newer' is not defined; did you mean 'new'?"),
        (("--only", "modul"), "the artifact 'modul' is not defined; did you mean 'module'?"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_built(project: Path, words: tuple[str, ...], says: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project / ".build").rglob("*")}
    done = tool.inv("build", *words, config=project / "vexci.yaml")
    assert done.returncode == 2 and says in done.stdout and "Traceback" not in done.stdout, done.stdout
    assert {path: path.stat().st_mtime_ns for path in (project / ".build").rglob("*")} == before


def test_the_list_of_kernels_says_what_is_here_and_where(project: Path) -> None:
    done = tool.inv("kernels", config=project / "vexci.yaml")
    assert done.returncode == 0, done.stdout
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert rows["new"][1:3] in (["apt", "downloaded"], ["apt", "installed"]) and rows["new"][-1].startswith("/")
    assert tool.inv("kernels", "--fetch", "nowhere", config=project / "vexci.yaml").returncode == 2
