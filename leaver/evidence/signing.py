"""Signatures over bundles: DSSE envelopes round in-toto statements, ECDSA P-256 as any openssl can check.

Formats: DSSE v1 (github.com/secure-systems-lab/dsse, protocol.md and envelope.md) and in-toto Statement v1
(github.com/in-toto/attestation, spec/v1). The signature is DER over SHA-256 of the DSSE pre-authentication
encoding and deterministic (RFC 6979): the same content gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from leaver.domain.base import Facts
from leaver.evidence import keyfiles
from leaver.evidence.errors import KeyFileError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:leaver:evidence-bundle:v1"


class Signer(Protocol):
    """Whoever holds the evidence key: a file here, a key management service elsewhere."""

    @property
    def public_pem(self) -> bytes:
        """The public key, SubjectPublicKeyInfo in PEM."""
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over the message, DER; the same message gives the same signature."""
        ...


class FileSigner:
    """A P-256 key in a file, created when missing (mode 0600).

    Raises:
        KeyFileError: the file is unreadable, another kind of key, or readable by everybody.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            keyfiles.write_new(path, ec.generate_private_key(ec.SECP256R1()))
        key = keyfiles.read(path)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise KeyFileError(f"{path}: the evidence key must be an elliptic-curve key on P-256")
        self._key = key

    @property
    def public_pem(self) -> bytes:
        """The public key, SubjectPublicKeyInfo in PEM."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over the message, DER, deterministic by RFC 6979."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def load_public(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a P-256 public key.

    Raises:
        KeyFileError: it is something else.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as err:
        raise KeyFileError("this is not a public key in PEM") from err
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError("this is not an elliptic-curve key on P-256")
    return key


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 (hex) of the key's DER encoding: what people compare, and the envelope's ``keyid``."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's PAE: what is signed, so that neither type nor payload can be passed off as the other."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement(files: Mapping[str, bytes], predicate: Facts) -> bytes:
    """An in-toto Statement v1 over the files (bundle path to content), canonical JSON."""
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": hashlib.sha256(files[name]).hexdigest()}}
                for name in sorted(files)
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
    )


def envelope(payload: bytes, signer: Signer) -> bytes:
    """The signed DSSE envelope, canonical JSON."""
    signature = signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return rfc8785.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {
                    "keyid": fingerprint(load_public(signer.public_pem)),
                    "sig": base64.b64encode(signature).decode(),
                }
            ],
        }
    )


def signature_holds(key: ec.EllipticCurvePublicKey, payload_type: str, payload: bytes, sig: bytes) -> bool:
    """Whether ``sig`` (DER) is this key's signature over the payload of that type."""
    try:
        key.verify(sig, pre_authentication_encoding(payload_type, payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
