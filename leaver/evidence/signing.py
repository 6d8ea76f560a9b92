"""Signatures over bundles: DSSE envelopes round in-toto statements, ECDSA P-256 as any openssl can check.

Formats: DSSE v1 (github.com/secure-systems-lab/dsse, protocol.md and envelope.md) and in-toto Statement v1
(github.com/in-toto/attestation, spec/v1). The signature is DER over SHA-256 of the DSSE pre-authentication
encoding. A key in a file signs deterministically (RFC 6979), so that the same content gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from leaver.domain.base import Facts
from leaver.evidence.keys.model import Signer
from leaver.evidence.keys.public import fingerprint, load_public

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:leaver:evidence-bundle:v2"


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
