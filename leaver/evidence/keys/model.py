"""What signs: the two kinds of keys, whoever holds them."""

from __future__ import annotations

from typing import Protocol

from leaver.evidence.log.notes import NoteSignature


class Signer(Protocol):
    """The bundle key, P-256: signs manifests, as any openssl can check."""

    @property
    def public_pem(self) -> bytes:
        """The public key, SubjectPublicKeyInfo in PEM.

        Raises:
            KeyServiceError: a key management service holds the key and does not answer.
        """
        ...

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over the message, DER.

        A key in a file signs deterministically (RFC 6979): the same message gives the same signature. A key
        management service takes a fresh random number each time: the same message gives another signature.

        Raises:
            KeyServiceError: a key management service holds the key and did not sign.
        """
        ...


class LogSigner(Protocol):
    """The log key, Ed25519, under the log's name: signs checkpoints. Always deterministic (RFC 8032)."""

    @property
    def name(self) -> str:
        """The name in the signature line, which is the log's origin."""
        ...

    @property
    def public(self) -> bytes:
        """The public key, its 32 bytes.

        Raises:
            KeyServiceError: a key management service holds the key and does not answer.
        """
        ...

    @property
    def vkey(self) -> str:
        """The verifier key as text (c2sp.org/signed-note): what people hand on.

        Raises:
            KeyServiceError: as for ``public``.
        """
        ...

    def sign_note(self, text: bytes) -> NoteSignature:
        """The signature line for a note's text.

        Raises:
            KeyServiceError: a key management service holds the key and did not sign.
        """
        ...
