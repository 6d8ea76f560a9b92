"""What goes into the ledger and comes out of it, besides records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from leaver.domain.base import Facts
from leaver.domain.words import RecordType
from leaver.evidence.records import LOG, Chain


@dataclass(frozen=True, slots=True)
class CaseEntry:
    """A case in the ledger: how many records its case chain has, and whether it has ended."""

    case: str
    count: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A record that the sealer writes itself; the ledger numbers it.

    ``key`` names it within case and chain: the same key again stores nothing and gives back what is stored.
    ``opening`` is personal data: it is stored apart, erasable, and its commitment (``person_commit``) is put
    into the body.
    """

    chain: Chain
    type: RecordType
    at: datetime
    body: Facts
    key: str
    case: str = LOG
    opening: Facts | None = None


class Order(StrEnum):
    """In which order records are streamed."""

    LOG = "log"
    """By place in the log."""
    CASE = "case"
    """By case, chain and place in the chain."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it is streamed to reports: what the index says of it, and the exact bytes (JSON).

    The bytes were not compared with their leaf hash: ``Ledger.check`` does that for the whole ledger.
    """

    seq: int
    case: str
    chain: Chain
    case_seq: int
    type: RecordType
    at: datetime
    raw: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed checkpoint: ``note`` is the signed note with the log's own signature line."""

    size: int
    root: bytes
    note: bytes
    at: datetime


class AnchorKind(StrEnum):
    """What holds a checkpoint from outside."""

    TIMESTAMP = "timestamp"
    """A timestamp authority's reply (RFC 3161, DER)."""
    WITNESS = "witness"
    """A witness's cosignature line."""
    SINK = "sink"
    """A store that took the checkpoint; the content says which version."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An outside anchor of the checkpoint of ``size``; ``name`` is the authority's, witness's or sink's."""

    size: int
    kind: AnchorKind
    name: str
    content: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class AnchorRow:
    """An anchor without its content; ``row`` counts from 1 in the order anchors came."""

    row: int
    size: int
    kind: AnchorKind
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """An anchor that could not be had: which, why, when. A later anchor of that name settles it."""

    size: int
    kind: AnchorKind
    name: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Opening:
    """Personal data behind the ``person_commit`` of record ``seq``.

    ``commit`` is the hex SHA-256 over the salt's bytes and the canonical JSON of the content.
    """

    seq: int
    case: str
    salt: bytes
    content: Facts
    commit: str


@dataclass(frozen=True, slots=True)
class TreeHead:
    """A size of the log and the root over that many records."""

    size: int
    root: bytes


class DamageKind(StrEnum):
    """What a full check may find."""

    RECORD = "record"
    """A record is missing, or does not have the hash of its leaf, or contradicts the index."""
    NUMBERING = "numbering"
    """A place in the log or in a chain is missing or taken twice."""
    LINK = "link"
    """A record does not link to the one before it in its chain."""
    NODE = "node"
    """A stored node of the tree is not the one that the records give."""
    CHECKPOINT = "checkpoint"
    """A published checkpoint is not one of this log, or is larger than the log."""
    OPENING = "opening"
    """Personal data do not fit the commitment in their record."""
    CONTENT = "content"
    """A stored file does not have the hash that it is filed under."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with the ledger; ``place`` says where, without personal data."""

    kind: DamageKind
    place: str
    text: str
