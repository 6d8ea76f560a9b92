"""The keys that payloads are encrypted with: one current, the older ones kept to read old histories."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pydantic import SecretBytes, SecretStr

KEY_BYTES: Final = 32
_KEY_ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class KeyringError(ValueError):
    """A keyring that cannot be used; the text names the key id and the reason, never key material."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """An immutable set of 256-bit keys by id.

    New payloads are encrypted with ``current``; every key in ``keys`` decrypts. A key may leave the ring
    only when no stored or exported history needs it any more.

    Example:
        >>> ring = Keyring.generate("2026-11")
        >>> ring = ring.rotated("2026-12", new_key())
        >>> ring.current, sorted(ring.keys)
        ('2026-12', ['2026-11', '2026-12'])

    Raises:
        KeyringError: a key id is malformed, a key is not 32 bytes long, or ``current`` is not in ``keys``.
    """

    current: str
    keys: Mapping[str, SecretBytes] = field(repr=False)

    def __post_init__(self) -> None:
        for key_id, key in self.keys.items():
            if not is_key_id(key_id):
                raise KeyringError("a key id is 1-64 letters, digits, dots, dashes or underscores")
            if len(key.get_secret_value()) != KEY_BYTES:
                raise KeyringError(f"key {key_id!r} must be exactly {KEY_BYTES} bytes long")
        if self.current not in self.keys:
            raise KeyringError("the current key id names no key of the ring; add the key or correct the id")
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))

    @classmethod
    def generate(cls, key_id: str) -> Keyring:
        """A ring with one new random key, for the embedded stack and for tests."""
        return cls(current=key_id, keys={key_id: new_key()})

    def rotated(self, key_id: str, key: SecretBytes) -> Keyring:
        """The same ring with ``key`` added and made current; older payloads still decrypt.

        Raises:
            KeyringError: the id is taken by another key: reusing it would make old payloads unreadable.
        """
        if key_id in self.keys and self.keys[key_id] != key:
            raise KeyringError(f"key id {key_id!r} is already taken by another key; choose a new id")
        return Keyring(current=key_id, keys={**self.keys, key_id: key})


def is_key_id(text: str) -> bool:
    """Whether ``text`` may be a key id; ids are stored in plain text beside each payload."""
    return _KEY_ID.fullmatch(text) is not None


def new_key() -> SecretBytes:
    """A random key from the operating system's generator."""
    return SecretBytes(secrets.token_bytes(KEY_BYTES))


def parse_key(text: SecretStr) -> SecretBytes:
    """Read a key as people write it: ``hex:`` or ``base64:`` and the encoded 32 bytes.

    Raises:
        KeyringError: the prefix is missing, the encoding is broken, or the length is not 32 bytes.
    """
    scheme, _, encoded = text.get_secret_value().strip().partition(":")
    if scheme not in ("hex", "base64"):
        raise KeyringError("a key is written as hex:… or base64:…; this one has neither prefix")
    try:
        raw = bytes.fromhex(encoded) if scheme == "hex" else base64.b64decode(encoded, validate=True)
    except ValueError:
        raise KeyringError(f"the text after {scheme}: is not valid {scheme}") from None
    if len(raw) != KEY_BYTES:
        raise KeyringError(f"a key has {KEY_BYTES} bytes; this one has {len(raw)}")
    return SecretBytes(raw)
