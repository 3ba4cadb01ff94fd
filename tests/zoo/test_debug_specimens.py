# SPDX-License-Identifier: Apache-2.0
"""Modules whose defects only a kernel with checkers sees: each in a fresh guest with the kernel `debug`, where the suite smoke must condemn
cases that themselves passed. What has complained once (KASAN, lockdep) may be silent for the rest of that kernel's life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci import config, kernels
from ci.model import KernelTarget, SuiteResult, Verdict
from tests import tool
from tests.smokeguest import SmokeGuest, module, zoo_modules

DEFECTS = ("use_after_free", "lock_inversion", "sleeps_locked", "memory_leak", "object_leak")
pytestmark = [pytest.mark.zoo, pytest.mark.soak, pytest.mark.timeout(900)]
PATIENCE = 60.0  # seconds for one operation: kmemleak scans all memory


@pytest.fixture(scope="module")
def kernel() -> KernelTarget:
    return kernels.resolve(config.read(tool.ROOT / "vexci.yaml").kernel("debug"), say=print)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory, kernel: KernelTarget) -> Path:
    return zoo_modules(tmp_path_factory.mktemp("zoo") / "modules", kernel, " ".join(("good", *DEFECTS)))


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[SmokeGuest]:
    with SmokeGuest(tmp_path, "debug", memory=1024) as fresh:
        yield fresh


def judge(guest: SmokeGuest, modules: Path, kernel: KernelTarget, defect: str, *only: str) -> SuiteResult:
    spec, artifact = module(modules, defect, kernel)
    guest.deploy(spec, artifact)
    return guest.judge(spec, artifact, only=only, operation_deadline=PATIENCE)


def test_without_a_defect_the_checkers_are_silent(guest: SmokeGuest, modules: Path, kernel: KernelTarget) -> None:
    result = judge(guest, modules, kernel, "good")
    assert (result.verdict, result.detail) == (Verdict.PASS, "29 pass")


@pytest.mark.parametrize(
    ("defect", "case", "words", "itself"),
    [
        ("use_after_free", "mkdir", "K5 BUG: KASAN: slab-use-after-free in zoo_iterate", "pass"),
        ("lock_inversion", "unlink", "K3 WARNING: possible circular locking dependency detected", "pass"),
        ("sleeps_locked", "unlink", "K2 BUG: sleeping function called from invalid context at ", "pass"),
        ("memory_leak", "unload", "K6 kmemleak: 1 new suspected memory leaks", "fail, memory of zoo_memory_leak has leaked: "),
        ("object_leak", "unload", "K6 BUG zoo_object_leak_cache", "pass"),
    ],
)
def test_what_only_a_checker_sees_condemns_the_case(
    guest: SmokeGuest, modules: Path, kernel: KernelTarget, defect: str, case: str, words: str, itself: str
) -> None:
    result = judge(guest, modules, kernel, defect, "load", "mount", "mkdir", "unlink", "unmount", "unload")
    assert result.verdict is Verdict.PANIC, result.detail
    assert words in result.detail
    (blamed,) = (item for item in result.cases if item.id == case)
    assert blamed.verdict is Verdict.PANIC and blamed.detail.startswith(words), result.detail
    assert f"; the case itself: {itself}" in blamed.detail, blamed.detail
