"""Evidence records as the workflow drafts them; the sealer adds salt, sequence and links."""

from __future__ import annotations

from leaver.domain.base import Facts, Instant, Message
from leaver.domain.words import RecordType


class RecordDraft(Message):
    """One record of a case's chain. ``case_seq`` counts from 0 without gaps; the workflow is its only writer.

    ``chain`` separates the case itself (``case``) from the re-verification after it (``watch``).
    ``body`` holds pseudonyms, ids, facts and times: never a name, an address or a secret.
    """

    case: str
    chain: str = "case"
    case_seq: int
    type: RecordType
    at: Instant
    body: Facts


class AppendInput(Message):
    """A batch of consecutive drafts of one chain."""

    drafts: tuple[RecordDraft, ...]


class AppendResult(Message):
    """``head`` is the leaf hash (hex) of the chain's last record, ``count`` how many the chain now has."""

    head: str
    count: int


class SealInput(Message):
    """Export and sign the bundle of a closed case."""

    case: str
    workflow_id: str
    first_run_id: str


class SealResult(Message):
    """Where the bundle went (a name inside the bundle store) and what it holds."""

    bundle: str
    records: int
    events: int
    manifest_sha256: str
