# SPDX-License-Identifier: Apache-2.0
"""The kernel linters find what is planted for them: a linter that cannot fail proves nothing."""

from __future__ import annotations

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
