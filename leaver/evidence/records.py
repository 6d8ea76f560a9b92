"""The record format: canonical JSON with a salt, hashed as a leaf of an RFC 6962 log.

A record's exact bytes are its identity. They are RFC 8785 canonical JSON of::

    {"v":1, "salt":"<128 bit hex>", "seq":<place in the ledger>, "case":…, "chain":"case"|"watch",
     "case_seq":<place in the chain>, "type":…, "at":…, "body":{…}, "prev_case":"<leaf hash hex>"}

The leaf hash is SHA-256(0x00 || bytes) (RFC 6962 section 2.1), so a Merkle tree over the ledger needs no
second format. The salt makes the hash useless for guessing what an erased record said.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Final, Literal

import rfc8785
from pydantic import Field, JsonValue, StringConstraints, ValidationError

from leaver.domain.base import Document, Facts, Instant, canonical
from leaver.domain.ids import CASE_ID
from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerDamagedError, UnfitDraftError

NO_RECORD: Final = "0" * 64
"""``prev_case`` of a case's first record."""

MAX_INT: Final = 2**53 - 1
"""Larger integers do not survive JSON readers that use doubles (RFC 8785 appendix D)."""

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


LOG: Final = "log"
"""Stands where a case id stands, in records about the log and the installation."""


class Chain(StrEnum):
    """The chains of records. Each is numbered from 0 without gaps and linked record by record.

    The case's workflow numbers ``case`` and ``watch``; the ledger numbers what the sealer writes itself.
    """

    CASE = "case"
    """The case itself; ends with ``case.closed``."""
    WATCH = "watch"
    """The re-verification after the case was closed."""
    SEALER = "sealer"
    """What the sealer notes about a case: expected, history sealed, exceptions it saw."""
    LOG = "log"
    """What the sealer notes about the log and the installation; ``case`` is the word ``log``."""


class RecordContent(Document):
    """A record's fields, exactly those."""

    v: Literal[1]
    salt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    seq: Annotated[int, Field(ge=0)]
    case: Annotated[str, StringConstraints(pattern=f"{CASE_ID.pattern}|^{LOG}$")]
    chain: Chain
    case_seq: Annotated[int, Field(ge=0)]
    type: RecordType
    at: Instant
    body: Facts
    prev_case: Hash


class Record(RecordContent):
    """A stored record: its fields, its exact bytes and their leaf hash (hex)."""

    raw: bytes = Field(exclude=True, repr=False)
    leaf: Hash = Field(exclude=True)


def leaf_hash(raw: bytes) -> bytes:
    """The RFC 6962 hash of a leaf."""
    return hashlib.sha256(b"\x00" + raw).digest()


def draft_hash(draft: RecordDraft) -> str:
    """Hash (hex) of what the workflow drafted, to tell the same draft from a different one.

    Raises:
        UnfitDraftError: the draft has no canonical form that every reader understands alike.
    """
    check_plain(draft.body, "body")
    return hashlib.sha256(canonical(draft)).hexdigest()


def record_bytes(draft: RecordDraft, *, seq: int, salt: str, prev_case: str) -> bytes:
    """The exact bytes to store for a draft.

    Raises:
        UnfitDraftError: see ``check_plain``; or the case id, chain or type is not one a record may have.
    """
    check_plain(draft.body, "body")
    drafted = draft.model_dump(mode="json")
    fields = {**drafted, "v": 1, "salt": salt, "seq": seq, "prev_case": prev_case}
    try:
        RecordContent.model_validate(fields)
    except ValidationError as err:
        raise UnfitDraftError(_first_problem(err)) from None
    return rfc8785.dumps(fields)


def parse_record(raw: bytes) -> Record:
    """Read stored bytes back.

    Raises:
        LedgerDamagedError: the bytes are not a record.
    """
    try:
        content = RecordContent.model_validate_json(raw)
    except ValidationError as err:
        raise LedgerDamagedError(f"the stored bytes are not a record: {_first_problem(err)}") from None
    return Record(**dict(content), raw=raw, leaf=leaf_hash(raw).hex())


def check_plain(value: JsonValue, path: str) -> None:
    """Refuse what canonical JSON writers do not all write alike.

    Floats are refused because number formatting is the one part of RFC 8785 that a page of standard-library
    Python cannot redo for sure; integers beyond 2^53 and lone surrogates because readers differ. Send
    such numbers as text.

    Raises:
        UnfitDraftError: naming the place.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            check_plain(key, f"{path} (a key)")
            check_plain(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_plain(item, f"{path}[{index}]")
    elif isinstance(value, float):
        raise UnfitDraftError(f"{path}: a record holds no floating-point numbers; send it as text")
    elif isinstance(value, int) and abs(value) > MAX_INT:
        raise UnfitDraftError(f"{path}: the integer is beyond 2^53; send it as text")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnfitDraftError(f"{path}: the text is not valid Unicode") from None


def _first_problem(err: ValidationError) -> str:
    problem = err.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'record'}: {problem['msg']}"
