# SPDX-License-Identifier: Apache-2.0
"""The kernel linters find what is planted for them: a linter that cannot fail proves nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ci.build import analysis
from ci.kernels import checkpatch
from tests import builds

pytestmark = pytest.mark.integration


def compiled(root: Path) -> list[str]:
    """What the compiler and sparse find in the module below `root`."""
    looked = analysis.compiled(builds.job(root, builds.MODULE, builds.kernel_61()))
    return [f"{each.checker} {message}" for each in looked for message in each.findings]


def test_sparse_finds_a_wrong_byte_order(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    planted = "static int demo_use(__le32 x) { return x + 1; }\n"
    before, after = "static int __init demo_init(void) { return 0; }", "static int __init demo_init(void) { return demo_use(0); }"
    (folder / "demo.c").write_text(builds.MODULE_C.replace(before, planted + after))
    found = compiled(tmp_path)
    assert any(message.startswith("sparse kernel/demo.c:2: ") and "__le32" in message for message in found), found


def test_w1_finds_what_plain_warnings_do_not(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    (folder / "demo.c").write_text(builds.MODULE_C + "int missing_prototype(void) { return 1; }\n")
    found = compiled(tmp_path)
    assert any(message.startswith("compiler ") and "no previous prototype" in message for message in found), found


def test_checkpatch_finds_bad_style_and_passes_the_good(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    script = checkpatch.script(print)
    (folder / "demo.c").write_text("// SPDX-License-Identifier: GPL-2.0-only\nint x=1;\n")
    job = builds.job(tmp_path, builds.MODULE, builds.kernel_61())
    assert any(str(m) == "kernel/demo.c:2: spaces required around that '=' (ctx:VxV)" for m in analysis.checkpatch(job, script).findings)
    (folder / "demo.c").write_text("// SPDX-License-Identifier: GPL-2.0-only\nint x = 1;\n")
    assert analysis.checkpatch(job, script).findings == ()


def test_after_a_save_only_what_depends_on_it_is_looked_at_and_the_rest_is_not_forgotten(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    script = checkpatch.script(print)
    (folder / "Kbuild").write_text("obj-m := demo.o\ndemo-y := main.o other.o\n")
    (folder / "demo.c").rename(folder / "main.c")
    good = '// SPDX-License-Identifier: GPL-2.0-only\n#include "other.h"\n\nint demo_other(void)\n{\n\treturn 1;\n}\n'
    (folder / "other.h").write_text("/* SPDX-License-Identifier: GPL-2.0-only */\nint demo_other(void);\n")
    bad = good.replace("return 1;", "return (int)(long)NULL+1;") + "int missing_prototype(void) { return 1; }\n"
    job = builds.job(tmp_path, builds.MODULE, builds.kernel_61())

    def looked() -> tuple[set[str], list[str]]:
        style = analysis.checkpatch(job, script)
        found = {f"{each.checker} {m.place}" for each in (*analysis.compiled(job), style) for m in each.findings}
        return found, re.findall(r" CC \[M\] +\S*/(\w+)\.o", job.log("analysis.log").read_text())

    (folder / "other.c").write_text("#include <linux/kernel.h>\n" + bad)
    first, compiled_first = looked()
    assert "compiler kernel/other.c:9" in first and any(row.startswith("checkpatch kernel/other.c:") for row in first), first
    assert {"main", "other"} <= set(compiled_first)
    (folder / "main.c").write_text(builds.MODULE_C + "\n/* saved */\n")
    second, compiled_second = looked()
    assert {row for row in second if "other.c" in row} == {row for row in first if "other.c" in row}
    assert "other" not in compiled_second and "main" in compiled_second
    (folder / "other.c").write_text(good)
    assert not {row for row in looked()[0] if "other.c" in row}
    (folder / "other.h").write_text("/* SPDX-License-Identifier: GPL-2.0-only */\nint demo_other(int x);\n")
    assert any(row.startswith("compiler kernel/other.c") for row in looked()[0]), "what a header breaks is seen, and begins anew"
    (folder / "other.h").write_text("/* SPDX-License-Identifier: GPL-2.0-only */\nint demo_other(void);\n")
    mended, compiled_anew = looked()
    assert not {row for row in mended if "other" in row} and {"main", "other"} <= set(compiled_anew)


def test_a_frame_over_the_limit_is_found(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    big = "static int __init demo_init(void) { volatile char x[3000]; x[2999] = 1; return x[2999] - 1; }"
    (folder / "demo.c").write_text(builds.MODULE_C.replace("static int __init demo_init(void) { return 0; }", big))
    found = compiled(tmp_path)
    assert any(message.startswith("compiler kernel/demo.c:2: ") and "larger than 2048 bytes" in message for message in found), found


def test_clippy_and_rustfmt_find_what_is_planted_and_remember_it(tmp_path: Path) -> None:
    folder = builds.crate(tmp_path)
    (folder / "src/main.rs").write_text('fn main() {\n    let x = 5;\n    let y = x.clone();\n    println!("{y}");\n}\n   fn f() {}\n')
    said: list[str] = []
    job = replace(builds.job(tmp_path, builds.DAEMON), say=said.append)

    def looked() -> dict[str, list[str]]:
        return {each.checker: [str(m) for m in each.findings] for each in analysis.analyse(job, ["clippy", "rustfmt"], Path)}

    found = looked()
    assert any(line.startswith("fuse/src/main.rs:3: ") and "clone" in line for line in found["clippy"]), found
    assert any(line.startswith("fuse/src/main.rs:") and "not formatted" in line for line in found["rustfmt"]), found
    assert len(said) == 2 and looked() == found and len(said) == 2
    (folder / "src/main.rs").write_text("fn main() {}\n")
    assert looked() == {"clippy": [], "rustfmt": []} and len(said) == 4
