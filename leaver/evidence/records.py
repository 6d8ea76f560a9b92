"""The record format: canonical JSON with a salt, hashed as a leaf of an RFC 6962 log.

A record's exact bytes are its identity. They are RFC 8785 canonical JSON of::

    {"v":1, "salt":"<128 bit hex>", "seq":<place in the ledger>, "case":…, "chain":"case"|"watch",
     "case_seq":<place in the chain>, "type":…, "at":…, "body":{…}, "prev_case":"<leaf hash hex>"}

The leaf hash is SHA-256(0x00 || bytes) (RFC 6962 section 2.1), so a Merkle tree over the ledger needs no
second format. The salt makes the hash useless for guessing what an erased record said.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Annotated, Final, Literal

import rfc8785
from pydantic import Field, JsonValue, StringConstraints, ValidationError

from leaver.domain.base import Document, Facts, Instant
from leaver.domain.ids import CASE_ID
from leaver.domain.records import RecordDraft
from leaver.domain.words import RecordType
from leaver.evidence.errors import LedgerDamagedError, UnfitDraftError
from leaver.evidence.log.merkle import leaf_hash

NO_RECORD: Final = "0" * 64
"""``prev_case`` of a case's first record."""

MAX_INT: Final = 2**53 - 1
"""Larger integers do not survive JSON readers that use doubles (RFC 8785 appendix D)."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
_ASTRAL: Final = re.compile("[\U00010000-\U0010ffff]")

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


_CHAINS: Final = frozenset(Chain)


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A draft that may become a record, in canonical JSON but for what the ledger adds.

    Canonical form and checks cost most of the time of an append, so they are done once, here.
    """

    draft: RecordDraft
    sha256: str
    """Hash (hex) of what was drafted, to tell the same draft from a different one."""
    head: bytes
    """The record's fields up to ``chain``."""

    def record(self, *, seq: int, salt: str, prev_case: str) -> bytes:
        """The exact bytes to store."""
        kind = self.draft.type.value
        return self.head + (
            f',"prev_case":"{prev_case}","salt":"{salt}","seq":{seq},"type":"{kind}","v":1}}'.encode()
        )


def prepare(draft: RecordDraft) -> Prepared:
    """Check a draft and bring it into canonical form.

    Raises:
        UnfitDraftError: see ``check_plain``; or the case id, chain, number, type or time is not one a record
            may have.
    """
    _check_fields(draft)
    at = draft.at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
    head = b'{"at":"%b","body":%b,"case":"%b","case_seq":%d,"chain":"%b"' % (
        at.encode(),
        plain_json(draft.body),
        draft.case.encode(),
        draft.case_seq,
        draft.chain.encode(),
    )
    sha256 = hashlib.sha256(b'%b,"type":"%b"}' % (head, draft.type.value.encode())).hexdigest()
    return Prepared(draft, sha256, head)


def record_draft(record: RecordContent) -> Prepared:
    """What the record was made from; ``record`` of it gives the record's canonical bytes again.

    Raises:
        UnfitDraftError: nothing that may be a record was made from it.
    """
    draft = RecordDraft.model_construct(
        case=record.case,
        chain=record.chain.value,
        case_seq=record.case_seq,
        type=record.type,
        at=record.at,
        body=record.body,
    )
    return prepare(draft)


def plain_json(body: Facts) -> bytes:
    """RFC 8785 canonical JSON of what ``check_plain`` lets pass.

    Without floats the standard library's writer, in C, gives the same bytes as RFC 8785 asks for: the same
    escapes, no spaces. Only its order of keys can differ, where one has characters beyond U+FFFF (RFC 8785
    section 3.2.3 orders by UTF-16 units); those go the slow way.

    Raises:
        UnfitDraftError: see ``check_plain``.
    """
    try:
        if _odd(body):
            check_plain(body, "body")
        text = _ENCODER.encode(body)
        return rfc8785.dumps(body) if _ASTRAL.search(text) else text.encode()
    except (TypeError, ValueError):  # a lone surrogate, or a value that JSON does not have
        check_plain(body, "body")
        raise UnfitDraftError("body: it is not plain JSON") from None


def record_bytes(draft: RecordDraft, *, seq: int, salt: str, prev_case: str) -> bytes:
    """The exact bytes to store for a draft.

    Raises:
        UnfitDraftError: see ``prepare``.
    """
    return prepare(draft).record(seq=seq, salt=salt, prev_case=prev_case)


def parse_record(raw: bytes) -> Record:
    """Read stored bytes back.

    Raises:
        LedgerDamagedError: the bytes are not a record.
    """
    try:
        content = RecordContent.model_validate_json(raw)
    except ValidationError as err:
        raise LedgerDamagedError(f"the stored bytes are not a record: {_first_problem(err)}") from None
    return Record.model_construct(**dict(content), raw=raw, leaf=leaf_hash(raw).hex())


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


def _odd(value: JsonValue) -> bool:
    """Whether there is a float or a too large integer somewhere: quicker than naming it."""
    if value is None or isinstance(value, str | bool):
        return False
    if isinstance(value, dict):
        return any(map(_odd, value.values()))
    if isinstance(value, list):
        return any(map(_odd, value))
    return isinstance(value, float) or not -MAX_INT <= value <= MAX_INT


def _check_fields(draft: RecordDraft) -> None:
    """Validate what stands beside the body as ``RecordContent`` will when the record is read back."""
    case, number = draft.case, draft.case_seq
    if draft.chain not in _CHAINS:
        raise UnfitDraftError(f"chain: {draft.chain!r} is none of {', '.join(sorted(_CHAINS))}")
    if (case != LOG) if draft.chain == Chain.LOG else not CASE_ID.fullmatch(case):
        raise UnfitDraftError(f"case: not an id that a record of the chain {draft.chain} may have")
    if not 0 <= number <= MAX_INT:
        raise UnfitDraftError("case_seq: not a number from 0 on")
    if draft.at.utcoffset() is None:
        raise UnfitDraftError("at: not a time with a time zone")


def _first_problem(err: ValidationError) -> str:
    problem = err.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'record'}: {problem['msg']}"
