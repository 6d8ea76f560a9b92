"""Keys in files: PKCS #8 PEM, created when missing, readable by their owner only."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from leaver.evidence import keyfiles
from leaver.evidence.errors import KeyFileError
from leaver.evidence.keys.public import public_pem
from leaver.evidence.log.notes import NoteSignature, NoteVerifier


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
        return public_pem(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over the message, DER, deterministic by RFC 6979."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


class FileLogSigner:
    """The log's Ed25519 key in a file, created when missing (mode 0600).

    Args:
        path: the file.
        name: the log's name, e.g. ``example.com/leaver``.

    Raises:
        KeyFileError: the file is unreadable, another kind of key, or readable by everybody.
        MalformedNoteError: the name is not one a key may have.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._key = _ed25519(path)
        self._verifier = NoteVerifier(name, self._key.public_key().public_bytes_raw())

    @property
    def name(self) -> str:
        """The name in the signature line."""
        return self._verifier.name

    @property
    def public(self) -> bytes:
        """The public key, its 32 bytes."""
        return self._verifier.public

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return self._verifier.vkey

    def sign_note(self, text: bytes) -> NoteSignature:
        """The signature line for a note's text."""
        return NoteSignature(self.name, self._verifier.key_id, self._key.sign(text))


def _ed25519(path: Path) -> ed25519.Ed25519PrivateKey:
    if not path.exists():
        keyfiles.write_new(path, ed25519.Ed25519PrivateKey.generate())
    key = keyfiles.read(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise KeyFileError(f"{path}: the log key must be an Ed25519 key")
    return key
