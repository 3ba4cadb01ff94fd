# SPDX-License-Identifier: Apache-2.0
"""Sigstore signatures of a release: bundles of an instance of the tests' own, which the library checks as it checks those of the world."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.errors import UsageError
from ci.model import Check, Verdict
from ci.release import check, papers, sigstore
from ci.release.check import Trust
from ci.release.sigstore import GITHUB_ISSUER, Signer
from tests.sigstore_instance import Instance

pytestmark = pytest.mark.unit

IDENTITY = "https://github.com/vexfs/vexfs/.github/workflows/release.yml@refs/tags/v0.1.0"


@pytest.fixture(scope="module")
def instance() -> Instance:
    return Instance()


@pytest.fixture
def signer(instance: Instance, tmp_path: Path) -> Signer:
    return Signer("vexfs/vexfs", GITHUB_ISSUER, str(instance.trusted_root(tmp_path / "root.json")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The part of a release that is signed."""
    made = tmp_path / "vexfs-0.1.0"
    made.mkdir()
    (made / papers.SUMS).write_text(f"{'0' * 64}  vexfs-0.1.0.tar.gz\n")
    return made


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / papers.SUMS).read_bytes()).hexdigest()


def attested(instance: Instance, folder: Path, name: str = papers.SIGSTORE[1], **more: Any) -> dict[str, Any]:
    """The folder with a bundle about all its files."""
    files = {papers.SUMS: digest(folder), "vexfs-0.1.0.tar.gz": "0" * 64}
    bundle = instance.attestation(**{"names": files, "identity": IDENTITY, "issuer": GITHUB_ISSUER, **more})
    (folder / name).write_text(json.dumps(bundle))
    return bundle


def test_an_attestation_of_the_release_workflow_is_good(instance: Instance, folder: Path, signer: Signer) -> None:
    attested(instance, folder)
    assert sigstore.problem(folder, signer, "0.1.0") == ""


def test_so_is_a_signature_of_the_sums_alone(instance: Instance, folder: Path, signer: Signer) -> None:
    bundle = instance.signature((folder / papers.SUMS).read_bytes(), IDENTITY, GITHUB_ISSUER)
    (folder / papers.SIGSTORE[0]).write_text(json.dumps(bundle))
    assert sigstore.problem(folder, signer, "0.1.0") == ""
    (folder / papers.SUMS).write_text(f"{'1' * 64}  vexfs-0.1.0.tar.gz\n")
    assert "digest mismatch" in sigstore.problem(folder, signer, "0.1.0")


def test_new_sums_are_seen(instance: Instance, folder: Path, signer: Signer) -> None:
    attested(instance, folder)
    (folder / papers.SUMS).write_text(f"{'1' * 64}  vexfs-0.1.0.tar.gz\n")
    assert "what was signed is another SHA256SUMS" in sigstore.problem(folder, signer, "0.1.0")


def test_a_statement_about_other_files_is_none_about_these(instance: Instance, folder: Path, signer: Signer) -> None:
    attested(instance, folder, names={"other": "2" * 64})
    assert "says nothing about SHA256SUMS" in sigstore.problem(folder, signer, "0.1.0")
    attested(instance, folder, type="https://example.org/other")
    assert "is no in-toto statement" in sigstore.problem(folder, signer, "0.1.0")


@pytest.mark.parametrize(
    ("identity", "issuer", "version", "said"),
    [
        ("mallory/vexfs", GITHUB_ISSUER, "0.1.0", "SANs do not match"),
        ("vexfs/vexfs", GITHUB_ISSUER, "0.2.0", "SANs do not match"),  # the release before, given out as this one
        ("https://github.com/vexfs/vexfs/.github/workflows/other.yml@refs/tags/v0.1.0", GITHUB_ISSUER, "0.1.0", "SANs do not match"),
        ("vexfs/vexfs", "https://accounts.example.org", "0.1.0", "OIDCIssuer does not match"),
    ],
)
def test_another_signer_is_not_believed(
    instance: Instance, folder: Path, signer: Signer, identity: str, issuer: str, version: str, said: str
) -> None:
    attested(instance, folder)
    assert said in sigstore.problem(folder, Signer(identity, issuer, signer.root), version)


def test_neither_is_an_instance_that_nobody_trusts(instance: Instance, folder: Path, signer: Signer) -> None:
    attested(Instance(), folder)
    assert "certificate chain" in sigstore.problem(folder, signer, "0.1.0")
    attested(instance, folder)
    assert "certificate chain" in sigstore.problem(folder, Signer("vexfs/vexfs"), "0.1.0"), "the keys of the world know nothing of it"


def payload(bundle: dict[str, Any]) -> None:
    envelope = bundle["dsseEnvelope"]
    envelope["payload"] = base64.b64encode(base64.b64decode(envelope["payload"]).replace(b"SHA256SUMS", b"SHA256SUMs")).decode()


def flipped(*path: str | int) -> Callable[[dict[str, Any]], None]:
    """Change one bit of what is there in base64."""

    def change(bundle: dict[str, Any]) -> None:
        at: Any = bundle
        for step in path[:-1]:
            at = at[step]
        data = bytearray(base64.b64decode(at[path[-1]]))
        data[-1] ^= 1
        at[path[-1]] = base64.b64encode(bytes(data)).decode()

    return change


ENTRY = ("verificationMaterial", "tlogEntries", 0)


@pytest.mark.parametrize(
    "change",
    [
        payload,
        flipped("dsseEnvelope", "signatures", 0, "sig"),
        flipped("verificationMaterial", "certificate", "rawBytes"),
        flipped(*ENTRY, "canonicalizedBody"),
        flipped(*ENTRY, "inclusionPromise", "signedEntryTimestamp"),
        flipped(*ENTRY, "inclusionProof", "rootHash"),
        lambda bundle: bundle["verificationMaterial"].update(tlogEntries=[]),
        lambda bundle: bundle["verificationMaterial"]["tlogEntries"][0].update(integratedTime="1900000000"),
        lambda bundle: bundle.update(mediaType="application/json"),
        lambda bundle: bundle.pop("dsseEnvelope"),
    ],
    ids=["payload", "signature", "certificate", "entry", "promise", "proof", "no entry", "another time", "another type", "no content"],
)
def test_a_changed_bundle_is_seen(instance: Instance, folder: Path, signer: Signer, change: Callable[[dict[str, Any]], object]) -> None:
    bundle = attested(instance, folder)
    change(bundle)
    (folder / papers.SIGSTORE[1]).write_text(json.dumps(bundle))
    assert "attestation.json: " in sigstore.problem(folder, signer, "0.1.0")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_what_is_no_bundle_is_said(folder: Path, signer: Signer, content: bytes) -> None:
    (folder / papers.SIGSTORE[0]).write_bytes(content)
    assert "SHA256SUMS.sigstore.json: " in sigstore.problem(folder, signer, "0.1.0")


def test_a_release_without_a_bundle_was_not_signed(folder: Path, signer: Signer) -> None:
    assert "was not signed by sigstore" in sigstore.problem(folder, signer, "0.1.0")


def test_keys_that_are_none_are_a_usage_error(instance: Instance, folder: Path, tmp_path: Path) -> None:
    attested(instance, folder)
    with pytest.raises(UsageError, match="there is no such file"):
        sigstore.problem(folder, Signer("a/b", root=str(tmp_path / "nowhere")), "0.1.0")
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(UsageError, match="holds no trusted keys"):
        sigstore.problem(folder, Signer("a/b", root=str(tmp_path / "bad")), "0.1.0")


def test_without_the_library_it_is_refused_and_not_passed_over(
    instance: Instance, folder: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    attested(instance, folder)
    monkeypatch.setitem(sys.modules, "sigstore.errors", None)
    with pytest.raises(UsageError, match="the library sigstore is not installed") as caught:
        sigstore.problem(folder, signer, "0.1.0")
    assert "requirements-sigstore.txt" in (caught.value.hint or "")


def test_an_identity_is_taken_as_it_is_unless_it_is_a_repository() -> None:
    assert Signer("vexfs/vexfs").certified("0.1.0") == IDENTITY
    assert Signer("release@example.org").certified("0.1.0") == "release@example.org"
    assert Signer(IDENTITY).certified("0.2.0") == IDENTITY


class TestVerify:
    def signatures(self, folder: Path, trust: Trust) -> list[Check]:
        return [found for found in check.verify(folder, trust) if found.id == "R2"]

    def test_the_check_names_who_signed(self, instance: Instance, folder: Path, signer: Signer) -> None:
        attested(instance, folder)
        trust = Trust(signer=Signer(IDENTITY, GITHUB_ISSUER, signer.root))
        (found,) = self.signatures(folder, trust)
        assert found.verdict is Verdict.PASS and IDENTITY in found.detail and GITHUB_ISSUER in found.detail

    def test_a_bundle_that_nobody_asked_about_is_no_foreign_file_and_is_not_silent(
        self, instance: Instance, folder: Path, tmp_path: Path
    ) -> None:
        attested(instance, folder)
        (tmp_path / "key.pub").write_text("no key")
        key, bundle = self.signatures(folder, Trust(public=str(tmp_path / "key.pub")))
        assert key.verdict is Verdict.FAIL and bundle.verdict is Verdict.SKIP and "--identity" in bundle.detail
        (hashes,) = (found for found in check.verify(folder, Trust(unsigned=True)) if found.id == "R1")
        assert "is missing" in hashes.detail, "the tarball is, and the bundle is not foreign"

    def test_a_bundle_alone_makes_nobody_trusted(self, instance: Instance, folder: Path) -> None:
        attested(instance, folder)
        (found,) = self.signatures(folder, Trust())
        assert found.verdict is Verdict.FAIL and "--identity OWNER/REPOSITORY" in found.detail
