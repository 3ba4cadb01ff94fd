# SPDX-License-Identifier: Apache-2.0
"""The kernel linters find what is planted for them: a linter that cannot fail proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.build import kbuild
from ci.kernels import checkpatch
from tests import builds

pytestmark = pytest.mark.integration


def test_sparse_finds_a_wrong_byte_order(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    planted = "static int demo_use(__le32 x) { return x + 1; }\n"
    before, after = "static int __init demo_init(void) { return 0; }", "static int __init demo_init(void) { return demo_use(0); }"
    (folder / "demo.c").write_text(builds.MODULE_C.replace(before, planted + after))
    found = [str(message) for message in kbuild.analyse(builds.job(tmp_path, builds.MODULE, builds.kernel_61()))]
    assert any(message.startswith("kernel/demo.c:2: ") and "__le32" in message for message in found), found


def test_w1_finds_what_plain_warnings_do_not(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    (folder / "demo.c").write_text(builds.MODULE_C + "int missing_prototype(void) { return 1; }\n")
    found = [str(message) for message in kbuild.analyse(builds.job(tmp_path, builds.MODULE, builds.kernel_61()))]
    assert any("no previous prototype" in message for message in found), found


def test_checkpatch_finds_bad_style_and_passes_the_good(tmp_path: Path) -> None:
    folder = builds.module(tmp_path)
    script = checkpatch.script(print)
    (folder / "demo.c").write_text("// SPDX-License-Identifier: GPL-2.0-only\nint x=1;\n")
    job = builds.job(tmp_path, builds.MODULE, builds.kernel_61())
    assert any("demo.c:2: ERROR: spaces required around that '='" in line for line in kbuild.checkpatch(job, script))
    (folder / "demo.c").write_text("// SPDX-License-Identifier: GPL-2.0-only\nint x = 1;\n")
    assert kbuild.checkpatch(job, script) == []
