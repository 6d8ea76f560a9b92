"""Files that nobody can delete, and yet can be forgotten: encrypted with a key that can be thrown away.

A store with retention keeps what it was given, also where the law asks to erase it. So personal data go there
only under a case's own key (AES-256-GCM): without the key what is stored says nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leaver.evidence.errors import AnchorError

KEY: Final = 32
"""Bytes of a case's key."""

_MAGIC: Final = b"leaver-sealed-v1\n"
_NONCE: Final = 12
_TAG: Final = 16
_MAX: Final = 2**31 - 1 - 64


def seal_bytes(key: bytes, content: bytes, name: str) -> bytes:
    """Encrypt a file under the name it will be stored with.

    The same content under the same name and key gives the same bytes, so that storing it again changes
    nothing: the nonce is a keyed hash of name and content, different for everything different.

    Args:
        key: 32 random bytes.
        content: up to 2 GiB.
        name: authenticated with the content: a file moved to another name cannot be opened.

    Raises:
        AnchorError: the key is not a key, or the content is too long.
    """
    if len(key) != KEY or len(content) > _MAX:
        raise AnchorError("a sealed file needs a key of 32 bytes and a content of less than 2 GiB")
    nonce_key = hmac.digest(key, b"leaver sealed nonce v1", "sha256")
    named = hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest()
    nonce = hmac.digest(nonce_key, named, "sha256")[:_NONCE]
    return _MAGIC + nonce + AESGCM(key).encrypt(nonce, content, name.encode())


def open_sealed(key: bytes, sealed: bytes, name: str) -> bytes:
    """Decrypt what ``seal_bytes`` made.

    Raises:
        AnchorError: another key or name, or the bytes were changed.
    """
    body = sealed.removeprefix(_MAGIC)
    if len(key) != KEY or body == sealed or len(body) < _NONCE + _TAG:
        raise AnchorError("this is not a sealed file, or the key is not one of 32 bytes")
    try:
        return AESGCM(key).decrypt(body[:_NONCE], body[_NONCE:], name.encode())
    except InvalidTag:
        raise AnchorError(
            "the sealed file cannot be opened: another key or name, or it was changed"
        ) from None
