"""A change of keys, proven by both keys, and which key counts for which part of the log.

A ``key.rotated`` record names the old and the new key and carries two signatures over one statement about
both: one made with the old key (it hands over to this new one) and one made with the new key (whoever made
the record holds it). The record's own place in the log, ``seq``, draws the line: checkpoints of a size up to
``seq``, which do not hold the record, are signed with the old key, larger ones with the new one.

The statement is canonical JSON (RFC 8785) on one line::

    {"at":…,"cause":…,"name":…,"new":…,"old":…,"type":"urn:leaver:key-rotation:v1","use":"log"|"bundle"}

It cannot be taken for anything else that these keys sign: a checkpoint has three lines or more, a manifest
is signed behind ``DSSEv1`` (the pre-authentication encoding).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from leaver.domain.base import Document, Facts, Instant
from leaver.evidence.errors import KeyFileError, NoteError, RotationError
from leaver.evidence.keys.model import LogSigner, Signer
from leaver.evidence.keys.public import load_public
from leaver.evidence.log.notes import KeyKind, NoteVerifier, strict_base64


class KeyUse(StrEnum):
    """Which of the two keys."""

    LOG = "log"
    """Ed25519, signs checkpoints. Written as its verifier key (c2sp.org/signed-note)."""
    BUNDLE = "bundle"
    """P-256, signs manifests. Written as its public key in PEM."""


class RotationCause(StrEnum):
    """Why the key was changed."""

    SCHEDULED = "scheduled"
    MOVED = "moved"
    """To another machine, or from a file into a key management service."""
    SUSPECTED = "suspected"
    """Somebody else may have the old key. Its signature proves little then: compare the outside anchors."""


@dataclass(frozen=True)
class KeyHolder:
    """A key that can sign a statement, in the form that a rotation writes it in. ``name`` is the log's."""

    use: KeyUse
    name: str
    public: str
    sign: Callable[[bytes], bytes]

    @classmethod
    def of_log(cls, signer: LogSigner) -> KeyHolder:
        """The log key.

        Raises:
            KeyServiceError: the key management service that holds it does not answer.
        """
        return cls(KeyUse.LOG, signer.name, signer.vkey, lambda statement: signer.sign_note(statement).sig)

    @classmethod
    def of_bundles(cls, signer: Signer, name: str) -> KeyHolder:
        """The bundle key of the log of this name.

        Raises:
            KeyServiceError: the key management service that holds it does not answer.
        """
        return cls(KeyUse.BUNDLE, name, signer.public_pem.decode(), signer.sign)


class Change(Document):
    """What both keys sign. ``name`` is the log's; keys are written as their use has them."""

    type: Literal["urn:leaver:key-rotation:v1"] = "urn:leaver:key-rotation:v1"
    use: KeyUse
    name: str
    old: str
    new: str
    at: Instant
    cause: RotationCause

    def statement(self) -> bytes:
        """The exact bytes that are signed: one line of canonical JSON."""
        return rfc8785.dumps(self.model_dump(mode="json", include=set(Change.model_fields))) + b"\n"


class Rotation(Change):
    """The body of a ``key.rotated`` record: the change and both keys' signatures over it, base64."""

    old_signature: str
    new_signature: str


@dataclass(frozen=True)
class KeySpan:
    """A key and the sizes of the checkpoints that it signs, both ends included; ``last`` None: until now."""

    key: str
    first: int
    last: int | None

    def holds(self, size: int) -> bool:
        """Whether a checkpoint of this size is signed with this key."""
        return self.first <= size and (self.last is None or size <= self.last)


@dataclass(frozen=True)
class KeyHistory:
    """All keys of one use in their order, each with its part of the log."""

    spans: tuple[KeySpan, ...]

    @property
    def current(self) -> str:
        """The key in force now."""
        return self.spans[-1].key

    def at(self, size: int) -> str:
        """The key that signs a checkpoint of this size.

        Raises:
            RotationError: the size is negative.
        """
        for span in self.spans:
            if span.holds(size):
                return span.key
        raise RotationError(f"no key signs a checkpoint of size {size}")


def cross_signed(old: KeyHolder, new: KeyHolder, at: datetime, cause: RotationCause) -> Rotation:
    """Have both keys sign the change.

    Raises:
        RotationError: the keys are the same, or not for the same use and log.
        KeyServiceError: a key management service holds one of them and did not sign.
    """
    if (old.use, old.name) != (new.use, new.name):
        raise RotationError("the two keys are not for the same use in the same log")
    change = Change(
        use=old.use, name=old.name, old=old.public, new=new.public, at=at.replace(microsecond=0), cause=cause
    )
    statement = change.statement()
    signatures = {
        "old_signature": base64.b64encode(old.sign(statement)).decode(),
        "new_signature": base64.b64encode(new.sign(statement)).decode(),
    }
    return verify_rotation({**change.model_dump(mode="json"), **signatures})


def verify_rotation(body: Facts) -> Rotation:
    """Check the two signatures of a ``key.rotated`` record's body.

    Raises:
        RotationError: the body has another form, the keys are the same or not of the log that it names, or
            a signature is wrong.
    """
    try:
        rotation = Rotation.model_validate(body)
    except ValidationError as err:
        problem = err.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "body"
        raise RotationError(f"this is no change of keys: {place}: {problem['msg']}") from None
    if rotation.old == rotation.new:
        raise RotationError("the old and the new key are the same")
    for which, key, encoded in (
        ("old", rotation.old, rotation.old_signature),
        ("new", rotation.new, rotation.new_signature),
    ):
        try:
            good = _signed(rotation, key, strict_base64(encoded, "the signature"))
        except (NoteError, KeyFileError) as err:
            raise RotationError(f"the {which} key of a change of keys: {err}") from None
        if not good:
            raise RotationError(f"the change of keys is not signed with the {which} key that it names")
    return rotation


def key_history(trusted: str, rotations: Sequence[tuple[int, Rotation]]) -> KeyHistory:
    """Which key signs which part of the log.

    Args:
        trusted: a key that is known to be the log's, from another path than the log; any of its keys.
        rotations: all changes of this use with the place (``seq``) of their records, in the log's order. They
            must have passed ``verify_rotation``, and their records must be proven to be in the log.

    Raises:
        RotationError: a change does not start from the key that was in force, brings back an earlier key, or
            the trusted key is not among them.
    """
    if not rotations:
        return KeyHistory((KeySpan(trusted, 0, None),))
    spans: list[KeySpan] = []
    key, first = rotations[0][1].old, 0
    for seq, rotation in rotations:
        if rotation.old != key or seq < first:
            raise RotationError(f"record {seq} changes another key than the one that was in force")
        spans.append(KeySpan(key, first, seq))
        key, first = rotation.new, seq + 1
        if any(span.key == key for span in spans):
            raise RotationError(f"record {seq} brings back a key that was given up")
    spans.append(KeySpan(key, first, None))
    if all(span.key != trusted for span in spans):
        raise RotationError("the trusted key is none of the keys that this log ever had")
    return KeyHistory(tuple(spans))


def _signed(rotation: Rotation, key: str, signature: bytes) -> bool:
    if rotation.use is KeyUse.LOG:
        verifier = NoteVerifier.from_vkey(key)
        if verifier.name != rotation.name or verifier.kind is not KeyKind.ED25519 or verifier.vkey != key:
            raise RotationError("a key in the change of keys is not one of the log that it names")
        return verifier.verifies(rotation.statement(), signature)
    try:
        load_public(key.encode()).verify(signature, rotation.statement(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
