# SPDX-License-Identifier: Apache-2.0
"""The crash suite on the project's own artifacts in a real guest; and on a disk that lies, where it must fail (T8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ci.manifest import ArtifactSpec, SuiteSpec
from ci.model import Artifact, SuiteResult, Verdict
from ci.validate import run_suite
from tests.integration.test_smoke import MANIFEST, built
from tests.smokeguest import Since, SmokeGuest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CRASH: SuiteSpec = next(suite for suite in MANIFEST.suites if suite.name == "crash")
Product = tuple[ArtifactSpec, Artifact]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmokeGuest]:
    with SmokeGuest(tmp_path_factory.mktemp("guest")) as shared:
        for tool in (item.name for item in MANIFEST.artifacts if not item.mount):
            shared.deploy(*built(MANIFEST, tool, tmp_path_factory.mktemp("build")))
        yield shared


@pytest.fixture(scope="module", params=CRASH.artifacts)
def product(request: pytest.FixtureRequest, guest: SmokeGuest, tmp_path_factory: pytest.TempPathFactory) -> Product:
    made = built(MANIFEST, request.param, tmp_path_factory.mktemp("build"))
    guest.deploy(*made)
    return made


def judged(guest: SmokeGuest, product: Product, *only: str, **options: str) -> SuiteResult:
    suite = replace(CRASH, minimum=1, options=tuple({**dict(CRASH.options), **options}.items()))
    return run_suite(Since(guest.machine()), suite, *product, run=guest.run, only=only)


def test_what_was_fsynced_is_there_after_every_crash(guest: SmokeGuest, product: Product) -> None:
    result = judged(guest, product)
    assert {case.verdict for case in result.cases} == {Verdict.PASS}, result.detail
    assert len(result.cases) == CRASH.minimum
    for case in result.cases:
        if case.id != "load":
            assert "promises kept" in case.detail and "vectors" in case.detail, case


def test_a_disk_that_forgets_what_it_was_told_to_flush_is_found_out(guest: SmokeGuest, product: Product) -> None:
    result = judged(guest, product, "load", "recorded-1", lying_disk="yes")
    (case,) = (case for case in result.cases if case.id == "recorded-1")
    assert (result.verdict, case.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "after a cut behind write" in case.detail
    assert result.evidence
