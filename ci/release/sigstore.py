# SPDX-License-Identifier: Apache-2.0
"""Sigstore signatures of SHA256SUMS: who signed, in which transparency log, checked from files alone.

Two kinds of bundle (docs.sigstore.dev, "Sigstore Bundle Format") are understood: an in-toto statement about the files, as GitHub's
attestations are, and a signature over the file itself, as `sigstore sign` makes it. The library `sigstore` checks the certificate, the log
and the signature; what is left to do here is to see that it is all about this very file.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ci import store
from ci.errors import UsageError
from ci.provenance.statement import STATEMENT
from ci.release.papers import SIGSTORE, SUMS

if TYPE_CHECKING:
    from sigstore.models import Bundle, TrustedRoot

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
_GITHUB_WORKFLOW = "https://github.com/{repository}/.github/workflows/release.yml@refs/tags/v{version}"
_PAYLOAD = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Signer:
    """Who must have signed. `identity` is the certificate's, or OWNER/REPOSITORY for the release workflow of that repository on GitHub;
    `issuer` is who vouches for it, and `root` a file of trusted keys in place of those that the library brings."""

    identity: str = ""
    issuer: str = GITHUB_ISSUER
    root: str = ""

    def certified(self, version: str) -> str:
        """The identity that the certificate must have, for a release of that version."""
        short = self.identity.count("/") == 1 and ":" not in self.identity and "@" not in self.identity
        return _GITHUB_WORKFLOW.format(repository=self.identity, version=version) if short else self.identity


def bundle_of(folder: Path) -> Path | None:
    """The bundle in a release's folder."""
    return next((folder / name for name in SIGSTORE if (folder / name).is_file()), None)


def problem(folder: Path, signer: Signer, version: str) -> str:
    """Why the bundle does not show that this signer signed SHA256SUMS; empty where it does. UsageError where it cannot be checked here."""
    path = bundle_of(folder)
    if path is None:
        return f"there is no {' or '.join(SIGSTORE)}: this release was not signed by sigstore"
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle
    except ImportError as error:
        raise UsageError(
            f"{path.name} cannot be checked: the library sigstore is not installed here ({error})",
            hint="./inv release.verify sets it up where --identity is given; else: pip install -r requirements-sigstore.txt",
        ) from error
    root = _root(signer)
    try:
        return _problem(folder, Bundle.from_json(path.read_bytes()), root, signer, version)
    except (Error, ValueError) as error:
        return f"{path.name}: {' '.join(str(error).split()) or type(error).__name__}"


def _root(signer: Signer) -> TrustedRoot:
    """The trusted keys: the given file's, else those that came with the library or that it has fetched before. The network is not asked."""
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig, TrustedRoot

    if not signer.root:
        logging.getLogger("sigstore").setLevel(logging.ERROR)  # it warns that it is offline, which is what was wanted
        return ClientTrustConfig.production(offline=True).trusted_root
    if not Path(signer.root).is_file():
        raise UsageError(f"--trusted-root {signer.root}: there is no such file", hint="'gh attestation trusted-root' prints one")
    try:
        return TrustedRoot.from_file(signer.root)
    except (Error, ValueError) as error:
        raise UsageError(f"--trusted-root {signer.root} holds no trusted keys: {' '.join(str(error).split())[:200]}") from error


def _problem(folder: Path, bundle: Bundle, root: TrustedRoot, signer: Signer, version: str) -> str:
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    verifier = Verifier(trusted_root=root)
    policy = Identity(identity=signer.certified(version), issuer=signer.issuer)
    if "dsseEnvelope" not in json.loads(bundle.to_json()):
        verifier.verify_artifact((folder / SUMS).read_bytes(), bundle, policy)
        return ""
    kind, payload = verifier.verify_dsse(bundle, policy)
    return _about(kind, payload, store.sha256_file(folder / SUMS))


def _about(kind: str, payload: bytes, digest: str) -> str:
    """Why a signed statement is not about SHA256SUMS with this hash; empty where it is."""
    content: dict[str, Any] = json.loads(payload) if kind == _PAYLOAD else {}
    if content.get("_type") != STATEMENT:
        return f"what was signed is no in-toto statement but {kind}"
    seen = {row.get("name"): row.get("digest", {}).get("sha256") for row in content.get("subject", [])}
    if SUMS not in seen:
        return f"what was signed says nothing about {SUMS}"
    return (
        "" if seen[SUMS] == digest else f"what was signed is another {SUMS}: its hash is {str(seen[SUMS])[:12]}…, this one's {digest[:12]}…"
    )
