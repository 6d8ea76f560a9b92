"""Encryption of every payload that reaches the Temporal server.

A payload is serialised whole (its metadata too) and sealed with AES-256-GCM under a key derived with
HKDF-SHA256 (RFC 5869) for one scope, the namespace. The additional authenticated data bind the format
version, the scope, the key id and the original encoding, so an encrypted payload can be neither altered, nor
relabelled, nor moved to another namespace. Nonces are random; NIST SP 800-38D allows 2^32 of them per key:
rotate before.

Plain payloads pass ``decode`` unchanged: a person may signal a case from the Temporal UI or CLI, which do not
encrypt. What such a payload *says* is trusted only for its signature.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from typing import Final

import temporalio.converter
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.message import DecodeError as ProtobufDecodeError
from temporalio.api.common.v1 import Payload

from leaver.temporal.keyring import KEY_BYTES, Keyring, is_key_id

ENCODING: Final = b"binary/encrypted"
CIPHER: Final = b"AES-256-GCM;v=1"
_META_ENCODING: Final = "encoding"
_META_CIPHER: Final = "encryption-cipher"
_META_KEY_ID: Final = "encryption-key-id"
_META_ORIGINAL: Final = "encryption-original-encoding"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_INFO: Final = b"leaver payload codec v1\x00"


class PayloadDecodeError(Exception):
    """An encrypted payload could not be opened. The text never holds payload bytes.

    ``key_id`` is the id the payload names, empty where it names none that is well-formed.
    """

    def __init__(self, message: str, *, key_id: str = "") -> None:
        super().__init__(message)
        self.key_id = key_id


class UnknownKeyError(PayloadDecodeError):
    """The payload names a key that is not in the keyring."""


class TamperedPayloadError(PayloadDecodeError):
    """The payload was altered, relabelled, or sealed for another namespace."""


class PayloadCodec(temporalio.converter.PayloadCodec):
    """Encrypts and decrypts payloads for one scope (the Temporal namespace).

    Example:
        >>> codec = PayloadCodec(Keyring.generate("k1"), scope="default")

    Args:
        keyring: The keys; all of them decrypt, the current one encrypts.
        scope: The namespace. A payload sealed for one scope does not open in another.
        encrypt: False leaves new payloads in plain text and still decrypts old ones.
    """

    def __init__(self, keyring: Keyring, *, scope: str, encrypt: bool = True) -> None:
        if not scope:
            raise ValueError("the scope (Temporal namespace) of a payload codec must not be empty")
        self._scope = scope.encode()
        self._current = keyring.current.encode()
        self._encrypt = encrypt
        self._ciphers = {
            key_id.encode(): AESGCM(_derive(key.get_secret_value(), self._scope))
            for key_id, key in keyring.keys.items()
        }

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload; changes nothing outside."""
        if not self._encrypt:
            return list(payloads)
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload that we encrypted; others are returned as they are.

        Raises:
            UnknownKeyError: the key it names is not in the ring.
            TamperedPayloadError: it was altered, relabelled, or belongs to another namespace.
        """
        return [self._open(payload) for payload in payloads]

    def _seal(self, payload: Payload) -> Payload:
        original = payload.metadata.get(_META_ENCODING, b"")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = payload.SerializeToString(deterministic=True)
        sealed = self._ciphers[self._current].encrypt(nonce, plain, self._aad(self._current, original))
        return Payload(
            metadata={
                _META_ENCODING: ENCODING,
                _META_CIPHER: CIPHER,
                _META_KEY_ID: self._current,
                _META_ORIGINAL: original,
            },
            data=nonce + sealed,
        )

    def _open(self, payload: Payload) -> Payload:
        meta = payload.metadata
        if meta.get(_META_ENCODING) != ENCODING:
            if _META_CIPHER in meta or _META_KEY_ID in meta or _META_ORIGINAL in meta:
                # Half a marker means that somebody changed the label to slip past decryption.
                raise TamperedPayloadError(
                    "a payload carries encryption markers but not the encrypted encoding"
                )
            return payload
        key_id = meta.get(_META_KEY_ID, b"")
        shown = named_key(payload)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnknownKeyError(
                f"no key {shown!r} in the payload keyring; restore that key to read this payload",
                key_id=shown,
            )
        original = meta.get(_META_ORIGINAL, b"")
        if meta.get(_META_CIPHER) != CIPHER or len(payload.data) < _NONCE_BYTES + _TAG_BYTES:
            raise TamperedPayloadError("an encrypted payload has a broken envelope", key_id=shown)
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            opened = Payload.FromString(cipher.decrypt(nonce, sealed, self._aad(key_id, original)))
        except (InvalidTag, ProtobufDecodeError):
            # "from None": the cause must not drag payload bytes into a log.
            raise TamperedPayloadError(
                "an encrypted payload failed authentication: altered, or sealed for another namespace",
                key_id=shown,
            ) from None
        return opened

    def _aad(self, key_id: bytes, original: bytes) -> bytes:
        # Each part carries its length, so no two different tuples give the same bytes.
        parts = (CIPHER, self._scope, key_id, original)
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _derive(key: bytes, scope: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_INFO + scope).derive(key)


def named_key(payload: Payload) -> str:
    """The id of the key a payload says it is sealed with; empty where it names none that is well-formed."""
    text = payload.metadata.get(_META_KEY_ID, b"").decode("ascii", errors="replace")
    return text if is_key_id(text) else ""
