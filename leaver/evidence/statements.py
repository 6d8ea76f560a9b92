"""Signed statements: how a person's word about a case is signed and checked.

Ed25519 over the canonical JSON (RFC 8785) of the statement's body. The private key stays with the person; the
registry of people (``people.py``) holds the public half.

Example::

    key = new_person_key(Path("manager.pem"))       # once; key.key_id and key.public_key go into the registry
    statement = sign_statement(body, Path("manager.pem"))
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from leaver.domain.base import canonical
from leaver.domain.statement import Statement, StatementBody
from leaver.evidence import keyfiles
from leaver.evidence.errors import KeyFileError


@dataclass(frozen=True, slots=True)
class PersonKey:
    """The public half of a person's key, as the registry wants it: base64 of 32 bytes, and its id."""

    key_id: str
    public_key: str


def new_person_key(path: Path) -> PersonKey:
    """Make a key for a person and write it to a new file (PKCS #8 PEM, mode 0600).

    Raises:
        KeyFileError: there is a file already, or the folder cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    if not keyfiles.write_new(path, key):
        raise KeyFileError(f"{path}: there is a file already; a key is never overwritten")
    return _public(key)


def person_key(path: Path) -> PersonKey:
    """The public half of a key file.

    Raises:
        KeyFileError: it is not an Ed25519 private key, or everybody can read it.
    """
    return _public(_load(path))


def sign_statement(body: StatementBody, key_file: Path) -> Statement:
    """Sign a statement with the person's key.

    Raises:
        KeyFileError: it is not an Ed25519 private key, or everybody can read it.
    """
    key = _load(key_file)
    signature = base64.b64encode(key.sign(canonical(body))).decode()
    return Statement(body=body, key_id=_public(key).key_id, signature=signature)


def statement_holds(statement: Statement, public_key: bytes) -> bool:
    """Whether the signature is that key's (32 bytes) over the statement's body."""
    try:
        signature = base64.b64decode(statement.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, canonical(statement.body))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def statement_sha256(statement: Statement) -> str:
    """SHA-256 (hex) of the canonical body: what evidence records of a statement."""
    return hashlib.sha256(canonical(statement.body)).hexdigest()


def key_id(public_key: bytes) -> str:
    """The id of a public key (32 bytes): ``k-`` and the first 32 hex digits of its SHA-256."""
    return f"k-{hashlib.sha256(public_key).hexdigest()[:32]}"


def _load(path: Path) -> Ed25519PrivateKey:
    key = keyfiles.read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: a person's key must be an Ed25519 key")
    return key


def _public(key: Ed25519PrivateKey) -> PersonKey:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return PersonKey(key_id=key_id(raw), public_key=base64.b64encode(raw).decode())
