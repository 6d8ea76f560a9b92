"""Which key is in force in a log, and putting another one in force.

The order of a rotation: the record goes into the log first, then the sealer is started with the new key. In
between nothing is signed with the old key: whoever signs asks ``require_in_force`` before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from leaver.domain.base import Facts
from leaver.domain.words import RecordType
from leaver.evidence.errors import RotationError, UntrustedNoteError
from leaver.evidence.keys.rotation import (
    KeyHolder,
    KeyUse,
    Rotation,
    RotationCause,
    cross_signed,
    verify_rotation,
)
from leaver.evidence.log.notes import NoteVerifier, parse_note
from leaver.evidence.records import LOG, Chain, Record, parse_record


class _Streamed(Protocol):
    @property
    def raw(self) -> bytes: ...


class _SignedState(Protocol):
    @property
    def note(self) -> bytes: ...


class RotationLedger(Protocol):
    """What is asked of the ledger here."""

    def note(  # noqa: PLR0913 - the ledger's own
        self, chain: Chain, case: str, kind: RecordType, at: datetime, body: Facts, /, *, key: str
    ) -> Record:
        """Store a record of the log's own; the same key again gives back what is stored."""
        ...

    def stream(self, types: Collection[RecordType], /) -> Iterator[_Streamed]:
        """The records of these types, in the log's order."""
        ...

    def latest_checkpoint(self) -> _SignedState | None:
        """The checkpoint that was signed last."""
        ...


@dataclass(frozen=True)
class Rotated:
    """A change of keys that is in the log as record ``seq``."""

    seq: int
    rotation: Rotation


def rotations(ledger: RotationLedger, use: KeyUse) -> tuple[Rotated, ...]:
    """The changes of this key so far, verified, in the log's order.

    Raises:
        RotationError: one of them does not hold.
    """
    found = []
    for streamed in tuple(ledger.stream((RecordType.KEY_ROTATED,))):
        record = parse_record(streamed.raw)
        # Cases' workflows draft their own chains' records, of any type: only the sealer's own chain counts.
        if record.chain is Chain.LOG:
            rotation = verify_rotation(record.body)
            if rotation.use is use:
                found.append(Rotated(record.seq, rotation))
    return tuple(found)


def require_in_force(ledger: RotationLedger, holder: KeyHolder) -> None:
    """Refuse to sign with a key that is not in force. Reads only; whoever signs asks this before.

    Raises:
        RotationError: the key was replaced by another; or, of the log key, another one signed the last
            checkpoint and no change of keys is in the log.
    """
    done = rotations(ledger, holder.use)
    if done and done[-1].rotation.new != holder.public:
        raise RotationError(
            f"the {holder.use.value} key was replaced by record {done[-1].seq} of the log: use the new key"
        )
    last = ledger.latest_checkpoint()
    if done or last is None or holder.use is not KeyUse.LOG:
        return
    try:
        parse_note(last.note).signatures_of(NoteVerifier.from_vkey(holder.public))
    except UntrustedNoteError:
        raise RotationError(
            "the last checkpoint was signed with another log key and no change of keys is in the log: "
            "use the key that signed it, or change it with: leaver evidence rotate-key"
        ) from None


def rotate_key(
    ledger: RotationLedger, old: KeyHolder, new: KeyHolder, *, at: datetime, cause: RotationCause
) -> Rotated:
    """Put another key in force: writes the cross-signed record, once.

    From then on the old key must sign nothing; restart the sealer with the new one. Asked again for the
    change that was made last, it only says so again.

    Raises:
        RotationError: ``old`` is not in force, ``new`` was used before or is for another use or log, or
            ``old`` was already replaced by another key.
        KeyServiceError: a key management service holds one of the keys and did not sign.
    """
    done = rotations(ledger, old.use)
    if done and (done[-1].rotation.old, done[-1].rotation.new) == (old.public, new.public):
        return done[-1]
    require_in_force(ledger, old)
    if any(new.public == past.rotation.old for past in done):
        raise RotationError("the new key was in force before; make a fresh one")
    rotation = cross_signed(old, new, at, cause)
    # Named by the old key: of two changes made at the same time the log takes one; each key hands over once.
    named = f"key:{old.use.value}:{hashlib.sha256(old.public.encode()).hexdigest()}"
    body = rotation.model_dump(mode="json")
    record = ledger.note(Chain.LOG, LOG, RecordType.KEY_ROTATED, rotation.at, body, key=named)
    stored = verify_rotation(record.body)
    if stored.new != new.public:
        raise RotationError("the old key was replaced by another key at the same time")
    return Rotated(record.seq, stored)
