"""Noting a delivery of HR's before any of its cases starts: who is expected, who is left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from leaver.domain.base import Facts
from leaver.domain.delivery import DeliveredRow, Exclusion, ExpectInput, ExpectResult
from leaver.domain.words import RecordType
from leaver.evidence.errors import UnfitDraftError
from leaver.evidence.ledger.model import Note
from leaver.evidence.ledger.store import Ledger
from leaver.evidence.population.bodies import DeliveryBody, ExcludedBody, ExpectedBody
from leaver.evidence.records import LOG, Chain

_APPROVERS: Final = {
    Exclusion.RESCINDED: "hr",
    Exclusion.OTHER_EMPLOYMENT: "rule",
    Exclusion.LATER_EMPLOYMENT: "rule",
    Exclusion.SAME_END: "rule",
}
"""Who answers for an exclusion that needs nobody's decision."""


def note_delivery(ledger: Ledger, given: ExpectInput, at: datetime) -> ExpectResult:
    """Write a part of a delivery, all or nothing; what is written already stays as it is.

    A row says something new when HR's event is new: the nightly file that repeats itself adds nothing.

    Args:
        ledger: open for writing.
        given: from ingest.
        at: the sealer's clock, which dates the records.

    Raises:
        UnfitDraftError: a row claims that a person decided; only a signed statement can say that.
        LedgerError: the ledger cannot take it.
    """
    if any(row.excluded is Exclusion.DECIDED for row in given.rows):
        raise UnfitDraftError(
            "a delivery cannot say that a person decided about a leaver: use leaver evidence exclude"
        )
    notes = [*(_row(ledger, given, row, at) for row in given.rows), _delivery(given, at)]
    records = ledger.notes(notes)
    excluded = sum(row.excluded is not None for row in given.rows)
    return ExpectResult(
        expected=len(given.rows) - excluded,
        excluded=excluded,
        last_seq=max(record.seq for record in records),
    )


def is_erased(ledger: Ledger, case: str) -> bool:
    """Whether the names behind this case were erased: then nothing that names the person is kept again."""
    return ledger.last(Chain.SEALER, case, RecordType.ERASURE) is not None


def _row(ledger: Ledger, given: ExpectInput, row: DeliveredRow, at: datetime) -> Note:
    opening: Facts | None = None if is_erased(ledger, row.case) else row.about
    common = dict(_common(given, row))
    if row.excluded is None:
        return Note(
            chain=Chain.SEALER,
            case=row.case,
            type=RecordType.CASE_EXPECTED,
            at=at,
            body=ExpectedBody.model_validate(common).facts(),
            key=f"expected:{row.event_id}",
            opening=opening or None,
        )
    body = ExcludedBody.model_validate(
        {**common, "reason": row.excluded, "why": row.why, "approver": _APPROVERS.get(row.excluded, "")}
    )
    return Note(
        chain=Chain.SEALER,
        case=row.case,
        type=RecordType.CASE_EXCLUDED,
        at=at,
        body=body.facts(),
        key=f"excluded:{row.excluded.value}:{row.event_id}",
        opening=opening or None,
    )


def _common(given: ExpectInput, row: DeliveredRow) -> Iterator[tuple[str, object]]:
    yield from row.model_dump(exclude={"about", "excluded", "why"}).items()
    yield from (("mode", given.mode), ("received_at", given.received_at), ("delivery", given.delivery))


def _delivery(given: ExpectInput, at: datetime) -> Note:
    excluded = sum(row.excluded is not None for row in given.rows)
    body = DeliveryBody(
        delivery=given.delivery,
        part=given.part,
        parts=given.parts,
        mode=given.mode,
        received_at=given.received_at,
        raw_sha256=given.raw_sha256,
        counts=given.counts,
        expected=len(given.rows) - excluded,
        excluded=excluded,
        unreadable=given.unreadable,
    )
    return Note(
        chain=Chain.LOG,
        case=LOG,
        type=RecordType.HR_DELIVERY,
        at=at,
        body=body.facts(),
        key=f"{given.delivery}/{given.part}",
    )
