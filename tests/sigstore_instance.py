# SPDX-License-Identifier: Apache-2.0
"""A sigstore instance of the tests' own: a certificate authority, a log of certificates, a transparency log, and bundles that they made.

Everything is real but the keys: the library checks each signature, under a trusted root that names this instance. Formats: RFC 5280 and
RFC 6962 (certificates and their log), the DSSE envelope, Rekor's entries and checkpoints, Sigstore's bundle v0.3 and trusted root v0.1.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

ISSUER_OID = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
SCT_OID = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
PAYLOAD = "application/vnd.in-toto+json"
EC = "PKIX_ECDSA_P256_SHA_256"
SHA256 = ec.ECDSA(hashes.SHA256())
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
SIGNED = BEGIN + datetime.timedelta(days=30)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def canonical(value: object) -> bytes:
    """RFC 8785, for values without floating point or characters outside ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Instance:
    def __init__(self) -> None:
        self.authority, self.certificates, self.log = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        self.root = (
            x509.CertificateBuilder(name, name, self.authority.public_key(), 1, BEGIN, BEGIN + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(True, 1), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.authority.public_key()), critical=False)
            .add_extension(_usage(sign_certificates=True), critical=True)
            .sign(self.authority, hashes.SHA256())
        )

    def trusted_root(self, path: Path) -> Path:
        """Write the file that makes a verifier trust this instance."""
        times = {"start": BEGIN.isoformat().replace("+00:00", "Z")}
        authority = {
            "subject": {"organization": "test", "commonName": "test"},
            "uri": "https://fulcio.example.org",
            "certChain": {"certificates": [{"rawBytes": text(self.root.public_bytes(serialization.Encoding.DER))}]},
            "validFor": times,
        }
        content = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(self.log, "https://rekor.example.org", times)],
            "certificateAuthorities": [authority],
            "ctlogs": [self._log(self.certificates, "https://ct.example.org", times)],
            "timestampAuthorities": [],
        }
        path.write_text(json.dumps(content))
        return path

    @staticmethod
    def _log(key: ec.EllipticCurvePrivateKey, url: str, times: dict[str, str]) -> dict[str, Any]:
        public = {"rawBytes": text(_der(key)), "keyDetails": EC, "validFor": times}
        return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": {"keyId": text(_id(key))}}

    def attestation(
        self, names: dict[str, str], identity: str, issuer: str, *, type: str = "https://in-toto.io/Statement/v1"
    ) -> dict[str, Any]:
        """The bundle of a statement about files (SHA-256 by name), as GitHub's action makes it."""
        subject = [{"name": name, "digest": {"sha256": digest}} for name, digest in names.items()]
        payload = json.dumps(
            {"_type": type, "subject": subject, "predicateType": "https://slsa.dev/provenance/v1", "predicate": {}}
        ).encode()
        key, certificate = self._certificate(identity, issuer)
        signature = key.sign(b"DSSEv1 %d %s %d %s" % (len(PAYLOAD), PAYLOAD.encode(), len(payload), payload), SHA256)
        envelope = {"payload": text(payload), "payloadType": PAYLOAD, "signatures": [{"sig": text(signature)}]}
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(canonical(envelope)).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": text(signature), "verifier": text(_pem(certificate))}],
        }
        return self._bundle("dsse", spec, certificate, {"dsseEnvelope": envelope})

    def signature(self, data: bytes, identity: str, issuer: str) -> dict[str, Any]:
        """The bundle of a signature over a file, as `sigstore sign` makes it."""
        key, certificate = self._certificate(identity, issuer)
        digest, signature = hashlib.sha256(data), key.sign(data, SHA256)
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": digest.hexdigest()}},
            "signature": {"content": text(signature), "publicKey": {"content": text(_pem(certificate))}},
        }
        message = {"messageDigest": {"algorithm": "SHA2_256", "digest": text(digest.digest())}, "signature": text(signature)}
        return self._bundle("hashedrekord", spec, certificate, {"messageSignature": message})

    def _bundle(self, kind: str, spec: dict[str, Any], certificate: x509.Certificate, content: dict[str, Any]) -> dict[str, Any]:
        material = {
            "certificate": {"rawBytes": text(certificate.public_bytes(serialization.Encoding.DER))},
            "tlogEntries": [self._entry(canonical({"apiVersion": "0.0.1", "kind": kind, "spec": spec}), kind)],
            "timestampVerificationData": {"rfc3161Timestamps": []},
        }
        return {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material, **content}

    def _entry(self, body: bytes, kind: str) -> dict[str, Any]:
        """The only entry of a log: its promise, and the proof that it is there."""
        time, root = int(SIGNED.timestamp()), hashlib.sha256(b"\0" + body).digest()
        promise = canonical({"body": text(body), "integratedTime": time, "logID": _id(self.log).hex(), "logIndex": 0})
        note = f"rekor.example.org - 1\n1\n{text(root)}\n"
        mark = text(_id(self.log)[:4] + self.log.sign(note.encode(), SHA256))
        proof = {"logIndex": "0", "rootHash": text(root), "treeSize": "1", "hashes": []}
        return {
            "logIndex": "0",
            "logId": {"keyId": text(_id(self.log))},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": text(self.log.sign(promise, SHA256))},
            "inclusionProof": {**proof, "checkpoint": {"envelope": f"{note}\n— rekor.example.org {mark}\n"}},
            "canonicalizedBody": text(body),
        }

    def _certificate(self, identity: str, issuer: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        """A key of ten minutes and its certificate, which the log of certificates has seen."""
        key = ec.generate_private_key(ec.SECP256R1())
        ends = (SIGNED - datetime.timedelta(minutes=1), SIGNED + datetime.timedelta(minutes=9))
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key())
        builder = (
            x509.CertificateBuilder(self.root.subject, x509.Name([]), key.public_key(), 2, *ends)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER_OID, issuer.encode()), critical=False)
        )
        unseen = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        seen = builder.add_extension(x509.UnrecognizedExtension(SCT_OID, self._seen(unseen)), critical=False)
        return key, seen.sign(self.authority, hashes.SHA256())

    def _seen(self, certificate: bytes) -> bytes:
        """The list of signed timestamps (RFC 6962, 3.2 and 3.3) with one entry, in DER."""
        head = struct.pack("!BBQH", 0, 0, int(SIGNED.timestamp() * 1000), 1)
        size = struct.pack("!I", len(certificate))[1:]
        signature = self.certificates.sign(head + _id(self.authority) + size + certificate + b"\0\0", SHA256)
        stamp = b"\0" + _id(self.certificates) + head[2:10] + b"\0\0" + b"\4\3" + struct.pack("!H", len(signature)) + signature
        data = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        return b"\4\x81" + bytes([len(data)]) + data if len(data) > 127 else b"\4" + bytes([len(data)]) + data


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    rest = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    more = {"encipher_only": False, "decipher_only": False, "crl_sign": sign_certificates}
    return x509.KeyUsage(digital_signature=not sign_certificates, key_cert_sign=sign_certificates, **rest, **more)


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_der(key)).digest()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
