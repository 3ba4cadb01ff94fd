# SPDX-License-Identifier: Apache-2.0
"""The kernel that finds bugs: built from source, booted, and each of its checkers seen at work in the guest."""

from __future__ import annotations

import pytest

from ci import config, kernels
from ci.kernels import built, kconfig
from tests import recordschema, tool

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.xdist_group("project")]


def test_the_debug_kernel_is_whole_and_every_line_of_its_fragments_holds() -> None:
    spec = config.read(tool.ROOT / "vexci.yaml").kernel("debug")
    target = kernels.resolve(spec, say=print)
    assert target.image is not None and target.modules is not None
    assert built.check(target.headers, "debug") == target.release
    wanted = kconfig.options(spec.fragments)
    assert {"CONFIG_KASAN", "CONFIG_PROVE_LOCKING", "CONFIG_DEBUG_KMEMLEAK", "CONFIG_UBSAN"} <= {option.name for option in wanted}
    assert kconfig.unmet(wanted, (target.headers / ".config").read_text()) == []


def test_the_module_passes_the_smoke_suite_in_a_guest_with_the_debug_kernel() -> None:
    done = tool.inv("validate", "--kernel", "debug", "--suite", "smoke", deadline=1800)
    assert done.returncode == 0, done.stdout
    record = recordschema.latest(tool.ROOT)
    (validated,) = (stage for stage in record["stages"] if stage["name"] == "validate")
    assert {suite["verdict"] for suite in validated["results"]["suites"]} == {"pass"}
    folder = tool.ROOT / ".runs" / record["id"] / "validate"
    (console,) = folder.glob("smoke-vexfs-kernel-*/console.log")
    boot = "".join(path.read_text(errors="replace") for path in (console, *folder.glob("smoke-vexfs-kernel-*/dmesg.txt")))
    for checker in ("KernelAddressSanitizer initialized", "Lock dependency validator", "kmemleak: Kernel memory leak detector initialized"):
        assert checker in boot, checker
