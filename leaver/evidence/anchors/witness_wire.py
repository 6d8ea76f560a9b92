"""The witness protocol's messages (c2sp.org/tlog-witness): what a log posts, what a witness answers."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from leaver.evidence.errors import MalformedNoteError
from leaver.evidence.log.checkpoint import SignedCheckpoint, parse_unverified
from leaver.evidence.log.merkle import HASH
from leaver.evidence.log.notes import strict_base64

SIZE_TYPE: Final = "text/x.tlog.size"
"""Media type of the answer that tells the size the witness has cosigned."""

MAX_REQUEST: Final = 64 * 1024
"""Bytes. A checkpoint with a dozen signatures and 63 hashes has 5 kB."""
MAX_REPLY: Final = 16 * 1024
MAX_PATH: Final = 63

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True)
class Submission:
    """A checkpoint that a witness is asked to cosign, and the proof that it continues the one before."""

    old: int
    path: tuple[bytes, ...]
    signed: SignedCheckpoint


def request_bytes(old: int, path: Sequence[bytes], note: bytes) -> bytes:
    """The body of an ``add-checkpoint`` request."""
    lines = [f"old {old}", *(base64.b64encode(part).decode() for part in path), ""]
    return "".join(f"{line}\n" for line in lines).encode() + note


def parse_request(body: bytes) -> Submission:
    """Read the body of an ``add-checkpoint`` request; no signature is looked at.

    Raises:
        MalformedNoteError: it has another form.
    """
    head, gap, note = body.partition(b"\n\n")
    try:
        first, *hashes = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedNoteError("the request does not begin with plain text") from None
    old = _OLD.fullmatch(first)
    if not gap or old is None:
        raise MalformedNoteError("the request does not begin with: old, space, a size without leading zeros")
    if len(hashes) > MAX_PATH:
        raise MalformedNoteError(f"the request has more than {MAX_PATH} hashes")
    path = tuple(strict_base64(line, "a hash of the proof") for line in hashes)
    if any(len(part) != HASH for part in path):
        raise MalformedNoteError("a hash of the proof has not 32 bytes")
    return Submission(int(old[1]), path, parse_unverified(note))


def parse_size(body: bytes) -> int | None:
    """Read the size out of a conflict's answer; None where it is none."""
    found = _SIZE.fullmatch(body)
    return int(found[1]) if found else None
