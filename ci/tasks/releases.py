# SPDX-License-Identifier: Apache-2.0
"""The collection `release`: make one, and check one."""

from __future__ import annotations

from invoke.context import Context

from ci.tasks.base import JSON, KVM, session, task


@task(
    name="make",
    help={
        "version": "The version to release, as vexci.yaml has it (1.2.3).",
        "records": "Folders with the records of its tests (a,b); this project's own where none are named.",
        "key": "Sign with this minisign secret key file.",
        "gpg-key": "Sign with this key of gpg.",
        "output": "The folder to make; dist/PROJECT-VERSION where none is named.",
        "prebuilt": "Also put the built modules in, one for each kernel.",
        **JSON,
    },
)
def release(
    ctx: Context,
    version: str = "",
    records: str = "",
    key: str = "",
    gpg_key: str = "",
    output: str = "",
    prebuilt: bool = False,
    json: bool = False,
) -> None:
    """Make source tarballs, packages, and the papers that prove them, of a clean, tagged and tested commit; or say why not."""
    from ci.pipeline import releasing
    from ci.release.papers import Key

    releasing.release(session(), releasing.Wanted(version, Key(key, gpg_key), records, output, prebuilt))


@task(
    name="verify",
    help={
        "folder": "The folder with the downloaded files.",
        "public-key": "The public key file (minisign) that it must be signed with.",
        "keyring": "The keyring file (gpg) with the key that it must be signed with.",
        "identity": "Who must have signed it by sigstore: OWNER/REPOSITORY on GitHub, or the certificate's whole identity.",
        "issuer": "Who vouches for that identity (an OpenID Connect issuer); GitHub's where none is named.",
        "trusted-root": "The file with sigstore's keys; those that the library brings where none is named.",
        "unsigned": "Do not look at the signature.",
    },
)
def release_verify(
    ctx: Context,
    folder: str,
    public_key: str = "",
    keyring: str = "",
    identity: str = "",
    issuer: str = "",
    trusted_root: str = "",
    unsigned: bool = False,
) -> None:
    """Check a downloaded release: hashes, signature, provenance, bills of materials, and what the packages hold."""
    from ci.pipeline import releasing
    from ci.release.check import Trust
    from ci.release.sigstore import GITHUB_ISSUER, Signer

    signer = Signer(identity, issuer or GITHUB_ISSUER, trusted_root)
    releasing.verify(folder, Trust(public_key, keyring, signer, unsigned))


@task(
    name="prove",
    help={
        "folder": "The folder with the release.",
        "previous": "The folder with the release before: installed first, then upgraded.",
        "suite": "What must pass on what was installed (a,b).",
        "machine": "Only on these machines of vexci.yaml (a,b).",
        "image": "Only in guests of these images of vexci.yaml (a,b), a given cloud image among them.",
        "format": "The packages to install, deb or rpm; what the guest's own tools install where none is named.",
        **KVM,
        **JSON,
    },
)
def release_prove(
    ctx: Context,
    folder: str,
    previous: str = "",
    suite: str = "smoke",
    machine: str = "",
    image: str = "",
    format: str = "",
    require_kvm: bool = False,
    json: bool = False,
) -> None:
    """Install the packages of a release in a clean guest, run the suites on them, upgrade, and remove them without a trace."""
    from ci.pipeline import proving

    proving.release(session(), proving.Wanted(folder, previous, suite, machine, image, format), require_kvm=require_kvm)
