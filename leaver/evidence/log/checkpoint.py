"""Checkpoints, cosignatures and proofs of single records, in the formats that other tools read.

Checkpoint (c2sp.org/tlog-checkpoint): a signed note whose text is the log's origin, its size in decimal and
its root in base64, a line each. Cosignature (c2sp.org/tlog-cosignature, Ed25519, version 1): a witness's
signature line below it. Proof (c2sp.org/tlog-proof, version 1): index, inclusion path and checkpoint in one
text, which makes a record that lies beside it verifiable on its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from leaver.evidence.errors import MalformedNoteError, UntrustedNoteError
from leaver.evidence.log.merkle import EMPTY_ROOT, HASH
from leaver.evidence.log.notes import (
    KeyKind,
    Note,
    NoteVerifier,
    cosignature_message,
    cosignature_time,
    parse_note,
    strict_base64,
)

__all__ = [
    "Checkpoint",
    "Proof",
    "SignedCheckpoint",
    "cosignature_message",
    "cosigned_at",
    "parse_checkpoint",
    "parse_proof",
    "parse_signed",
    "parse_unverified",
    "proof_text",
]

MAX_SIZE: Final = 2**63 - 1
PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_LONGEST_PATH: Final = 63


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log: how many records it holds and the root over them.

    Raises:
        MalformedNoteError: a value that cannot stand in a checkpoint.
    """

    origin: str
    size: int
    root: bytes
    extension: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extension):
            if not line or any(sign < " " for sign in line):
                raise MalformedNoteError("a checkpoint line is empty or has control characters")
        if not 0 <= self.size <= MAX_SIZE:
            raise MalformedNoteError("the checkpoint's size is out of range")
        if len(self.root) != HASH or (self.size == 0 and self.root != EMPTY_ROOT):
            raise MalformedNoteError("the checkpoint's root is no SHA-256 hash, or not that of an empty log")

    def text(self) -> bytes:
        """The note text that is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extension)
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint and the note it came in; ``raw`` are the exact bytes."""

    checkpoint: Checkpoint
    note: Note
    raw: bytes

    @property
    def size(self) -> int:
        """How many records the log had."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self.checkpoint.root


@dataclass(frozen=True)
class Proof:
    """A record's place in the log and the way from its hash to the root of ``checkpoint`` (a whole note).

    ``extra`` is signed by nobody.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""


def parse_unverified(raw: bytes) -> SignedCheckpoint:
    """Read a checkpoint without looking at its signatures: to learn which log and size it claims.

    Raises:
        MalformedNoteError: it is not a checkpoint.
    """
    note = parse_note(raw)
    lines = note.text.decode()[:-1].split("\n")
    if len(lines) < 3:  # noqa: PLR2004 - origin, size, root
        raise MalformedNoteError("a checkpoint has at least three lines: origin, size, root")
    origin, size, encoded, *extension = lines
    root = strict_base64(encoded, "the checkpoint's root")
    checkpoint = Checkpoint(origin, _number(size, "the checkpoint's size"), root, tuple(extension))
    return SignedCheckpoint(checkpoint, note, raw)


def parse_checkpoint(raw: bytes, verifier: NoteVerifier, *, origin: str | None = None) -> SignedCheckpoint:
    """Read a checkpoint that the log's key signed.

    Args:
        raw: the signed note.
        verifier: the log's key.
        origin: the log's origin, where it is not the name of its key.

    Raises:
        MalformedNoteError: it is not a checkpoint.
        UntrustedNoteError: another key signed it, or it is about another log.
    """
    signed = parse_unverified(raw)
    signed.note.signatures_of(verifier)
    if verifier.kind is not KeyKind.ED25519:
        raise UntrustedNoteError("the key is a witness's; a checkpoint is signed with the log's own")
    if signed.checkpoint.origin != (origin or verifier.name):
        raise UntrustedNoteError("the checkpoint is about another log")
    return signed


def parse_signed(raw: bytes, verifiers: Iterable[NoteVerifier]) -> SignedCheckpoint:
    """Read a checkpoint that one of the log's keys signed: a log whose key was changed has several.

    Raises:
        MalformedNoteError: it is not a checkpoint.
        UntrustedNoteError: none of the keys signed it, or it is about another log.
    """
    why = UntrustedNoteError("no key of the log is known")
    for verifier in verifiers:
        try:
            return parse_checkpoint(raw, verifier)
        except UntrustedNoteError as err:
            why = err
    raise why


def cosigned_at(note: Note, witness: NoteVerifier) -> datetime | None:
    """When the witness says that it saw this checkpoint, the latest time where it signed more than once.

    Returns:
        None when the witness did not sign.

    Raises:
        UntrustedNoteError: a line of the witness does not hold, or the key is not a witness's.
    """
    if witness.kind is not KeyKind.COSIGNATURE:
        raise UntrustedNoteError("the key is not a witness's: its type is not that of a cosignature")
    if all((line.name, line.key_id) != (witness.name, witness.key_id) for line in note.signatures):
        return None
    times = [cosignature_time(line.sig) for line in note.signatures_of(witness)]
    try:
        return datetime.fromtimestamp(max(time for time in times if time is not None), UTC)
    except (ValueError, OverflowError, OSError):
        raise UntrustedNoteError("the witness signed a time that no calendar has") from None


def proof_text(index: int, path: Sequence[bytes], checkpoint_note: bytes, extra: bytes = b"") -> bytes:
    """The text of a ``.tlog-proof`` file."""
    lines = [PROOF_HEADER]
    if extra:
        lines.append(f"extra {base64.b64encode(extra).decode()}")
    lines.append(f"index {index}")
    lines.extend(base64.b64encode(part).decode() for part in path)
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + checkpoint_note


def parse_proof(raw: bytes) -> Proof:
    """Read a ``.tlog-proof`` file. Nothing is verified by that: check the checkpoint, then the path.

    Raises:
        MalformedNoteError: it is not such a file.
    """
    head, gap, checkpoint = raw.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedNoteError("the proof is not plain text") from None
    if not gap or lines[0] != PROOF_HEADER:
        raise MalformedNoteError(f"the proof does not begin with {PROOF_HEADER}")
    extra = b""
    if lines[1:] and lines[1].startswith("extra "):
        extra = strict_base64(lines.pop(1).removeprefix("extra "), "the extra data")
    if not lines[1:] or not lines[1].startswith("index ") or len(lines) > _LONGEST_PATH + 2:
        raise MalformedNoteError("the proof has no index, or too many hashes")
    index = _number(lines[1].removeprefix("index "), "the index")
    path = tuple(strict_base64(line, "a hash of the proof") for line in lines[2:])
    if any(len(part) != HASH for part in path):
        raise MalformedNoteError("a hash of the proof has not 32 bytes")
    parse_unverified(checkpoint)
    return Proof(index, path, checkpoint, extra)


def _number(text: str, what: str) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise MalformedNoteError(f"{what} is not a decimal number without leading zeros")
    return int(text)
