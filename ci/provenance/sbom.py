# SPDX-License-Identifier: Apache-2.0
"""A CycloneDX 1.6 bill of materials, the same bytes for the same build: its serial number and its time come from that."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from ci import store
from ci.model import Kind
from ci.provenance.crates import Crate
from ci.provenance.facts import Facts, header_files

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:vexci:sbom")


def make(facts: Facts, own: Crate | None, crates: list[Crate]) -> str:
    """The bill as JSON text. `own` is the crate that has the binary, where it is one."""
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, facts.key()))
    bom.metadata.timestamp = datetime.fromtimestamp(facts.time or facts.artifact.started, timezone.utc)
    root = _artifact(facts, own)
    bom.metadata.component = root
    for name, version in sorted(facts.tools.items()):
        bom.metadata.tools.components.add(Component(type=ComponentType.APPLICATION, name=name, version=version, bom_ref=f"tool:{name}"))
    parts = {crate.id: _crate(crate) for crate in crates}
    files = [_file(facts, path) for path in facts.inputs]
    headers = _headers(facts)
    for component in (*parts.values(), *files, *headers):
        bom.components.add(component)
    needed = own.needs if own is not None else ()
    bom.register_dependency(root, [*(parts[id] for id in needed if id in parts), *files, *headers])
    for crate in crates:
        bom.register_dependency(parts[crate.id], [parts[id] for id in crate.needs if id in parts])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"


def _sha256(digest: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def _artifact(facts: Facts, own: Crate | None) -> Component:
    artifact = facts.artifact
    module = artifact.kind is Kind.KERNEL_MODULE
    license = facts.spec.license if module else own.license if own else ""
    state = " with changes" if artifact.dirty else ""
    return Component(
        type=ComponentType.DEVICE_DRIVER if module else ComponentType.APPLICATION,
        name=artifact.path.name,
        version=facts.release or (own.version if own else None),
        bom_ref=f"artifact:{artifact.name}:{artifact.target}",
        hashes=_sha256(artifact.sha256),
        licenses=[LicenseFactory().make_from_string(license)] if license else None,
        description=f"{artifact.name} for {artifact.target}, built from commit {artifact.commit}{state}",
    )


def _crate(crate: Crate) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=crate.name,
        version=crate.version,
        purl=PackageURL("cargo", None, crate.name, crate.version),
        bom_ref=crate.purl,
        hashes=_sha256(crate.sha256) if crate.sha256 else None,
        licenses=[LicenseFactory().make_from_string(crate.license)] if crate.license else None,
    )


def _file(facts: Facts, path: Path) -> Component:
    name = facts.relative(path)
    return Component(type=ComponentType.FILE, name=name, bom_ref=f"file:{name}", hashes=_sha256(store.sha256_file(path)))


def _headers(facts: Facts) -> list[Component]:
    """The kernel's headers as one component: its hash is that of the files which fix what they are."""
    if facts.kernel is None:
        return []
    digest = store.sha256_tree(facts.kernel.headers, header_files(facts.kernel))
    name = f"linux-headers-{facts.kernel.release}"
    return [
        Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=facts.kernel.release,
            bom_ref=f"kernel:{facts.kernel.release}",
            hashes=_sha256(digest),
            description=facts.kernel.origin or None,
        )
    ]
