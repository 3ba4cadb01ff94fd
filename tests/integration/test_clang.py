# SPDX-License-Identifier: Apache-2.0
"""The clang cell of the matrix, for real: a kernel that clang compiles, a module for it that clang compiles and vexci verifies."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from ci import packages
from tests import builds, recordschema, tool

_MISSING = [name for name in ("clang", "ld.lld", "llvm-ar") if packages.which(name) is None]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)} (apt-get install clang lld llvm)"),
]

MANIFEST = """\
version: 1
project: clang
artifacts:
  module:
    builder: kbuild
    folder: kernel
    module: demo
    kernels: [debian, small]
    toolchains: [gcc, clang]
    warnings: 0
    findings: {compiler: 0}
kernels:
  debian: {provider: apt, pattern: 6.12-cloud}
  small: {provider: source, package: linux-source-6.12, toolchain: clang, fragments: [small.config], on_request: true}
"""
SMALL = """\
CONFIG_64BIT=y
CONFIG_PRINTK=y
CONFIG_MULTIUSER=y
CONFIG_MODULES=y
CONFIG_MODULE_UNLOAD=y
CONFIG_MODVERSIONS=y
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clang")
    builds.module(root)
    (root / "small.config").write_text(SMALL)
    (root / "vexci.yaml").write_text(MANIFEST)
    return root


def test_for_a_kernel_of_gcc_clang_is_refused_before_anything_is_built(project: Path) -> None:
    done = tool.inv("build", "--toolchain", "clang", "--kernel", "debian", config=project / "vexci.yaml")
    assert done.returncode == 2, done.stdout
    assert "was compiled by gcc, and a module for it cannot be compiled by clang" in done.stdout
    assert "--toolchain gcc, or a kernel that clang compiled" in done.stdout and "Traceback" not in done.stdout
    assert not (project / ".build").exists()


@pytest.mark.soak
@pytest.mark.timeout(5500)
def test_for_a_kernel_of_clang_the_module_is_built_and_verified_with_clang_and_gcc_is_refused(project: Path) -> None:
    """Builds a kernel of some hundred files, once; without soak it would cost everybody minutes."""
    done = tool.inv("build", "--toolchain", "clang", "--kernel", "small", "verify", config=project / "vexci.yaml", deadline=5400)
    assert done.returncode == 0, done.stdout
    record = recordschema.latest(project)
    (made,) = record["artifacts"]
    assert made["toolchain"] == "clang" and made["target"].startswith("6.12.") and "-small-" in made["target"]
    with open(made["path"], "rb") as file:
        assert b"clang version" in ELFFile(file).get_section_by_name(".comment").data()
    checks = {(check["id"], check["name"]): check["verdict"] for check in record["stages"][-1]["checks"]}
    assert set(checks.values()) <= {"pass", "skip"} and sum(verdict == "pass" for verdict in checks.values()) >= 15, checks
    (paper,) = (project / ".runs" / record["id"] / "provenance").glob("*.provenance.intoto.json")
    assert '"toolchain": "clang"' in paper.read_text() and '"clang": "' in paper.read_text()
    other = tool.inv("build", "--kernel", "small", config=project / "vexci.yaml")
    assert other.returncode == 2 and "was compiled by clang, and a module for it cannot be compiled by gcc" in other.stdout
