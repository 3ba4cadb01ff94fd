# SPDX-License-Identifier: Apache-2.0
"""Verification refuses each module of tests/zoo/modules for its one defect and for nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ci import build, kernels, store, verify
from ci.build.job import Job
from ci.manifest import ArtifactSpec, KernelSpec
from ci.model import Artifact, Check, KernelTarget, Verdict
from ci.verify.subject import Subject
from tests import builds

pytestmark = pytest.mark.zoo

SPECIMENS = Path(__file__).with_name("modules")


@dataclass(frozen=True)
class Zoo:
    """All specimens, built for one kernel by one make."""

    job: Job
    artifact: Artifact

    def verify(self, name: str, spec: ArtifactSpec | None = None, change: Callable[[Path], None] | None = None) -> list[Check]:
        """The checks of the module `name`, changed by `change` after its build, as if the build had made it so."""
        path = self.artifact.path.with_name(f"{name}.ko")
        if change is not None:
            changed = path.with_name(f"{name}_changed.ko")
            shutil.copy(path, changed)
            shutil.copy(path.with_suffix(".mod"), changed.with_suffix(".mod"))
            change(changed)
            path = changed
        own = replace(spec or self.job.spec, output=f"{name}.ko")
        made = replace(self.artifact, path=path, sha256=store.sha256_file(path), size=path.stat().st_size)
        return verify.verify(Subject(made, own, self.job.kernel, made.inputs_sha256, self.job.run))

    def wrong(self, name: str, spec: ArtifactSpec | None = None, change: Callable[[Path], None] | None = None) -> list[tuple[str, str]]:
        return [(check.id, check.detail) for check in self.verify(name, spec, change) if check.verdict is not Verdict.PASS]


@pytest.fixture(scope="module", params=["6.1-cloud", "6.12-cloud"])
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    kernel: KernelTarget = kernels.resolve(KernelSpec("target", "apt", request.param), say=print)
    root = tmp_path_factory.mktemp("zoo")
    shutil.copytree(SPECIMENS, root / "kernel")
    spec = replace(builds.MODULE, output="good.ko", variables=(("KBUILD_MODPOST_WARN", "1"),))
    job = builds.job(root, spec, kernel)
    yield Zoo(job, build.build(job))


def test_the_control_passes_everything(zoo: Zoo) -> None:
    assert zoo.wrong("good") == []


@pytest.mark.parametrize(
    ("name", "id", "says"),
    [
        ("unresolved", "V1", "does not export 'zoo_no_kernel_has_this' (used by unresolved.c)"),
        ("soft_float", "V2", "the compiler calls '__fixunssfsi' (used by soft_float.c)"),
        ("div128", "V2", "'__udivti3' (used by div128.c), which no kernel has: use integers"),
        ("dsp", "V2", "'cvtsi2ss %edi,%xmm0' in zoo_vector() of dsp_float.c"),
        ("unguarded", "V2", "in zoo_defect() of unguarded.c: it would destroy the registers of user space"),
        ("got", "V2", "R_X86_64_REX_GOTPCRELX for '_printk' in zoo_defect() (.text+"),
        ("wx", "V3", ".zoo_wx: writable and executable"),
        ("frame", "V3", "zoo_defect() at frame.c:7: 30"),
        ("unbounded", "V3", "zoo_defect() at unbounded.c:7: a size that is known only when it runs"),
        ("debug_define", "V3", "1 of its pr_debug() messages are printed without being asked for"),
        ("debug_flag", "V3", "debug_flag.c is compiled with -DDEBUG"),
        ("trace", "V3", "it calls trace_printk()"),
        ("no_version", "V1", "none: add MODULE_VERSION"),
    ],
)
def test_a_broken_module_fails_for_its_defect_and_nothing_else(zoo: Zoo, name: str, id: str, says: str) -> None:
    wrong = zoo.wrong(name)
    assert [each for each, _ in wrong] == [id], wrong
    assert says in wrong[0][1]


def replaced(old: bytes, new: bytes) -> Callable[[Path], None]:
    """A change of some bytes that must be there, in place."""
    assert len(old) == len(new)

    def change(path: Path) -> None:
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))

    return change


def crc_of(symbol: bytes) -> Callable[[Path], None]:
    """Another CRC for one symbol, as headers with another structure would give it."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        at = data.index(symbol.ljust(56, b"\0")) - 8
        data[at] ^= 0xFF
        path.write_bytes(bytes(data))

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replaced(b"import_ns=DMA_BUF\0", b"import_xx=DMA_BUF\0"), "is in the namespace DMA_BUF: add MODULE_IMPORT_NS(DMA_BUF)"),
        (crc_of(b"dma_buf_get"), "dma_buf_get: built against other headers (dma_buf_get has 0x"),
        (crc_of(b"module_layout"), "insmod would say 'disagrees about version of symbol'"),
        (replaced(b"dma_buf_put".ljust(56, b"\0"), b"dma_buf_xxx".ljust(56, b"\0")), "no CRC for dma_buf_put"),
        (replaced(b"\0__versions\0", b"\0__somewhat\0"), "it carries no versions (no __versions section)"),
    ],
    ids=["namespace not imported", "another CRC", "another kernel's layout", "one CRC missing", "no CRCs"],
)
def test_a_module_that_another_modpost_let_pass_fails_v1(zoo: Zoo, change: Callable[[Path], None], says: str) -> None:
    assert zoo.wrong("imports") == []
    wrong = zoo.wrong("imports", change=change)
    assert [id for id, _ in wrong] == ["V1"], wrong
    assert says in wrong[0][1]


def test_gpl_only_symbols_are_not_for_every_license(zoo: Zoo) -> None:
    wrong = zoo.wrong("imports", change=replaced(b"license=GPL\0", b"license=XYZ\0"))
    assert [id for id, _ in wrong] == ["V1", "V1"], wrong
    assert any("license 'XYZ' may not use the GPL-only dma_buf_get, dma_buf_put" in detail for _, detail in wrong)


def test_without_the_kernels_list_of_symbols_nothing_is_believed(zoo: Zoo, tmp_path: Path) -> None:
    assert zoo.job.kernel is not None
    bare = replace(zoo, job=replace(zoo.job, kernel=replace(zoo.job.kernel, headers=tmp_path)))
    wrong = bare.wrong("good")
    assert [id for id, _ in wrong] == ["V1"] and f"{tmp_path}/Module.symvers is not there" in wrong[0][1]


def test_floating_point_is_for_the_declared_file_alone_and_must_be_guarded(zoo: Zoo) -> None:
    def declared(*files: str) -> ArtifactSpec:
        return replace(zoo.job.spec, floating_point=files)

    assert zoo.wrong("dsp", declared("dsp_float.c")) == []
    (other,) = zoo.wrong("dsp", declared("dsp_main.c"))
    assert other[0] == "V2" and "of dsp_float.c" in other[1]
    (alien,) = zoo.wrong("dsp", declared("dsp_float.c", "got.c"))
    assert alien[0] == "V2" and "names got.c, which is not in this module" in alien[1]
    (unguarded,) = zoo.wrong("unguarded", declared("unguarded.c"))
    assert unguarded[0] == "V2" and "never calls kernel_fpu_begin()" in unguarded[1]


def test_what_the_compiler_said_of_the_stack_must_be_there(zoo: Zoo) -> None:
    figures = zoo.artifact.path.with_name("trace.su")
    kept = figures.rename(figures.with_suffix(".gone"))
    wrong = zoo.wrong("trace")
    kept.rename(figures)
    assert "the compiler left no figures for trace.c" in dict(reversed(wrong))["V3"]


def test_a_module_that_was_linked_from_who_knows_what_fails(zoo: Zoo) -> None:
    listing = zoo.artifact.path.with_name("trace.mod")
    kept = listing.rename(listing.with_suffix(".gone"))
    wrong = zoo.wrong("trace")
    kept.rename(listing)
    assert ("B7", "Kbuild's list of its objects, trace.mod, is not beside it; run './inv build'") in wrong
