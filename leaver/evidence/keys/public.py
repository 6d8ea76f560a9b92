"""Public P-256 keys: reading them and naming them."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from leaver.evidence.errors import KeyFileError


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


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """The key as SubjectPublicKeyInfo in PEM: what openssl reads."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 (hex) of the key's DER encoding: what people compare, and the envelope's ``keyid``."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
