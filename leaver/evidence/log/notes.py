"""Signed notes (c2sp.org/signed-note): a text and the signature lines below it.

::

    <text, one line or more>
    <empty line>
    — <key name> <base64 of: 4 bytes key id, signature>

A verifier key travels as one line of text, the *vkey*: ``<key name>+<key id, hex>+<base64 of: type byte,
public key>``. The key id is the first four bytes of SHA-256(key name || 0x0A || type byte || public key); it
finds a key, it does not protect one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leaver.evidence.errors import MalformedNoteError, UntrustedNoteError

MAX_NOTE: Final = 1 << 20
"""Bytes. The specification asks for some limit that sixteen signatures fit under."""

MAX_SIGNATURES: Final = 100
ED25519_KEY: Final = 32
ED25519_SIGNATURE: Final = 64
KEY_ID: Final = 4

_DASH: Final = "\u2014 "
_TIME: Final = 8
_MAX_TIME: Final = 2**63 - 1


class KeyKind(IntEnum):
    """The signature types this log uses, by their assigned type byte."""

    ED25519 = 0x01
    """The key signs the text itself: a log."""
    COSIGNATURE = 0x04
    """The key signs the time and the text (c2sp.org/tlog-cosignature): a witness."""


@dataclass(frozen=True)
class NoteSignature:
    """One signature line. ``sig`` is what follows the key id: its form depends on the type of the key."""

    name: str
    key_id: bytes
    sig: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.sig).decode()}\n"


@dataclass(frozen=True)
class NoteVerifier:
    """A public key under its name, for one type of signature.

    Raises:
        MalformedNoteError: the name is not one a key may have, or the key has not 32 bytes.
    """

    name: str
    public: bytes
    kind: KeyKind = KeyKind.ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public) != ED25519_KEY:
            raise MalformedNoteError("an Ed25519 public key has 32 bytes")

    @classmethod
    def from_vkey(cls, vkey: str) -> NoteVerifier:
        """Read a verifier key; surrounding white space is ignored.

        Raises:
            MalformedNoteError: it is not a verifier key of a type used here, or its key id is wrong, as
                after a typing error.
        """
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        material = strict_base64(encoded, "the verifier key")
        try:
            kind = KeyKind(material[0]) if material else None
        except ValueError:
            kind = None
        if kind is None:
            raise MalformedNoteError("the verifier key is of another type than Ed25519 or cosignature/v1")
        verifier = cls(name, material[1:], kind)
        if verifier.key_id.hex() != key_id:
            raise MalformedNoteError("the verifier key's id does not fit its name and key: it was changed")
        return verifier

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before each signature of this key."""
        named = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(named).digest()[:KEY_ID]

    @property
    def vkey(self) -> str:
        """The verifier key as one line of text, to be given to whoever verifies."""
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verifies(self, text: bytes, sig: bytes) -> bool:
        """Whether ``sig`` (without the key id) is this key's signature over the note text."""
        if self.kind is KeyKind.COSIGNATURE:
            time = cosignature_time(sig)
            if time is None:
                return False
            text, sig = cosignature_message(time, text), sig[_TIME:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(sig, text)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Note:
    """A note that was taken apart. Nothing is verified by that: ask ``signatures_of``."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def signatures_of(self, verifier: NoteVerifier) -> tuple[NoteSignature, ...]:
        """The signatures of this key, each verified; lines of other keys are passed over.

        Raises:
            UntrustedNoteError: there is none, or one of them is wrong.
        """
        found = tuple(
            signature
            for signature in self.signatures
            if (signature.name, signature.key_id) == (verifier.name, verifier.key_id)
        )
        if not found:
            raise UntrustedNoteError(f"the note is not signed with the key {_shown(verifier)}")
        if not all(verifier.verifies(self.text, signature.sig) for signature in found):
            raise UntrustedNoteError(f"the signature with the key {_shown(verifier)} does not fit the text")
        return found


def parse_note(raw: bytes) -> Note:
    """Take a note apart, being strict about its form.

    Raises:
        MalformedNoteError: it is not a signed note, or larger than 1 MiB, or has more than 100 signatures.
    """
    if len(raw) > MAX_NOTE:
        raise MalformedNoteError(f"the note is larger than {MAX_NOTE} bytes")
    try:
        note = raw.decode()
    except UnicodeDecodeError:
        raise MalformedNoteError("the note is not UTF-8") from None
    if any(sign < " " and sign != "\n" for sign in note):
        raise MalformedNoteError("the note has control characters")
    text, gap, below = note.rpartition("\n\n")
    if not gap or not below.endswith("\n"):
        raise MalformedNoteError("the note has no signature lines below an empty line")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedNoteError(f"the note has more than {MAX_SIGNATURES} signatures")
    return Note(f"{text}\n".encode(), tuple(_signature(line) for line in lines))


def note_bytes(text: bytes, signatures: Sequence[NoteSignature]) -> bytes:
    """Put a note together.

    Raises:
        MalformedNoteError: text and signatures do not make a note; the text has to end with a newline.
    """
    raw = text + b"\n" + "".join(signature.line() for signature in signatures).encode()
    if parse_note(raw) != Note(text, tuple(signatures)):
        raise MalformedNoteError("the text does not end with a newline")
    return raw


def cosignature_message(time: int, checkpoint_text: bytes) -> bytes:
    """What a witness signs: the time (seconds since 1970) and the checkpoint's text (cosignature/v1)."""
    return b"cosignature/v1\ntime %d\n%b" % (time, checkpoint_text)


def cosignature_bytes(time: int, sig: bytes) -> bytes:
    """A cosignature as it stands behind the key id: 8 bytes of time, big-endian, and the 64 byte signature.

    Raises:
        MalformedNoteError: time or signature is out of range.
    """
    if not 0 <= time <= _MAX_TIME or len(sig) != ED25519_SIGNATURE:
        raise MalformedNoteError("a cosignature has a time from 1970 on and a signature of 64 bytes")
    return time.to_bytes(_TIME, "big") + sig


def cosignature_time(sig: bytes) -> int | None:
    """The time (seconds since 1970) inside a cosignature; None when it is not one. Not verified by that."""
    if len(sig) != _TIME + ED25519_SIGNATURE:
        return None
    time = int.from_bytes(sig[:_TIME], "big")
    return time if time <= _MAX_TIME else None


def check_name(name: str) -> None:
    """Refuse what may not name a key: nothing, white space, a plus sign, control characters.

    Raises:
        MalformedNoteError: saying so.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise MalformedNoteError("the key name is not valid Unicode") from None
    if not name or any(sign.isspace() or sign == "+" or sign < " " for sign in name):
        raise MalformedNoteError("a key name is not empty and has no spaces, plus or control characters")


def strict_base64(text: str, what: str) -> bytes:
    """Decode standard base64 in its one canonical spelling.

    Raises:
        MalformedNoteError: naming ``what``.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedNoteError(f"{what} is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise MalformedNoteError(f"{what} is base64 in a non-standard spelling")
    return raw


def _signature(line: str) -> NoteSignature:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2:  # noqa: PLR2004 - name and signature
        raise MalformedNoteError("a signature line is not: em dash, space, key name, space, base64")
    name, encoded = parts
    check_name(name)
    raw = strict_base64(encoded, "a signature")
    if len(raw) <= KEY_ID:
        raise MalformedNoteError("a signature is too short")
    return NoteSignature(name, raw[:KEY_ID], raw[KEY_ID:])


def _shown(verifier: NoteVerifier) -> str:
    return f"{verifier.name}+{verifier.key_id.hex()}"
